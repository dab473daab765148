// P-tuning's settings and their form in adapter_config.json (peft/tuners/p_tuning/config.py).
import { configFile, type ConfigOf, count, countOrNull, oneOf, share } from "./fields.ts";
import { PROMPT_FIELDS, PROMPT_IGNORED } from "./prompt.ts";

const FIELDS = {
  ...PROMPT_FIELDS,
  /** The layers that make the vectors. An LSTM's vectors can be used and trained on, but no LSTM is trained here. */
  encoderKind: oneOf("encoder_reparameterization_type", ["MLP", "LSTM"], "MLP"),
  /** Width between the layers; that of the vectors by default. */
  encoderWidth: countOrNull("encoder_hidden_size"),
  /** Layers of an LSTM; the MLP always has three. */
  encoderLayers: count("encoder_num_layers", 2),
  encoderDropout: share("encoder_dropout"),
};

/** Settings of P-tuning, complete. */
export type PTuningConfig = ConfigOf<"P_TUNING", typeof FIELDS> & {
  /** Whether the layers are there to be trained on: files of PEFT hold only what they make. */
  readonly encoder?: boolean;
};

/** Settings of {@linkcode pTuning}. */
export type PTuningOptions = Partial<Omit<PTuningConfig, "type" | "encoder">>;

/** The file. */
export const pTuningFile = configFile("P_TUNING", FIELDS, { title: "P-tuning", ignored: PROMPT_IGNORED });

/**
 * P-tuning (arXiv:2103.10385): vectors in front of every sequence, made by a small network while training.
 *
 * @throws {ConfigError} `adapter/<field>` listing every setting that is wrong.
 */
export function pTuning(options: PTuningOptions = {}): PTuningConfig {
  const config = pTuningFile.create(options);
  return { ...config, encoder: true };
}
