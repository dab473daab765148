// BitFit's settings. PEFT has no such method (its `bias: all` comes with LoRA), so the file has a type of Graft's own.
import { type ConfigBase, type ConfigFile, configFile, type FieldsOf, modules, names } from "./fields.ts";
import type { ModuleNames } from "./targets.ts";

/** Settings of BitFit, complete. */
export interface BitfitConfig extends ConfigBase {
  readonly type: "GRAFT_BITFIT";
  /** Modules whose biases are trained; all by default. */
  readonly targetModules: ModuleNames;
  readonly excludeModules: ModuleNames;
  readonly modulesToSave: readonly string[];
}

const FIELDS: FieldsOf<BitfitConfig> = {
  targetModules: modules("target_modules"),
  excludeModules: modules("exclude_modules"),
  modulesToSave: names("modules_to_save"),
};

/** Settings of {@linkcode bitfit}. */
export type BitfitOptions = Partial<Omit<BitfitConfig, "type">>;

/** The file. */
export const bitfitFile: ConfigFile<BitfitConfig> = configFile("GRAFT_BITFIT", FIELDS, { title: "BitFit" });

/**
 * BitFit (arXiv:2106.10199): the biases of the model are trained. PEFT cannot read its files, whose `peft_type` is
 * `"GRAFT_BITFIT"`; tensors are named as PEFT names biases.
 *
 * @throws {ConfigError} `adapter/<field>` listing every setting that is wrong.
 */
export function bitfit(options: BitfitOptions = {}): BitfitConfig {
  return bitfitFile.create(options);
}
