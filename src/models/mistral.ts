// Mistral (arXiv:2310.06825), as transformers' modeling_mistral.py: Llama whose layers see the last sliding_window
// positions: 4096 where the configuration leaves it out, all where it says null.
import { GATE_NAMES } from "../nn/activation.ts";
import type { Architecture } from "./architecture.ts";
import type { Json } from "./config.ts";
import { decoder } from "./decoder.ts";
import { layerWindows } from "./windows.ts";

/** Mistral from its config.json. */
export function mistral(config: Json): Architecture {
  return decoder(config, {
    type: "mistral",
    defaults: { keyHeads: 8, positions: 131_072 },
    traits: (c, { layers }) => ({
      activation: c.choice("hidden_act", GATE_NAMES, "silu"),
      window: layerWindows(config, c, { layers, fallback: 4096 }),
    }),
  });
}
