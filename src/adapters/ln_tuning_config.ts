// LayerNorm tuning's settings and their form in adapter_config.json (peft/tuners/ln_tuning/config.py).
import { type ConfigFile, configFile } from "./fields.ts";
import { TARGETED_FIELDS, type TargetedConfig } from "./targeted.ts";
import type { ModuleNames } from "./targets.ts";

/** Settings of LayerNorm tuning, complete. */
export interface LnTuningConfig extends TargetedConfig {
  readonly type: "LN_TUNING";
  /** Norms that are trained; the family's usual ones by default. */
  readonly targetModules: ModuleNames;
}

/** Settings of {@linkcode lnTuning}. */
export type LnTuningOptions = Partial<Omit<LnTuningConfig, "type">>;

/** The file. */
export const lnTuningFile: ConfigFile<LnTuningConfig> = configFile<LnTuningConfig>("LN_TUNING", TARGETED_FIELDS, {
  title: "LayerNorm tuning",
});

/**
 * LayerNorm tuning (arXiv:2312.11420): the weights and biases of norms are trained. Without target modules the family's
 * usual norms are taken.
 *
 * @throws {ConfigError} `adapter/<field>` listing every setting that is wrong.
 */
export function lnTuning(options: LnTuningOptions = {}): LnTuningConfig {
  return lnTuningFile.create(options);
}
