// BitFit's settings. PEFT has no such method (its `bias: all` comes with LoRA), so the file has a type of Graft's own.
import { type ConfigFile, configFile } from "./fields.ts";
import { TARGETED_FIELDS, type TargetedConfig } from "./targeted.ts";
import type { ModuleNames } from "./targets.ts";

/** Settings of BitFit, complete. */
export interface BitfitConfig extends TargetedConfig {
  readonly type: "GRAFT_BITFIT";
  /** Modules whose biases are trained; all by default. */
  readonly targetModules: ModuleNames;
}

/** Settings of {@linkcode bitfit}. */
export type BitfitOptions = Partial<Omit<BitfitConfig, "type">>;

/** The file. */
export const bitfitFile: ConfigFile<BitfitConfig> = configFile<BitfitConfig>("GRAFT_BITFIT", TARGETED_FIELDS, {
  title: "BitFit",
});

/**
 * BitFit (arXiv:2106.10199): the biases of the model are trained. PEFT cannot read its files, whose `peft_type` is
 * `"GRAFT_BITFIT"`; tensors are named as PEFT names biases.
 *
 * @throws {ConfigError} `adapter/<field>` listing every setting that is wrong.
 */
export function bitfit(options: BitfitOptions = {}): BitfitConfig {
  return bitfitFile.create(options);
}
