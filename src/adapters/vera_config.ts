// VeRA's settings and their form in adapter_config.json (peft/tuners/vera/config.py).
import {
  type ConfigBase,
  type ConfigFile,
  configFile,
  count,
  type Field,
  type FieldsOf,
  flag,
  layers,
  modules,
  names,
  oneOf,
  real,
  share,
} from "./fields.ts";
import type { ModuleNames } from "./targets.ts";

/** PyTorch's random numbers cannot be drawn here, so that a file without its projections is of no use. */
const saved: Field<boolean> = {
  ...flag("save_projection", true),
  must: "true, as the random projections of another generator cannot be drawn again",
  ok: (value) => value === true,
};

/** Settings of VeRA, complete. */
export interface VeraConfig extends ConfigBase {
  readonly type: "VERA";
  /** R, rows of the shared projections. */
  readonly rank: number;
  readonly targetModules: ModuleNames;
  readonly excludeModules: ModuleNames;
  readonly layersToTransform: number | readonly number[] | null;
  readonly layersPattern: ModuleNames;
  /** Seed of the shared projections. */
  readonly projectionKey: number;
  readonly saveProjection: boolean;
  /** Share of the adapter's input that is dropped in training. */
  readonly dropout: number;
  /** First value of the factors between the projections. */
  readonly dInitial: number;
  readonly bias: "none" | "all" | "vera_only";
  readonly modulesToSave: readonly string[];
  readonly init: boolean;
  /** Widths of the shared projections: the largest of all targets. */
  readonly size?: { readonly In: number; readonly Out: number };
}

const FIELDS: FieldsOf<VeraConfig> = {
  rank: count("r", 256),
  targetModules: modules("target_modules"),
  excludeModules: modules("exclude_modules"),
  layersToTransform: layers("layers_to_transform"),
  layersPattern: modules("layers_pattern"),
  projectionKey: count("projection_prng_key", 0, 0),
  saveProjection: saved,
  dropout: share("vera_dropout"),
  dInitial: real("d_initial", 0.1),
  bias: oneOf("bias", ["none", "all", "vera_only"], "none"),
  modulesToSave: names("modules_to_save"),
  init: flag("init_weights", true),
};

/** Settings of {@linkcode vera}. */
export type VeraOptions = Partial<Omit<VeraConfig, "type" | "size">>;

/** The file. */
export const veraFile: ConfigFile<VeraConfig> = configFile("VERA", FIELDS, { title: "VeRA", fanInFanOut: true });

/**
 * VeRA (arXiv:2310.11454) with PEFT's defaults: two random projections shared by all targets, and trained factors.
 *
 * @throws {ConfigError} `adapter/<field>` listing every setting that is wrong.
 */
export function vera(options: VeraOptions = {}): VeraConfig {
  return veraFile.create(options);
}
