// LayerNorm tuning's settings and their form in adapter_config.json (peft/tuners/ln_tuning/config.py).
import { configFile, type ConfigOf, modules, names } from "./fields.ts";

const FIELDS = {
  /** Norms that are trained. */
  targetModules: modules("target_modules"),
  excludeModules: modules("exclude_modules"),
  modulesToSave: names("modules_to_save"),
};

/** Settings of LayerNorm tuning, complete. */
export type LnTuningConfig = ConfigOf<"LN_TUNING", typeof FIELDS>;

/** Settings of {@linkcode lnTuning}. */
export type LnTuningOptions = Partial<Omit<LnTuningConfig, "type">>;

/** The file. */
export const lnTuningFile = configFile("LN_TUNING", FIELDS, { title: "LayerNorm tuning" });

/**
 * LayerNorm tuning (arXiv:2312.11420): the weights and biases of norms are trained. Without target modules the family's
 * usual norms are taken.
 *
 * @throws {ConfigError} `adapter/<field>` listing every setting that is wrong.
 */
export function lnTuning(options: LnTuningOptions = {}): LnTuningConfig {
  return lnTuningFile.create(options);
}
