// IA3's settings and their form in adapter_config.json (peft/tuners/ia3/config.py).
import { configFile, type ConfigOf, flag, modules, names } from "./fields.ts";

const FIELDS = {
  /** Linear maps that are rescaled. */
  targetModules: modules("target_modules"),
  excludeModules: modules("exclude_modules"),
  /** Those of the targets whose input is rescaled, not the output. */
  feedforwardModules: modules("feedforward_modules"),
  /** Modules that are trained in full. */
  modulesToSave: names("modules_to_save"),
  /** Start as the base; random factors around one otherwise. */
  init: flag("init_ia3_weights", true),
};

/** Settings of IA3, complete. */
export type Ia3Config = ConfigOf<"IA3", typeof FIELDS>;

/** Settings of {@linkcode ia3}. */
export type Ia3Options = Partial<Omit<Ia3Config, "type">>;

/** The file. */
export const ia3File = configFile("IA3", FIELDS, { title: "IA3", fanInFanOut: true });

/**
 * IA3 (arXiv:2205.05638) with PEFT's defaults. Without target modules the family's usual ones are taken. It needs 10 to
 * 50 times the learning rate of LoRA.
 *
 * @throws {ConfigError} `adapter/<field>` listing every setting that is wrong.
 */
export function ia3(options: Ia3Options = {}): Ia3Config {
  return ia3File.create(options);
}
