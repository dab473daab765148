// Decoding: prompts are read in chunks that fill key/value caches, then every run writes one token of every sequence.
//
// A sequence starts at its own position, the last of its prompt; rows of a chunk that lie behind a shorter prompt leave
// numbers in its caches that decoding overwrites before it reads them. Many runs are made before a look.
import { encodeScalars } from "../core/scalars.ts";
import { UsageError } from "../core/errors.ts";
import { run, write } from "../gpu/executable.ts";
import { readBack } from "../gpu/buffer.ts";
import { clear, put, release } from "../gpu/store.ts";
import { Graph, type Value } from "../graph/graph.ts";
import { decodeSequence } from "../nn/decode_sequence.ts";
import { prefillSequence } from "../nn/prefill_sequence.ts";
import { causalLmLogits } from "../objectives/causal_lm.ts";
import { advance } from "../ops/decode.ts";
import { argmax, penalizeRepeats, sample } from "../ops/sample.ts";
import { putToken } from "../ops/tokens.ts";
import { scalarsLeaf } from "../optim/norm.ts";
import type { GenerateOptions, SamplingOptions } from "./generate.ts";
import type { Model } from "./model.ts";
import { modelScope, program } from "./programs.ts";
import { activeAdapter, methodInUse, type ModelState, type Program } from "./state.ts";

/** Runs before the first look, and at most before one. */
const FIRST_LOOK = 4, MOST_RUNS = 64;

/** Milliseconds between looks: seldom enough that a look's 10 ms do not matter, often enough to be read as it is made. */
const LOOK_MS = { least: 120, most: 300 };

/** Caches are made for a multiple of this many positions, so that prompts of similar length share a program. */
const LENGTH_MULTIPLE = 64;

/** Rows that a chunk of all prompts has at most, and positions that it has at least and at most. */
const CHUNK_ROWS = 256, CHUNK = { least: 16, most: 64 };

/** The next token of every sequence, run by run; undefined where a sequence has ended. */
export async function* decode(
  model: Model,
  given: readonly (readonly number[])[],
  { maxNewTokens = 128, ignoreEos = false, ...sampling }: GenerateOptions,
): AsyncGenerator<(number | undefined)[], void, void> {
  const { state } = model;
  const { positions } = state.architecture;
  const S = given.length;
  const prompts = withLead(state, given);
  const longest = Math.max(...prompts.map((p) => p.length));
  checkPrompts(state, given, longest);
  const counts = prompts.map((p) => Math.min(maxNewTokens, positions - p.length));
  const total = Math.min(longest + maxNewTokens, positions);
  const Tmax = Math.min(Math.ceil(total / LENGTH_MULTIPLE) * LENGTH_MULTIPLE, positions);
  const most = Math.max(...counts);
  if (most === 0) return;
  const place = takePlace(state, S, Tmax);
  try {
    const made = await model.queue(async () => {
      const made = await prepare(state, prompts, place, sampling);
      await readPrompts(state, prompts, place);
      return made;
    });
    const eos = new Set(ignoreEos ? [] : state.tokenizerOrNone?.eosIds ?? []);
    const ended = prompts.map(() => false);
    let runs = FIRST_LOOK;
    for (let done = 0; done < most && ended.includes(false);) {
      const until = Math.min(most, done + runs);
      const start = performance.now();
      const texts = await model.queue(() => advanceBy(state, made, { runs: until - done, place }));
      const ms = performance.now() - start;
      if (ms < LOOK_MS.least) runs = Math.min(MOST_RUNS, 2 * runs);
      else if (ms > LOOK_MS.most) runs = Math.max(1, Math.floor(runs / 2));
      for (; done < until; done++) {
        const next = texts.map((text, s) => {
          if (ended[s] || done >= counts[s]!) return undefined;
          const id = text[prompts[s]!.length + done]!;
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

/** Prompts behind the positions of the adapter; its vectors replace the tokens there, which are none of the vocabulary. */
function withLead(state: ModelState, prompts: readonly (readonly number[])[]): readonly (readonly number[])[] {
  const P = methodInUse(state)?.virtualTokens ?? 0;
  return P === 0 ? prompts : prompts.map((ids) => [...new Array<number>(P).fill(state.architecture.V), ...ids]);
}

/** The states of one generation: S sequences of up to Tmax positions, under names that begin with `prefix`. */
interface Place {
  readonly S: number;
  readonly Tmax: number;
  readonly prefix: string;
}

/** Prefixes in use: two generations that run by turns need caches of their own. */
const places = new WeakMap<ModelState, Set<string>>();

/** A place that nobody uses. What was kept for generations of other sizes is freed; those of this size find theirs. */
function takePlace(state: ModelState, S: number, Tmax: number): Place {
  const taken = places.get(state) ?? new Set();
  places.set(state, taken);
  let n = 0;
  const prefix = () => `generate ${S}x${Tmax} ${n > 0 ? `#${n} ` : ""}`;
  while (taken.has(prefix())) n++;
  taken.add(prefix());
  const idle = (name: string) => name.startsWith("generate ") && !taken.values().some((used) => name.startsWith(used));
  for (const [key, { executable }] of state.programs) {
    if (!idle(key)) continue;
    executable.destroy();
    state.programs.delete(key);
  }
  release(state.store, [...state.store.buffers.keys()].filter(idle));
  return { S, Tmax, prefix: prefix() };
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

/** What a program depends on beside its sizes. */
function variant(state: ModelState): string {
  return `${activeAdapter(state)?.name ?? ""} ${state.full ? "full" : ""}`;
}

/** The compiled program that writes a token a run, with the prompts in place. */
async function prepare(
  state: ModelState,
  prompts: readonly (readonly number[])[],
  { S, Tmax, prefix }: Place,
  sampling: SamplingOptions,
): Promise<Program> {
  const { temperature = 0, topK = 0, topP = 1, repetitionPenalty = 1, seed = 42 } = sampling;
  const key = `${prefix}${JSON.stringify([temperature, topK, topP, repetitionPenalty])} ${variant(state)}`;
  const made = await program(state, key, () => {
    const graph = new Graph(state.device.target);
    const words = (name: string) => graph.leaf("state", `${prefix}${name}`, [S], { dtype: "u32" });
    const text = {
      tokens: graph.leaf("state", `${prefix}tokens`, [S, Tmax], { dtype: "u32" }),
      current: words("current"),
      position: words("position"),
    };
    const sequence = decodeSequence({ graph, S, Tmax, position: text.position, prefix });
    const { m, constants } = modelScope(state, { graph, sequence, trained: "nothing" });
    let logits = causalLmLogits(m, state.architecture, text.current);
    const count = words("count");
    if (repetitionPenalty !== 1) {
      logits = penalizeRepeats(logits, text.tokens, { value: count, each: true }, { penalty: repetitionPenalty });
      advance(count);
    }
    const position = { value: text.position, each: true };
    const next = temperature === 0
      ? argmax(logits)
      : sample(logits, scalarsLeaf(graph), { temperature, topK, topP, position });
    putToken(text, next);
    const scalars: { scalars?: Value } = temperature === 0 ? {} : { scalars: scalarsLeaf(graph) };
    return { graph, constants, inputs: scalars, results: {} };
  });
  const text = new Uint32Array(S * Tmax);
  prompts.forEach((ids, s) => text.set(ids, s * Tmax));
  await put(state.store, `${prefix}tokens`, text);
  await put(state.store, `${prefix}current`, Uint32Array.from(prompts, (p) => p.at(-1)!));
  await put(state.store, `${prefix}position`, Uint32Array.from(prompts, (p) => p.length - 1));
  await put(state.store, `${prefix}count`, Uint32Array.from(prompts, (p) => p.length));
  if (made.inputs.scalars) write(made.executable, made.inputs.scalars, encodeScalars({ seed }));
  return made;
}

/** Fill the caches with all but the last token of every prompt, chunk by chunk. */
async function readPrompts(
  state: ModelState,
  prompts: readonly (readonly number[])[],
  { S, Tmax, prefix }: Place,
): Promise<void> {
  const length = Math.max(...prompts.map((p) => p.length)) - 1;
  const { least, most } = CHUNK;
  const room = Math.max(least, Math.min(most, Math.floor(CHUNK_ROWS / S / least) * least));
  const C = length <= least ? least : room;
  // Values that no row sees yet count zero times: they must be finite, whatever an earlier generation left.
  clear(state.store, [...state.store.buffers.keys()].filter((name) => name.startsWith(`${prefix}values `)));
  for (let first = 0; first < length; first += C) {
    const seen = Math.min(Tmax, 2 ** Math.ceil(Math.log2(first + C)));
    const key = `${prefix}prefill ${C} of ${seen} ${variant(state)}`;
    const { executable, inputs } = await program(state, key, () => {
      const graph = new Graph(state.device.target);
      const rows = (name: string) => graph.leaf("input", name, [S * C], { dtype: "u32" });
      const positions = rows("positions"), tokens = rows("tokens");
      const sequence = prefillSequence({ graph, S, C, Tmax, seen, positions, prefix });
      const { m, constants } = modelScope(state, { graph, sequence, trained: "nothing" });
      state.architecture.hidden(m, tokens);
      return { graph, constants, inputs: { tokens, positions }, results: {} };
    });
    const place = (n: number) => first + n % C;
    write(executable, inputs.positions!, Uint32Array.from({ length: S * C }, (_, n) => Math.min(place(n), Tmax)));
    write(
      executable,
      inputs.tokens!,
      Uint32Array.from({ length: S * C }, (_, n) => prompts[Math.floor(n / C)]![place(n)] ?? 0),
    );
    run(executable);
  }
}

interface Advance {
  readonly runs: number;
  readonly place: Place;
}

/** The texts after so many runs. */
async function advanceBy(
  state: ModelState,
  { executable }: Program,
  { runs, place: { S, Tmax, prefix } }: Advance,
): Promise<Uint32Array[]> {
  for (let i = 0; i < runs; i++) run(executable);
  const buffer = state.store.buffers.get(`${prefix}tokens`)!;
  const [words] = await readBack(state.device, "generated tokens", [{ buffer, offset: 0, length: S * Tmax }]);
  return Array.from({ length: S }, (_, s) => words!.subarray(s * Tmax, (s + 1) * Tmax));
}
