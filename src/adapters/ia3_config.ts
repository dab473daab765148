// IA3's settings and their form in adapter_config.json (peft/tuners/ia3/config.py).
import { type ConfigFile, configFile, type FieldsOf, flag, modules } from "./fields.ts";
import { TARGETED_FIELDS, type TargetedConfig } from "./targeted.ts";
import type { ModuleNames } from "./targets.ts";

/** Settings of IA3, complete. */
export interface Ia3Config extends TargetedConfig {
  readonly type: "IA3";
  /** Linear maps that are rescaled. */
  readonly targetModules: ModuleNames;
  /** Those of the targets whose input is rescaled, not the output. */
  readonly feedforwardModules: ModuleNames;
  /** Start as the base; random factors around one otherwise. */
  readonly init: boolean;
}

const FIELDS: FieldsOf<Ia3Config> = {
  ...TARGETED_FIELDS,
  feedforwardModules: modules("feedforward_modules"),
  init: flag("init_ia3_weights", true),
};

/** Settings of {@linkcode ia3}. */
export type Ia3Options = Partial<Omit<Ia3Config, "type">>;

/** The file. */
export const ia3File: ConfigFile<Ia3Config> = configFile("IA3", FIELDS, { title: "IA3", fanInFanOut: true });

/**
 * IA3 (arXiv:2205.05638) with PEFT's defaults. Without target modules the family's usual ones are taken. It needs 10 to
 * 50 times the learning rate of LoRA.
 *
 * @throws {ConfigError} `adapter/<field>` listing every setting that is wrong.
 */
export function ia3(options: Ia3Options = {}): Ia3Config {
  return ia3File.create(options);
}
