// What prompt, P- and prefix tuning have in common: the number of positions in front, and what PEFT notes of the model.
import { UsageError } from "../core/errors.ts";
import { type ConfigBase, count, countOrNull, type FieldsOf, names } from "./fields.ts";
import type { Base } from "./resolve.ts";

/** Settings of all three. */
export interface PromptConfig extends ConfigBase {
  /** Positions in front of every sequence. */
  readonly virtualTokens: number;
  /** Width of their vectors; the model's. */
  readonly tokenDim: number | null;
  /** The model's layers. */
  readonly layers: number | null;
  /** Its attention heads. */
  readonly heads: number | null;
  /** 2 where encoder and decoder have positions of their own. */
  readonly submodules: number | null;
  /** Modules that are trained in full. */
  readonly modulesToSave: readonly string[];
}

/** Their fields. */
export const PROMPT_FIELDS: FieldsOf<PromptConfig> = {
  virtualTokens: count("num_virtual_tokens", 20),
  tokenDim: countOrNull("token_dim"),
  layers: countOrNull("num_layers"),
  heads: countOrNull("num_attention_heads"),
  submodules: countOrNull("num_transformer_submodules"),
  modulesToSave: names("modules_to_save"),
};

/** Fields of PEFT that say nothing new. */
export const PROMPT_IGNORED: readonly string[] = ["tokenizer_kwargs"];

/**
 * The settings with what the model says.
 *
 * @throws {UsageError} `adapter/base` if they were made for another one.
 */
export function resolvePrompt<C extends PromptConfig>(config: C, base: Base, width: Partial<PromptConfig> = {}): C {
  if (base.encoderDecoder) {
    throw new UsageError("adapter/base", `Cannot put positions in front of the text of a ${base.type} model`, {
      hint: "Encoder-decoders have two texts, which is not supported: train LoRA, IA3 or bottleneck adapters.",
    });
  }
  const own = { tokenDim: base.D, layers: base.layers, heads: base.heads, submodules: 1, ...width };
  for (const key of ["tokenDim", "layers", "submodules"] as const) {
    if (config[key] === null || config[key] === own[key]) continue;
    throw new UsageError(
      "adapter/base",
      `Cannot use this adapter on this ${base.type} model as its ${key} is ${config[key]} and the model's ${own[key]}`,
    );
  }
  return { ...config, ...own };
}

/** The weight of the token vectors. */
export function tokenTable({ modules, type }: Base): string {
  const table = modules.find(({ kind }) => kind === "embedding");
  if (table) return `${table.path}.weight`;
  throw new UsageError(
    "adapter/base",
    `Cannot put vectors in front of the tokens of a ${type} model: it names no table`,
  );
}
