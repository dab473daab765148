// Generation: one position a run with a key/value cache, prompts and continuations alike, many runs before a look.
import { encodeScalars } from "../core/scalars.ts";
import { UsageError } from "../core/errors.ts";
import { streamDecoder } from "../data/decode_stream.ts";
import { run, write } from "../gpu/executable.ts";
import { readBack } from "../gpu/buffer.ts";
import { put } from "../gpu/store.ts";
import { Graph, type Value } from "../graph/graph.ts";
import { decodeSequence } from "../nn/decode_sequence.ts";
import { causalLmLogits } from "../objectives/causal_lm.ts";
import { advance } from "../ops/decode.ts";
import { argmax, penalizeRepeats, sample } from "../ops/sample.ts";
import { putToken, tokenAt } from "../ops/tokens.ts";
import { scalarsLeaf } from "../optim/norm.ts";
import type { Model } from "./model.ts";
import { modelScope, program } from "./programs.ts";
import { activeAdapter, type ModelState, type Program } from "./state.ts";

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

/** Positions decoded between two looks. */
const CHUNK = 16;

/** Caches are made for a multiple of this many positions, so that prompts of similar length share a program. */
const LENGTH_MULTIPLE = 64;

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

/** The next token of every sequence, position by position; undefined where a sequence has ended or still reads its prompt. */
async function* decode(
  model: Model,
  prompts: readonly (readonly number[])[],
  { maxNewTokens = 128, ignoreEos = false, ...sampling }: GenerateOptions,
): AsyncGenerator<(number | undefined)[], void, void> {
  const { state } = model;
  const S = prompts.length;
  const lengths = prompts.map((p) => p.length);
  const longest = Math.max(...lengths);
  checkPrompts(state, prompts, longest);
  const total = Math.min(longest + maxNewTokens, state.architecture.positions);
  const Tmax = Math.min(Math.ceil(total / LENGTH_MULTIPLE) * LENGTH_MULTIPLE, state.architecture.positions);
  const place = takePlace(state, S, Tmax);
  try {
    const made = await model.queue(() => prepare(state, prompts, place, sampling));
    const eos = new Set(ignoreEos ? [] : state.tokenizerOrNone?.eosIds ?? []);
    const ended = prompts.map(() => false);
    // Position p of the texts is known once p runs are done.
    for (let known = 1; known < total && ended.includes(false);) {
      const until = Math.min(total, Math.max(known, Math.min(...lengths)) + CHUNK);
      const texts = await model.queue(() => advanceTo(state, made, { from: known, until, place }));
      for (; known < until; known++) {
        const next = texts.map((text, s) => {
          if (ended[s] || known < lengths[s]! || known >= lengths[s]! + maxNewTokens) return undefined;
          const id = text[known]!;
          if (!eos.has(id)) return id;
          ended[s] = true;
          return undefined;
        });
        if (next.some((id) => id !== undefined)) yield next;
      }
    }
  } finally {
    places.get(state)!.delete(place.prefix);
  }
}

/** The states of one generation: S sequences of up to Tmax positions, under names that begin with `prefix`. */
interface Place {
  readonly S: number;
  readonly Tmax: number;
  readonly prefix: string;
}

/** Prefixes in use: two generations that run by turns need caches of their own. */
const places = new WeakMap<ModelState, Set<string>>();

function takePlace(state: ModelState, S: number, Tmax: number): Place {
  const taken = places.get(state) ?? new Set();
  places.set(state, taken);
  let n = 0;
  const prefix = () => `generate ${S}x${Tmax} ${n > 0 ? `#${n} ` : ""}`;
  while (taken.has(prefix())) n++;
  taken.add(prefix());
  return { S, Tmax, prefix: prefix() };
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

function checkPrompts(
  { architecture: { V, positions } }: ModelState,
  prompts: readonly (readonly number[])[],
  longest: number,
): void {
  if (prompts.some((p) => p.length === 0)) {
    throw new UsageError("usage/prompt", "Cannot continue an empty prompt: the tokenizer has no begin token either");
  }
  if (longest >= positions) {
    throw new UsageError(
      "usage/prompt",
      `Cannot continue a prompt of ${longest} tokens: the model has ${positions} positions`,
    );
  }
  const wrong = prompts.flat().find((id) => !Number.isInteger(id) || id < 0 || id >= V);
  if (wrong !== undefined) {
    throw new UsageError("data/token-range", `Cannot use ${wrong} as a token: the model has ${V}`);
  }
}

/** The compiled program with the prompts in place. */
async function prepare(
  state: ModelState,
  prompts: readonly (readonly number[])[],
  { S, Tmax, prefix }: Place,
  sampling: SamplingOptions,
): Promise<Program> {
  const { temperature = 0, topK = 0, topP = 1, repetitionPenalty = 1, seed = 42 } = sampling;
  const key = `${prefix}${JSON.stringify([temperature, topK, topP, repetitionPenalty])} ${
    activeAdapter(state)?.name ?? ""
  } ${state.full ? "full" : ""}`;
  const made = await program(state, key, () => {
    const graph = new Graph(state.device.target);
    const position = graph.leaf("state", `${prefix}position`, [S], { dtype: "u32" });
    const tokens = graph.leaf("state", `${prefix}tokens`, [S, Tmax], { dtype: "u32" });
    const length = graph.leaf("input", "length", [S], { dtype: "u32" });
    const sequence = decodeSequence({ graph, S, Tmax, position, prefix });
    const { m, constants } = modelScope(state, { graph, sequence, trained: "nothing" });
    let logits = causalLmLogits(m, state.architecture, tokenAt(tokens, position));
    const count = graph.leaf("state", `${prefix}count`, [1], { dtype: "u32" });
    if (repetitionPenalty !== 1) {
      logits = penalizeRepeats(logits, tokens, { value: count }, { penalty: repetitionPenalty });
    }
    const next = temperature === 0
      ? argmax(logits)
      : sample(logits, scalarsLeaf(graph), { temperature, topK, topP, position: { value: position } });
    putToken(tokens, { next, length, position });
    advance(position);
    advance(count);
    const scalars: { scalars?: Value } = temperature === 0 ? {} : { scalars: scalarsLeaf(graph) };
    return { graph, constants, inputs: { tokens: length, ...scalars }, results: {} };
  });
  const text = new Uint32Array(S * Tmax);
  prompts.forEach((ids, s) => text.set(ids, s * Tmax));
  await put(state.store, `${prefix}tokens`, text);
  await put(state.store, `${prefix}position`, new Uint32Array(S));
  await put(state.store, `${prefix}count`, new Uint32Array([1]));
  write(made.executable, made.inputs.tokens!, Uint32Array.from(prompts, (p) => p.length));
  if (made.inputs.scalars) write(made.executable, made.inputs.scalars, encodeScalars({ seed }));
  return made;
}

interface Advance {
  /** Positions known before. */
  readonly from: number;
  /** Positions known afterwards. */
  readonly until: number;
  readonly place: Place;
}

async function advanceTo(
  state: ModelState,
  { executable }: Program,
  { from, until, place: { S, Tmax, prefix } }: Advance,
): Promise<Uint32Array[]> {
  for (let known = from; known < until; known++) run(executable);
  const buffer = state.store.buffers.get(`${prefix}tokens`)!;
  const [words] = await readBack(state.device, "generated tokens", [{ buffer, offset: 0, length: S * Tmax }]);
  return Array.from({ length: S }, (_, s) => words!.subarray(s * Tmax, (s + 1) * Tmax));
}
