// Generation: the texts that come out of decoding (decoding.ts), and the options that say how.
import { UsageError } from "../core/errors.ts";
import { streamDecoder } from "../data/decode_stream.ts";
import { decode } from "./decoding.ts";
import type { Model } from "./model.ts";

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
}

/** Options of {@linkcode Model.generate}. */
export interface GenerateOptions extends SamplingOptions {
  /** Tokens to write at most (128). */
  readonly maxNewTokens?: number;
  /** Texts at which to stop; they are not written. */
  readonly stop?: readonly string[];
  /** Go on behind the end token (false). */
  readonly ignoreEos?: boolean;
}

/** See {@linkcode Model.generate}. */
export async function* generate(
  model: Model,
  prompt: string,
  options: GenerateOptions,
): AsyncGenerator<string, void, void> {
  const { tokenizer } = model;
  checkOptions(options);
  const ids = tokenizer.encode(prompt);
  if (ids.length === 0 && tokenizer.bosId !== undefined) ids.push(tokenizer.bosId);
  const decoder = streamDecoder(tokenizer, { context: ids, skipSpecialTokens: true });
  const { stop = [] } = options;
  const held = Math.max(0, ...stop.map((text) => text.length - 1)); // a stop text may begin in what is not written yet
  let text = "", written = 0;
  const ends = () => Math.min(...stop.map((s) => text.indexOf(s, Math.max(0, written - held))).filter((at) => at >= 0));
  for await (const [id] of decode(model, [ids], options)) {
    text += decoder.push(id!);
    const end = ends();
    const safe = Math.min(end, text.length - held);
    if (safe > written) yield text.slice(written, safe);
    written = Math.max(written, safe);
    if (Number.isFinite(end)) return;
  }
  text += decoder.flush();
  const end = Math.min(ends(), text.length);
  if (end > written) yield text.slice(written, end);
}

/**
 * Continue every prompt of token ids; the results hold only the new tokens, without the end token.
 *
 * @throws {UsageError} `usage/sampling` listing the options that are out of range, `usage/prompt`, `data/token-range`.
 */
export async function generateIds(
  model: Model,
  prompts: readonly (readonly number[])[],
  options: GenerateOptions = {},
): Promise<number[][]> {
  checkOptions(options);
  const results = prompts.map((): number[] => []);
  if (prompts.length === 0) return results;
  for await (const next of decode(model, prompts, options)) {
    next.forEach((id, s) => id === undefined ? undefined : results[s]!.push(id));
  }
  return results;
}

/** All that is wrong with the options in one error. */
function checkOptions(options: GenerateOptions): void {
  const { maxNewTokens = 128, temperature = 0, topK = 0, topP = 1, repetitionPenalty = 1, seed = 42 } = options;
  const problems: string[] = [];
  const check = (name: string, value: number, what: string, ok: boolean) => {
    if (!ok) problems.push(`${name} must be ${what}: received ${value}`);
  };
  const isWhole = (value: number) => Number.isSafeInteger(value) && value >= 0;
  const isFinite = (value: number) => Number.isFinite(value);
  check("maxNewTokens", maxNewTokens, "a whole number", isWhole(maxNewTokens));
  check("temperature", temperature, "0 or above", isFinite(temperature) && temperature >= 0);
  check("topK", topK, "a whole number", isWhole(topK));
  check("topP", topP, "in (0, 1]", topP > 0 && topP <= 1);
  check("repetitionPenalty", repetitionPenalty, "above 0", isFinite(repetitionPenalty) && repetitionPenalty > 0);
  check("seed", seed, "a whole number below 2^53", isWhole(seed));
  if (options.stop?.includes("")) problems.push("stop texts must not be empty");
  if (problems.length > 0) throw new UsageError("usage/sampling", `Cannot generate: ${problems.join("; ")}`);
}
