// Prompt tuning's settings and their form in adapter_config.json (peft/tuners/prompt_tuning/config.py).
import { type ConfigFile, configFile, type FieldsOf, oneOf, text } from "./fields.ts";
import { PROMPT_FIELDS, PROMPT_IGNORED, type PromptConfig } from "./prompt.ts";

/** Settings of prompt tuning, complete. */
export interface PromptTuningConfig extends PromptConfig {
  readonly type: "PROMPT_TUNING";
  /** N(0, 1), the vectors of a text, or those of random tokens. */
  readonly init: "RANDOM" | "TEXT" | "SAMPLE_VOCAB";
  /** The text of `"TEXT"`; its tokens are repeated or cut to the number of virtual ones. */
  readonly initText: string | null;
  /** Folder or name of the tokenizer of that text, as PEFT notes it. */
  readonly tokenizer: string | null;
  /** The weight that holds the token vectors [V, D]. */
  readonly table?: string;
  /** Tokens of the text that the vectors start with. */
  readonly initTokens?: readonly number[];
}

const FIELDS: FieldsOf<PromptTuningConfig> = {
  ...PROMPT_FIELDS,
  init: oneOf("prompt_tuning_init", ["RANDOM", "TEXT", "SAMPLE_VOCAB"], "RANDOM"),
  initText: text("prompt_tuning_init_text"),
  tokenizer: text("tokenizer_name_or_path"),
};

/** Settings of {@linkcode promptTuning}. */
export type PromptTuningOptions = Partial<Omit<PromptTuningConfig, "type" | "table" | "initTokens">>;

/** The file. */
export const promptTuningFile: ConfigFile<PromptTuningConfig> = configFile("PROMPT_TUNING", FIELDS, {
  title: "prompt tuning",
  ignored: PROMPT_IGNORED,
  problems: ({ init, initText }) =>
    init === "TEXT" && initText === null ? [["prompt_tuning_init_text", 'must be given with "TEXT"']] : [],
});

/**
 * Prompt tuning (arXiv:2104.08691): trained vectors in front of every sequence. They start as vectors of random tokens;
 * PEFT's own default, N(0, 1), is far larger than real ones and learns little.
 *
 * @throws {ConfigError} `adapter/<field>` listing every setting that is wrong.
 */
export function promptTuning(options: PromptTuningOptions = {}): PromptTuningConfig {
  return promptTuningFile.create({ init: options.initText === undefined ? "SAMPLE_VOCAB" : "TEXT", ...options });
}
