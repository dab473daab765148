// LayerNorm tuning's settings and their form in adapter_config.json (peft/tuners/ln_tuning/config.py).
import { type ConfigBase, type ConfigFile, configFile, type FieldsOf, modules, names } from "./fields.ts";
import type { ModuleNames } from "./targets.ts";

/** Settings of LayerNorm tuning, complete. */
export interface LnTuningConfig extends ConfigBase {
  readonly type: "LN_TUNING";
  /** Norms that are trained. */
  readonly targetModules: ModuleNames;
  readonly excludeModules: ModuleNames;
  readonly modulesToSave: readonly string[];
}

const FIELDS: FieldsOf<LnTuningConfig> = {
  targetModules: modules("target_modules"),
  excludeModules: modules("exclude_modules"),
  modulesToSave: names("modules_to_save"),
};

/** Settings of {@linkcode lnTuning}. */
export type LnTuningOptions = Partial<Omit<LnTuningConfig, "type">>;

/** The file. */
export const lnTuningFile: ConfigFile<LnTuningConfig> = configFile("LN_TUNING", FIELDS, { title: "LayerNorm tuning" });

/**
 * LayerNorm tuning (arXiv:2312.11420): the weights and biases of norms are trained. Without target modules the family's
 * usual norms are taken.
 *
 * @throws {ConfigError} `adapter/<field>` listing every setting that is wrong.
 */
export function lnTuning(options: LnTuningOptions = {}): LnTuningConfig {
  return lnTuningFile.create(options);
}
