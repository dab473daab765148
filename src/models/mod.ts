// Model families by the `model_type` of config.json.
import { ModelError, printable } from "../core/errors.ts";
import type { Architecture } from "./architecture.ts";
import type { Json } from "./config.ts";
import { bert } from "./bert.ts";
import { distilbert } from "./distilbert.ts";
import { gemma } from "./gemma.ts";
import { gemma2 } from "./gemma2.ts";
import { gpt2 } from "./gpt2.ts";
import { llama } from "./llama.ts";
import { mistral } from "./mistral.ts";
import { phi3 } from "./phi3.ts";
import { qwen2 } from "./qwen2.ts";
import { qwen3 } from "./qwen3.ts";
import { roberta } from "./roberta.ts";
import { useLite } from "./use_lite.ts";
import { t5 } from "./t5.ts";

/** One line for each family. */
export const models = {
  bert,
  distilbert,
  roberta,
  "xlm-roberta": roberta,
  gpt2,
  llama,
  mistral,
  qwen2,
  qwen3,
  gemma,
  gemma2,
  phi3,
  "use-lite": useLite,
  t5,
  mt5: t5,
} as const satisfies Record<string, (config: Json) => Architecture>;

/**
 * The architecture that a config.json describes.
 *
 * @throws {ModelError} `config/model_type` listing the supported families.
 */
export function architectureOf(config: Json): Architecture {
  const type = config.model_type;
  if (typeof type === "string" && Object.hasOwn(models, type)) return models[type as keyof typeof models](config);
  throw new ModelError(
    "config/model_type",
    `Cannot load a model of type ${printable(JSON.stringify(type) ?? "undefined")}: supported are ${
      Object.keys(models).join(", ")
    }`,
  );
}
