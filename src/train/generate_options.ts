// What can be asked of generation, and what is wrong with a question.
import { UsageError } from "../core/errors.ts";
import type { Decoder, Texts } from "./decoder.ts";
import type { AdapterNames } from "./route.ts";
import type { ModelState } from "./state.ts";

/** How the next token is chosen. */
export interface SamplingOptions {
  /** 0 takes the likeliest token (greedy); above, the logits are divided by it (0). */
  readonly temperature?: number;
  /** Keep the k likeliest tokens; 0 keeps all (0). */
  readonly topK?: number;
  /** Keep the likeliest tokens that together have this probability (1). */
  readonly topP?: number;
  /** Above 1, tokens that stand in the text already become less likely (1). */
  readonly repetitionPenalty?: number;
  /** Seed of the random choices (42). */
  readonly seed?: number;
  /**
   * Number of the first text among all that are written with this seed (0). A text depends on its prompt, the seed and
   * its number, not on the texts beside it.
   */
  readonly firstSequence?: number;
}

/** How beams are searched, as in transformers' `generate`. */
export interface BeamOptions {
  /** Texts that are followed at once; 1 is greedy or sampling (1). */
  readonly numBeams?: number;
  /** Scores of ended texts are divided by their length to this power: above 0 favors long texts (1). */
  readonly lengthPenalty?: number;
  /**
   * When a prompt is done: `true` as soon as `numBeams` texts have ended; `false` when the best running text would not
   * score better than these if it ended now; `"never"` when it could not even at its best length (false).
   */
  readonly earlyStopping?: boolean | "never";
}

/** Options of {@linkcode Model.generate}. */
export interface GenerateOptions extends SamplingOptions, BeamOptions {
  /** Tokens to write at most (128). */
  readonly maxNewTokens?: number;
  /** Tokens to write before an end token may come (0). */
  readonly minNewTokens?: number;
  /** Texts at which to stop; they are not written. */
  readonly stop?: readonly string[];
  /** Tokens that end a text, instead of those of the tokenizer. */
  readonly endTokens?: readonly number[];
  /** Go on behind the end token (false). */
  readonly ignoreEos?: boolean;
  /** Texts for each prompt, of beams the best first (1). */
  readonly numReturnSequences?: number;
  /** The adapter of each prompt by name, null for the base; by default all have the one in use. */
  readonly adapters?: AdapterNames;
  /** Called with how many tokens have come, each time that some have: for progress and speed. */
  readonly onTokens?: (count: number) => void;
}

/** Beams at most: the choice among them is made by one invocation. */
const MOST_BEAMS = 64;

/**
 * All that is wrong with the options in one error.
 *
 * @throws {UsageError} `usage/sampling`.
 */
export function checkOptions(options: GenerateOptions): void {
  const { maxNewTokens = 128, minNewTokens = 0, temperature = 0, topK = 0, topP = 1, repetitionPenalty = 1 } = options;
  const { seed = 42, firstSequence = 0, numBeams = 1, numReturnSequences = 1, lengthPenalty = 1, stop = [] } = options;
  const problems: string[] = [];
  const check = (name: string, value: number, what: string, ok: boolean) => {
    if (!ok) problems.push(`${name} must be ${what}: received ${value}`);
  };
  const isWhole = (value: number) => Number.isSafeInteger(value) && value >= 0;
  const isFinite = (value: number) => Number.isFinite(value);
  check("maxNewTokens", maxNewTokens, "a whole number", isWhole(maxNewTokens));
  const inside = isWhole(minNewTokens) && minNewTokens <= maxNewTokens;
  check("minNewTokens", minNewTokens, `a whole number up to maxNewTokens`, inside);
  check("temperature", temperature, "0 or above", isFinite(temperature) && temperature >= 0);
  check("topK", topK, "a whole number", isWhole(topK));
  check("topP", topP, "in (0, 1]", topP > 0 && topP <= 1);
  check("repetitionPenalty", repetitionPenalty, "above 0", isFinite(repetitionPenalty) && repetitionPenalty > 0);
  check("seed", seed, "a whole number below 2^53", isWhole(seed));
  check("firstSequence", firstSequence, "a whole number below 2^31", isWhole(firstSequence) && firstSequence < 2 ** 31);
  check("numBeams", numBeams, `in [1, ${MOST_BEAMS}]`, isWhole(numBeams) && numBeams >= 1 && numBeams <= MOST_BEAMS);
  check("lengthPenalty", lengthPenalty, "finite", isFinite(lengthPenalty));
  check("numReturnSequences", numReturnSequences, "1 or above", isWhole(numReturnSequences) && numReturnSequences >= 1);
  const wrong = options.endTokens?.find((id) => !isWhole(id) || id >= 2 ** 32);
  if (wrong !== undefined) problems.push(`endTokens must be ids of tokens: received ${wrong}`);
  if (stop.includes("")) problems.push("stop texts must not be empty");
  if (numBeams > 1) {
    if (temperature > 0) problems.push("beams are searched without sampling: temperature must be 0");
    if (stop.length > 0) problems.push("beams end at end tokens only: stop texts need numBeams = 1");
    if (numReturnSequences > numBeams) problems.push(`numReturnSequences must be at most numBeams = ${numBeams}`);
  } else if (numReturnSequences > 1 && temperature === 0) {
    problems.push("greedy writes one text: numReturnSequences needs a temperature or beams");
  }
  if (problems.length > 0) throw new UsageError("usage/sampling", `Cannot generate: ${problems.join("; ")}`);
}

/**
 * Check what is to be continued.
 *
 * @throws {UsageError} `usage/prompt`, `data/token-range`.
 */
export function checkPrompts({ V, positions, lead }: Pick<Decoder, "V" | "positions" | "lead">, prompts: Texts): void {
  if (prompts.some((p) => p.length === 0)) {
    throw new UsageError("usage/prompt", "Cannot continue an empty prompt: the tokenizer has no begin token either");
  }
  const longest = Math.max(...prompts.map((p) => p.length));
  if (lead + longest >= positions) {
    throw new UsageError(
      "usage/prompt",
      `Cannot continue a prompt of ${longest} tokens: the model has ${positions - lead} positions for text`,
    );
  }
  const wrong = prompts.flat().find((id) => !Number.isInteger(id) || id < 0 || id >= V);
  if (wrong !== undefined) {
    throw new UsageError("data/token-range", `Cannot use ${wrong} as a token: the model has ${V}`);
  }
}

/** The tokens that end a text. */
export function endTokens(
  { tokenizerOrNone }: Pick<ModelState, "tokenizerOrNone">,
  { ignoreEos = false, endTokens }: GenerateOptions,
): ReadonlySet<number> {
  return new Set(ignoreEos ? [] : endTokens ?? tokenizerOrNone?.eosIds ?? []);
}
