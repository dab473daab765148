// Generation: the texts that come out of decoding (decoding.ts) and beam search (beam_search.ts).
import { UsageError } from "../core/errors.ts";
import type { Batch } from "../data/batch.ts";
import type { Tokenizer } from "../data/tokenizer.ts";
import { type Beam, searchBeams } from "./beam_search.ts";
import { causalDecoder, type Texts } from "./decoder.ts";
import type { Writer } from "./decoding.ts";
import { checkOptions, type GenerateOptions } from "./generate_options.ts";
import { beamWriter, decodeTexts } from "./long_texts.ts";
import type { Model } from "./model.ts";
import { routedDecoder } from "./route.ts";
import { seq2seqDecoder } from "./seq2seq_decoder.ts";
import { textStream } from "./text_stream.ts";

/** Prompts: the token ids of each, or a padded batch. */
export type Prompts = Texts | Pick<Batch, "input_ids" | "attention_mask">;

/** See {@linkcode Model.generate}. */
export async function* generate(
  model: Model,
  prompt: string,
  options: GenerateOptions,
): AsyncGenerator<string, void, void> {
  checkOptions(options);
  if ((options.numReturnSequences ?? 1) > 1) {
    throw new UsageError("usage/sampling", "Cannot stream several texts at once: generateTexts writes them");
  }
  const { tokenizer } = model;
  const { writer, texts } = writing(model, [promptIds(tokenizer, prompt)], options);
  const stream = textStream(tokenizer, texts[0]!, options.stop);
  for await (const [id] of tokens(writer, texts, options)) {
    const piece = stream.push(id!);
    if (piece !== "") yield piece;
    if (stream.stopped) return;
  }
  const rest = stream.flush();
  if (rest !== "") yield rest;
}

/**
 * Continue every prompt, or answer it where the model is an encoder-decoder; the results hold only the new tokens,
 * without the end token. The prompts may be of different lengths, and those of a batch may be padded on either side: each
 * is continued as it would be alone. With `numReturnSequences`, the texts of a prompt follow one another.
 *
 * @throws {UsageError} `usage/sampling` listing the options that are out of range, `usage/prompt`, `usage/beams`,
 * `data/token-range`.
 *
 * @example Usage
 * ```ts no-eval
 * import { generateIds, loadModel, openDevice } from "@graft/graft";
 *
 * const model = await loadModel(await openDevice(), "models/smollm2");
 * console.log(await generateIds(model, [[1, 5, 9], [1, 7]], { maxNewTokens: 8, numBeams: 4 }));
 * ```
 */
export async function generateIds(
  model: Model,
  prompts: Prompts,
  options: GenerateOptions = {},
): Promise<number[][]> {
  checkOptions(options);
  const given = repeated(unpadded(prompts), options);
  if (given.length === 0) return [];
  const { writer, texts } = writing(model, given, options);
  const count = isBeamSearch(options) ? options.numReturnSequences ?? 1 : 1;
  const results = texts.flatMap(() => Array.from({ length: count }, (): number[] => []));
  for await (const next of tokens(writer, texts, options)) {
    next.forEach((id, s) => id === undefined ? undefined : results[s]!.push(id));
  }
  return results;
}

/**
 * The `numBeams` best texts of every prompt with their scores, the best first; a single beam is greedy.
 *
 * @throws {UsageError} as {@linkcode generateIds}.
 * @throws {NumericError} `num/logits` if a model computes numbers that are not finite.
 */
export async function generateBeams(
  model: Model,
  prompts: Prompts,
  options: Omit<GenerateOptions, "temperature" | "stop" | "numReturnSequences"> = {},
): Promise<Beam[][]> {
  checkOptions(options);
  const given = unpadded(prompts);
  if (given.length === 0) return [];
  const { writer, texts } = writing(model, given, options);
  return await searchBeams(writer, texts, options);
}

/**
 * Continue every prompt, all at once; what {@linkcode Model.generate} gives for each. With `numReturnSequences`, the
 * texts of a prompt follow one another.
 *
 * @throws {UsageError} `usage/sampling` listing the options that are out of range, `usage/prompt`.
 */
export async function generateTexts(
  model: Model,
  prompts: readonly string[],
  options: GenerateOptions = {},
): Promise<string[]> {
  checkOptions(options);
  const { tokenizer } = model;
  const given = repeated(prompts.map((prompt) => promptIds(tokenizer, prompt)), options);
  if (given.length === 0) return [];
  const { writer, texts } = writing(model, given, options);
  const count = isBeamSearch(options) ? options.numReturnSequences ?? 1 : 1;
  const streams = texts.flatMap((ids) => Array.from({ length: count }, () => textStream(tokenizer, ids, options.stop)));
  const results = streams.map(() => "");
  for await (const next of tokens(writer, texts, options)) {
    next.forEach((id, s) => id === undefined ? undefined : results[s] += streams[s]!.push(id));
    if (streams.every(({ stopped }) => stopped)) break;
  }
  return results.map((text, s) => text + streams[s]!.flush());
}

/** The token ids of a prompt: a lone begin token where the text has none. */
function promptIds(tokenizer: Tokenizer, prompt: string): number[] {
  const ids = tokenizer.encode(prompt);
  return ids.length === 0 && tokenizer.bosId !== undefined ? [tokenizer.bosId] : ids;
}

/** What writes, and the texts that it goes on with: the prompts, or of an encoder-decoder what stands behind them. */
function writing(
  model: Model,
  prompts: Texts,
  options: GenerateOptions,
): { readonly writer: Writer; readonly texts: Texts } {
  const { state } = model, { encoder } = state.architecture, { name } = state.task;
  if (name !== "causal-lm" && name !== "seq2seq-lm") {
    throw new UsageError("usage/task", `Cannot write text with a model that is loaded for ${name}`, {
      hint: 'Load it with a task that writes: loadModel(…, { task: "causal-lm" }).',
    });
  }
  let texts = prompts;
  const make = () => {
    if (!encoder) return causalDecoder(state);
    const made = seq2seqDecoder(state, { encoder, prompts });
    texts = made.texts;
    return made.decoder;
  };
  const { adapters } = options, times = isBeamSearch(options) ? 1 : options.numReturnSequences ?? 1;
  const names = adapters?.flatMap((name) => new Array<string | null>(times).fill(name));
  const decoder = names ? routedDecoder(state, make, { names, count: prompts.length }) : make();
  return { writer: { model, decoder }, texts };
}

function isBeamSearch({ numBeams = 1 }: GenerateOptions): boolean {
  return numBeams > 1;
}

/** The prompts of a padded batch without their padding. */
function unpadded(prompts: Prompts): Texts {
  if (!("input_ids" in prompts)) return prompts;
  const { input_ids, attention_mask: mask } = prompts;
  if (!mask) return input_ids;
  const fits = mask.length === input_ids.length && mask.every((row, b) => row.length === input_ids[b]!.length);
  if (!fits) throw new UsageError("usage/prompt", "Cannot continue prompts whose attention_mask has another shape");
  const gap = mask.findIndex((row) => row.slice(row.indexOf(1), row.lastIndexOf(1)).includes(0));
  if (gap >= 0) {
    throw new UsageError("usage/prompt", `Cannot continue prompt ${gap}: its attention_mask has a gap between tokens`);
  }
  return input_ids.map((row, b) => row.filter((_, t) => mask[b]![t] !== 0));
}

/** Prompts whose samples are independent come once for each. */
function repeated(prompts: Texts, options: GenerateOptions): Texts {
  const { numReturnSequences = 1 } = options;
  if (isBeamSearch(options) || numReturnSequences === 1) return prompts;
  return prompts.flatMap((ids) => Array.from({ length: numReturnSequences }, () => ids));
}

/** The next token of every text; of beams when they have all been searched. */
async function* tokens(
  writer: Writer,
  prompts: Texts,
  options: GenerateOptions,
): AsyncGenerator<(number | undefined)[], void, void> {
  const { onTokens = () => {}, numReturnSequences = 1 } = options;
  if (!isBeamSearch(options)) {
    for await (const next of decodeTexts(writer, prompts, options)) {
      onTokens(next.filter((id) => id !== undefined).length);
      yield next;
    }
    return;
  }
  const found = (await searchBeams(beamWriter(writer, prompts, options), prompts, options)).flatMap((beams) =>
    beams.slice(0, numReturnSequences)
  );
  onTokens(found.reduce((sum, { ids }) => sum + ids.length, 0));
  const longest = Math.max(...found.map(({ ids }) => ids.length));
  for (let i = 0; i < longest; i++) yield found.map(({ ids }) => ids[i]);
}
