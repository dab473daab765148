// Gemma (arXiv:2403.08295), as transformers' modeling_gemma.py: norms stored as offsets from one, token vectors times
// sqrt(D), feed-forward gated by GELU, heads of 256, output projection tied to the embedding.
import { GATE_NAMES, type GateName } from "../nn/activation.ts";
import type { Architecture } from "./architecture.ts";
import type { ConfigReader, Json } from "./config.ts";
import { decoder } from "./decoder.ts";
import type { DecoderDefaults, DecoderTraits } from "./decoder_config.ts";

/** Gemma from its config.json. */
export function gemma(config: Json): Architecture {
  return decoder(config, {
    type: "gemma",
    defaults: { ...GEMMA_DEFAULTS, keyHeads: 16 },
    traits: (c, { D }) => ({ ...gemmaTraits(c, D), activation: gemmaActivation(config, c) }),
  });
}

/** What configurations of Gemma and Gemma 2 may leave out. */
export const GEMMA_DEFAULTS: DecoderDefaults = { headDim: 256, positions: 8192, tied: true };

/** What Gemma and Gemma 2 have in common. */
export function gemmaTraits(c: ConfigReader, D: number): DecoderTraits {
  const bias = c.flag("attention_bias", false);
  if (c.flag("use_bidirectional_attention", false)) {
    c.problem("use_bidirectional_attention", "must be false: attention sees earlier positions only");
  }
  return { qkvBias: bias, outBias: bias, offsetNorms: true, embeddingScale: Math.sqrt(D) };
}

/**
 * Gemma's activation. The first configurations said hidden_act = "gelu" and meant the approximation by tanh, which the
 * models were trained with (transformers #29402): the exact one is used only where hidden_activation names it.
 */
function gemmaActivation(config: Json, c: ConfigReader): GateName {
  const named = c.choice("hidden_act", GATE_NAMES, "gelu_pytorch_tanh");
  const meant = named === "gelu" ? "gelu_pytorch_tanh" : named;
  return (config.hidden_activation ?? null) === null ? meant : c.choice("hidden_activation", GATE_NAMES, meant);
}
