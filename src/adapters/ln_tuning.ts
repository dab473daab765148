// LayerNorm tuning (arXiv:2312.11420): the norms' own weights and biases, trained in full.
import type { Adapter } from "../nn/adapter.ts";
import { LN_TARGETS } from "./defaults.ts";
import { PREFIX, trainedName } from "./full.ts";
import type { LnTuningConfig } from "./ln_tuning_config.ts";
import { type Base, resolveTargets } from "./resolve.ts";
import { targetMatcher } from "./targets.ts";

/** The settings with the norms of this model. */
export function resolveLnTuning(config: LnTuningConfig, base: Base): LnTuningConfig {
  return resolveTargets(config, base, { usual: LN_TARGETS, kinds: ["norm"] });
}

/** LayerNorm tuning as a method. */
export function lnTuningAdapter(config: LnTuningConfig): Adapter {
  const matches = targetMatcher(config);
  const saved = trainedName(config, () => false);
  return {
    type: "LN_TUNING",
    adapts: () => false,
    trains(name) {
      const at = name.lastIndexOf("."), path = name.slice(0, at);
      if (!matches({ path, In: 0, Out: 0, transposed: false, output: false, kind: "norm" })) return saved(name);
      return `${PREFIX}${path}.ln_tuning_layers${name.slice(at)}`;
    },
  };
}
