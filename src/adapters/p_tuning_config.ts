// P-tuning's settings and their form in adapter_config.json (peft/tuners/p_tuning/config.py).
import { type ConfigFile, configFile, count, countOrNull, type FieldsOf, oneOf, share } from "./fields.ts";
import { PROMPT_FIELDS, PROMPT_IGNORED, type PromptConfig } from "./prompt.ts";

/** Settings of P-tuning, complete. */
export interface PTuningConfig extends PromptConfig {
  readonly type: "P_TUNING";
  /** The layers that make the vectors. An LSTM's vectors can be used and trained on, but no LSTM is trained here. */
  readonly encoderKind: "MLP" | "LSTM";
  /** Width between the layers; that of the vectors by default. */
  readonly encoderWidth: number | null;
  /** Layers of an LSTM; the MLP always has three. */
  readonly encoderLayers: number;
  /** Share of an LSTM's states that is dropped in training. */
  readonly encoderDropout: number;
  /** Whether the layers are there to be trained on: files of PEFT hold only what they make. */
  readonly encoder?: boolean;
}

const FIELDS: FieldsOf<PTuningConfig> = {
  ...PROMPT_FIELDS,
  encoderKind: oneOf("encoder_reparameterization_type", ["MLP", "LSTM"], "MLP"),
  encoderWidth: countOrNull("encoder_hidden_size"),
  encoderLayers: count("encoder_num_layers", 2),
  encoderDropout: share("encoder_dropout"),
};

/** Settings of {@linkcode pTuning}. */
export type PTuningOptions = Partial<Omit<PTuningConfig, "type" | "encoder">>;

/** The file. */
export const pTuningFile: ConfigFile<PTuningConfig> = configFile("P_TUNING", FIELDS, {
  title: "P-tuning",
  ignored: PROMPT_IGNORED,
});

/**
 * P-tuning (arXiv:2103.10385): vectors in front of every sequence, made by a small network while training.
 *
 * @throws {ConfigError} `adapter/<field>` listing every setting that is wrong.
 */
export function pTuning(options: PTuningOptions = {}): PTuningConfig {
  const config = pTuningFile.create(options);
  return { ...config, encoder: true };
}
