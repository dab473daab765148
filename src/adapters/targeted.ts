// What methods that change chosen modules have in common: which modules, and in which layers.
import { type ConfigBase, type FieldsOf, layers, modules, names } from "./fields.ts";
import type { ModuleNames } from "./targets.ts";

/** Settings of a method that changes chosen modules. */
export interface TargetedConfig extends ConfigBase {
  /** Modules that the method changes; the family's usual ones by default. */
  readonly targetModules: ModuleNames;
  /** Modules that stay as they are, though they are targets. */
  readonly excludeModules: ModuleNames;
  /** Modules that are trained in full. */
  readonly modulesToSave: readonly string[];
}

/** Their fields. */
export const TARGETED_FIELDS: FieldsOf<TargetedConfig> = {
  targetModules: modules("target_modules"),
  excludeModules: modules("exclude_modules"),
  modulesToSave: names("modules_to_save"),
};

/** Settings of a method that can be kept to chosen layers. */
export interface LayeredConfig extends TargetedConfig {
  /** Layer numbers; null for all. */
  readonly layersToTransform: number | readonly number[] | null;
  /** Names that precede the layer number, such as `"layers"`. */
  readonly layersPattern: ModuleNames;
}

/** Their fields. */
export const LAYERED_FIELDS: FieldsOf<LayeredConfig> = {
  ...TARGETED_FIELDS,
  layersToTransform: layers("layers_to_transform"),
  layersPattern: modules("layers_pattern"),
};
