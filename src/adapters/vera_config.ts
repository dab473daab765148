// VeRA's settings and their form in adapter_config.json (peft/tuners/vera/config.py).
import { type ConfigFile, configFile, count, type Field, type FieldsOf, flag, oneOf, real, share } from "./fields.ts";
import { LAYERED_FIELDS, type LayeredConfig } from "./targeted.ts";

/** PyTorch's random numbers cannot be drawn here, so that a file without its projections is of no use. */
const saved: Field<boolean> = {
  ...flag("save_projection", true),
  must: "true, as the random projections of another generator cannot be drawn again",
  ok: (value) => value === true,
};

/** Settings of VeRA, complete. */
export interface VeraConfig extends LayeredConfig {
  readonly type: "VERA";
  /** R, rows of the shared projections. */
  readonly rank: number;
  /** Seed of the shared projections. */
  readonly projectionKey: number;
  /** Whether files hold the shared projections; they must. */
  readonly saveProjection: boolean;
  /** Share of the adapter's input that is dropped in training. */
  readonly dropout: number;
  /** First value of the factors between the projections. */
  readonly dInitial: number;
  /** Biases of the base that are trained too: none, all, or those of the adapted modules. */
  readonly bias: "none" | "all" | "vera_only";
  /** Start as the base. */
  readonly init: boolean;
  /** Widths of the shared projections: the largest of all targets. */
  readonly size?: { readonly In: number; readonly Out: number };
}

const FIELDS: FieldsOf<VeraConfig> = {
  rank: count("r", 256),
  ...LAYERED_FIELDS,
  projectionKey: count("projection_prng_key", 0, 0),
  saveProjection: saved,
  dropout: share("vera_dropout"),
  dInitial: real("d_initial", 0.1),
  bias: oneOf("bias", ["none", "all", "vera_only"], "none"),
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
