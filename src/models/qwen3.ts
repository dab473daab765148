// Qwen3 (arXiv:2505.09388), as transformers' modeling_qwen3.py: Llama with an RMS norm over every head of q and k before
// the rotary embedding, and heads whose width does not follow from the width of the model.
import { printable } from "../core/errors.ts";
import type { Architecture } from "./architecture.ts";
import type { Json } from "./config.ts";
import { llamaLike } from "./llama.ts";

/** Qwen3 from its config.json; every layer must attend to all positions before it. */
export function qwen3(config: Json): Architecture {
  return llamaLike(config, {
    type: "qwen3",
    headDim: 128,
    headNorm: true,
    check(c) {
      if (c.flag("use_sliding_window", false)) {
        c.problem("use_sliding_window", "must be false: sliding windows are not supported");
      }
      const types = config.layer_types ?? [];
      if (!Array.isArray(types) || types.some((type) => type !== "full_attention")) {
        c.problem("layer_types", `must name only full_attention: received ${printable(JSON.stringify(types))}`);
      }
    },
  });
}
