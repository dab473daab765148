// VeRA's settings and their form in adapter_config.json (peft/tuners/vera/config.py).
import {
  configFile,
  type ConfigOf,
  count,
  type Field,
  flag,
  layers,
  modules,
  names,
  oneOf,
  real,
  share,
} from "./fields.ts";

/** PyTorch's random numbers cannot be drawn here, so that a file without its projections is of no use. */
const saved: Field<boolean> = {
  ...flag("save_projection", true),
  must: "true, as the random projections of another generator cannot be drawn again",
  ok: (value) => value === true,
};

const FIELDS = {
  /** R, rows of the shared projections. */
  rank: count("r", 256),
  targetModules: modules("target_modules"),
  excludeModules: modules("exclude_modules"),
  layersToTransform: layers("layers_to_transform"),
  layersPattern: modules("layers_pattern"),
  /** Seed of the shared projections. */
  projectionKey: count("projection_prng_key", 0, 0),
  saveProjection: saved,
  /** Share of the adapter's input that is dropped in training. */
  dropout: share("vera_dropout"),
  /** First value of the factors between the projections. */
  dInitial: real("d_initial", 0.1),
  bias: oneOf("bias", ["none", "all", "vera_only"], "none"),
  modulesToSave: names("modules_to_save"),
  init: flag("init_weights", true),
};

/** Settings of VeRA, complete. */
export type VeraConfig = ConfigOf<"VERA", typeof FIELDS> & {
  /** Widths of the shared projections: the largest of all targets. */
  readonly size?: { readonly In: number; readonly Out: number };
};

/** Settings of {@linkcode vera}. */
export type VeraOptions = Partial<Omit<VeraConfig, "type" | "size">>;

/** The file. */
export const veraFile = configFile("VERA", FIELDS, { title: "VeRA", fanInFanOut: true });

/**
 * VeRA (arXiv:2310.11454) with PEFT's defaults: two random projections shared by all targets, and trained factors.
 *
 * @throws {ConfigError} `adapter/<field>` listing every setting that is wrong.
 */
export function vera(options: VeraOptions = {}): VeraConfig {
  return veraFile.create(options);
}
