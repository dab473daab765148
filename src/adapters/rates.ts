// The learning rate of a method that is told none.
import { LEARNING_RATES } from "./defaults.ts";
import type { AdapterConfig } from "./mod.ts";

/** A method by its name on the command line. */
export type RatedMethod = keyof typeof LEARNING_RATES;

/** Width from which on the table holds. */
const WIDE = 1280;

/** Largest factor for narrower models. */
const MOST = 10;

const NAMES: { readonly [T in AdapterConfig["type"]]: RatedMethod } = {
  LORA: "lora",
  ADALORA: "adalora",
  VERA: "vera",
  IA3: "ia3",
  LN_TUNING: "ln-tuning",
  GRAFT_BITFIT: "bitfit",
  PROMPT_TUNING: "prompt-tuning",
  P_TUNING: "p-tuning",
  PREFIX_TUNING: "prefix-tuning",
  GRAFT_BOTTLENECK: "bottleneck",
};

/**
 * Peak learning rate of a method on a model of width D: that of {@linkcode LEARNING_RATES}, times 1280 / D, at most 10,
 * where the model is narrower. Weights of narrow layers bear steps that grow as the width falls (arXiv:2203.03466); the
 * table was measured on the bundled base, D = 128, by `examples/methods.ts`.
 *
 * @param config The adapter; undefined where all weights are trained.
 */
export function defaultRate(config: AdapterConfig | undefined, D: number): number {
  return Number((LEARNING_RATES[ratedAs(config)] * Math.min(Math.max(WIDE / D, 1), MOST)).toPrecision(2));
}

function ratedAs(config: AdapterConfig | undefined): RatedMethod {
  if (!config) return "full";
  if (config.type === "LORA" && config.dora) return "dora";
  // Layers make the prefixes, as they make the vectors of P-tuning.
  if (config.type === "PREFIX_TUNING" && config.encoder) return "p-tuning";
  return NAMES[config.type];
}
