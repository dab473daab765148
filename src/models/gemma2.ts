// Gemma 2 (arXiv:2408.00118), as transformers' modeling_gemma2.py: Gemma with norms behind attention and feed-forward too,
// soft-capped scores and logits, scores by query_pre_attn_scalar, and windows in every other layer, the first one included.
import { GATE_NAMES } from "../nn/activation.ts";
import type { Architecture } from "./architecture.ts";
import type { Json } from "./config.ts";
import { decoder } from "./decoder.ts";
import { GEMMA_DEFAULTS, gemmaTraits } from "./gemma.ts";
import { layerWindows } from "./windows.ts";

/** Gemma 2 from its config.json. */
export function gemma2(config: Json): Architecture {
  return decoder(config, {
    type: "gemma2",
    defaults: { ...GEMMA_DEFAULTS, keyHeads: 4 },
    traits: (c, { D, layers }) => ({
      ...gemmaTraits(c, D),
      outerNorms: true,
      activation: c.choice("hidden_activation", GATE_NAMES, "gelu_pytorch_tanh"),
      scoreScale: 1 / Math.sqrt(c.positive("query_pre_attn_scalar", 256)),
      scoreSoftcap: c.isNull("attn_logit_softcapping") ? undefined : c.positive("attn_logit_softcapping", 50),
      logitSoftcap: c.isNull("final_logit_softcapping") ? undefined : c.positive("final_logit_softcapping", 30),
      window: layerWindows(config, c, { layers, fallback: 4096, sliding: (i) => i % 2 === 0 }),
    }),
  });
}
