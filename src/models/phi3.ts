// Phi-3, Phi-3.5 and Phi-4-mini (arXiv:2404.14219), as transformers' modeling_phi3.py: q, k and v in one map, gate and up
// in another, an optional window, longrope scaling, and heads that may turn in part.
import { GATE_NAMES } from "../nn/activation.ts";
import type { Architecture } from "./architecture.ts";
import type { Json } from "./config.ts";
import { decoder } from "./decoder.ts";
import { layerWindows } from "./windows.ts";

/** Phi-3 from its config.json. */
export function phi3(config: Json): Architecture {
  return decoder(withLongrope(config), {
    type: "phi3",
    defaults: { positions: 4096, eps: 1e-5 },
    traits: (c, { layers }) => ({
      packed: true,
      partialRotary: true,
      activation: c.choice("hidden_act", GATE_NAMES, "silu"),
      window: layerWindows(config, c, { layers }),
    }),
  });
}

/** The configuration with longrope under its name, which first versions called "su" or "yarn", and the first context. */
function withLongrope(config: Json): Json {
  const field = (config.rope_parameters ?? null) === null ? "rope_scaling" : "rope_parameters";
  const given = config[field];
  const context = { original_max_position_embeddings: config.original_max_position_embeddings ?? 4096 };
  if (typeof given !== "object" || given === null || Array.isArray(given)) return { ...config, ...context };
  const { rope_type, type, ...rule } = given as Json;
  const named = rope_type ?? type;
  const called = named === "su" || named === "yarn" ? "longrope" : named;
  return { ...config, ...context, [field]: { ...rule, ...called === undefined ? {} : { rope_type: called } } };
}
