// Qwen3 (arXiv:2505.09388), as transformers' modeling_qwen3.py: Qwen2 with an RMS norm over every head of q and k before
// the rotary embedding, heads whose width does not follow from that of the model, and optional biases.
import { GATE_NAMES } from "../nn/activation.ts";
import type { Architecture } from "./architecture.ts";
import type { Json } from "./config.ts";
import { decoder } from "./decoder.ts";
import { qwenWindows } from "./qwen2.ts";

/** Qwen3 from its config.json. */
export function qwen3(config: Json): Architecture {
  return decoder(config, {
    type: "qwen3",
    defaults: { headDim: 128, keyHeads: 32, positions: 32_768 },
    traits(c, { layers }) {
      const bias = c.flag("attention_bias", false);
      return {
        qkvBias: bias,
        outBias: bias,
        headNorm: true,
        activation: c.choice("hidden_act", GATE_NAMES, "silu"),
        window: qwenWindows(config, c, layers),
      };
    },
  });
}
