// Prefix tuning's settings and their form in adapter_config.json (peft/tuners/prefix_tuning/config.py).
import { type ConfigFile, configFile, countOrNull, type Field, type FieldsOf, flag } from "./fields.ts";
import { PROMPT_FIELDS, PROMPT_IGNORED, type PromptConfig } from "./prompt.ts";

const first: Field<"zero" | null> = {
  json: "init_weights",
  default: null,
  must: 'null or "zero"',
  ok: (value) => value === null || value === "zero",
};

/** Settings of prefix tuning, complete. */
export interface PrefixTuningConfig extends PromptConfig {
  readonly type: "PREFIX_TUNING";
  /** Make the prefixes from token-like vectors by two layers while training. */
  readonly projection: boolean;
  /** Width between the two layers; that of the vectors by default. */
  readonly encoderWidth: number | null;
  /** N(0, 1), or zeros. */
  readonly init: "zero" | null;
  /** Whether the projection is there to be trained on: files of PEFT hold only what it makes. */
  readonly encoder?: boolean;
}

const FIELDS: FieldsOf<PrefixTuningConfig> = {
  ...PROMPT_FIELDS,
  projection: flag("prefix_projection", false),
  encoderWidth: countOrNull("encoder_hidden_size"),
  init: first,
};

/** Settings of {@linkcode prefixTuning}. */
export type PrefixTuningOptions = Partial<Omit<PrefixTuningConfig, "type" | "encoder">>;

/** The file. */
export const prefixTuningFile: ConfigFile<PrefixTuningConfig> = configFile("PREFIX_TUNING", FIELDS, {
  title: "prefix tuning",
  ignored: PROMPT_IGNORED,
});

/**
 * Prefix tuning (arXiv:2101.00190): trained keys and values in front of those of every attention layer.
 *
 * @throws {ConfigError} `adapter/<field>` listing every setting that is wrong.
 */
export function prefixTuning(options: PrefixTuningOptions = {}): PrefixTuningConfig {
  const config = prefixTuningFile.create(options);
  return { ...config, encoder: config.projection };
}
