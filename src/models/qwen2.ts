// Qwen2 and Qwen2.5 (arXiv:2407.10671), as transformers' modeling_qwen2.py: Llama with biases on q, k and v. Windows are
// off unless use_sliding_window; then the layers from max_window_layers on have them, or those that layer_types names.
import { GATE_NAMES } from "../nn/activation.ts";
import type { Architecture } from "./architecture.ts";
import type { ConfigReader, Json } from "./config.ts";
import { decoder } from "./decoder.ts";
import type { DecoderTraits } from "./decoder_config.ts";
import { layerTypes, layerWindows } from "./windows.ts";

/** Qwen2 from its config.json. */
export function qwen2(config: Json): Architecture {
  return decoder(config, {
    type: "qwen2",
    defaults: { keyHeads: 32, positions: 32_768 },
    traits: (c, { layers }) => ({
      qkvBias: true,
      activation: c.choice("hidden_act", GATE_NAMES, "silu"),
      window: qwenWindows(config, c, layers),
    }),
  });
}

/** Windows of a family of Qwen. */
export function qwenWindows(config: Json, c: ConfigReader, layers: number): DecoderTraits["window"] & object {
  const first = c.count("max_window_layers", { fallback: 28, min: 0 });
  if (c.flag("use_sliding_window", false)) {
    return layerWindows(config, c, { layers, fallback: 4096, sliding: (i) => i >= first });
  }
  if (layerTypes(config, c, layers)?.includes("sliding_attention")) {
    c.problem("use_sliding_window", "must be true where layer_types names sliding_attention: received false");
  }
  return () => undefined;
}
