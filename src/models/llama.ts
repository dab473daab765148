// Llama (arXiv:2302.13971, 2307.09288, Llama 3) and what is built like it (SmolLM2), as transformers' modeling_llama.py:
// optional biases, rotary embedding with its scaling rules, output projection tied or not.
import { GATE_NAMES } from "../nn/activation.ts";
import type { Architecture } from "./architecture.ts";
import type { Json } from "./config.ts";
import { decoder } from "./decoder.ts";

/** Llama from its config.json. */
export function llama(config: Json): Architecture {
  return decoder(config, {
    type: "llama",
    traits(c) {
      const bias = c.flag("attention_bias", false);
      return {
        qkvBias: bias,
        outBias: bias,
        mlpBias: c.flag("mlp_bias", false),
        activation: c.choice("hidden_act", GATE_NAMES, "silu"),
      };
    },
  });
}
