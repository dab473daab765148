// BitFit (arXiv:2106.10199): the biases of the model, trained in full.
import { UsageError } from "../core/errors.ts";
import type { Adapter } from "../nn/adapter.ts";
import type { BitfitConfig } from "./bitfit_config.ts";
import { PREFIX, trainedName } from "./full.ts";
import type { Base } from "./resolve.ts";
import { targetMatcher } from "./targets.ts";

/**
 * The settings, for a model that has biases.
 *
 * @throws {UsageError} `lora/no-target` if it has none, or none of the targets.
 */
export function resolveBitfit(config: BitfitConfig, { type, weights }: Base): BitfitConfig {
  const { trains } = bitfitAdapter({ ...config, modulesToSave: [] });
  if (weights.some((name) => trains!(name) !== undefined)) return config;
  const biases = weights.filter((name) => name.endsWith(".bias")).length;
  throw new UsageError(
    "lora/no-target",
    `Cannot train biases of this ${type} model as ${biases === 0 ? "it has none" : `none of ${biases} is a target`}`,
    { hint: biases === 0 ? "LayerNorm tuning trains about as few numbers." : "Leave target_modules out to train all." },
  );
}

/** BitFit as a method. */
export function bitfitAdapter(config: BitfitConfig): Adapter {
  const all = config.targetModules.length === 0;
  const matches = targetMatcher(all ? { ...config, targetModules: ".*" } : config);
  const saved = trainedName(config, () => false);
  return {
    type: "GRAFT_BITFIT",
    adapts: () => false,
    trains(name) {
      const path = name.slice(0, name.lastIndexOf("."));
      const site = { path, In: 0, Out: 0, transposed: false, output: false };
      return name.endsWith(".bias") && matches(site) ? `${PREFIX}${name}` : saved(name);
    },
  };
}
