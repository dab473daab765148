// Decoding: prompts are read in chunks that fill key/value caches, then every run writes one token of every sequence.
//
// A sequence starts at its own position, the last of its prompt; rows of a chunk that lie behind a shorter prompt leave
// numbers in its caches that decoding overwrites before it reads them. Many runs are made before a look.
import { encodeScalars } from "../core/scalars.ts";
import { run, write } from "../gpu/executable.ts";
import { readBack } from "../gpu/buffer.ts";
import { put } from "../gpu/store.ts";
import { Graph, type Value } from "../graph/graph.ts";
import { advance } from "../ops/decode.ts";
import { forbidTokens } from "../ops/forbid.ts";
import { argmax, penalizeRepeats, sample } from "../ops/sample.ts";
import { putToken } from "../ops/tokens.ts";
import { scalarsLeaf } from "../optim/norm.ts";
import { type Decoder, type Texts, withLead } from "./decoder.ts";
import { checkPrompts, endTokens, type GenerateOptions } from "./generate_options.ts";
import { lookPace } from "./looks.ts";
import type { Model } from "./model.ts";
import { leavePlace, type Place, takePlace } from "./places.ts";
import { program } from "./programs.ts";
import type { ModelState, Program } from "./state.ts";

/** What is written with: a model, and how it decodes. */
export interface Writer {
  readonly model: Model;
  readonly decoder: Decoder;
}

/** The next token of every sequence, run by run; undefined where a sequence has ended. */
export async function* decode(
  { model, decoder }: Writer,
  given: Texts,
  options: GenerateOptions,
): AsyncGenerator<(number | undefined)[], void, void> {
  const { state } = model;
  const { maxNewTokens = 128 } = options;
  const { positions } = decoder;
  checkPrompts(decoder, given);
  const prompts = withLead(decoder, given);
  const longest = Math.max(...prompts.map((p) => p.length));
  const counts = prompts.map((p) => Math.min(maxNewTokens, positions - p.length));
  const most = Math.max(...counts);
  if (most === 0) return;
  const length = Math.min(longest + maxNewTokens, positions);
  const place = takePlace(state, { texts: prompts.length, length, positions });
  try {
    const made = await model.queue(async () => {
      const made = await prepare(state, decoder, { prompts, place, options });
      await decoder.fill(prompts, place);
      return made;
    });
    const ends = endTokens(state, options);
    const ended = prompts.map(() => false);
    const pace = lookPace();
    for (let done = 0; done < most && ended.includes(false);) {
      const runs = Math.min(pace.runs(), most - done);
      const texts = await pace.timed(() => model.queue(() => advanceBy(state, made, { runs, place })));
      for (const until = done + runs; done < until; done++) {
        const next = texts.map((text, s) => {
          if (ended[s] || done >= counts[s]!) return undefined;
          const id = text[prompts[s]!.length + done]!;
          if (!ends.has(id)) return id;
          ended[s] = true;
          return undefined;
        });
        if (next.some((id) => id !== undefined)) yield next;
      }
    }
  } finally {
    leavePlace(state, place);
  }
}

interface Preparation {
  readonly prompts: Texts;
  readonly place: Place;
  readonly options: GenerateOptions;
}

/** The compiled program that writes a token a run, with the prompts in place. */
async function prepare(
  state: ModelState,
  decoder: Decoder,
  { prompts, place, options }: Preparation,
): Promise<Program> {
  const { S, Tmax, prefix } = place;
  const { temperature = 0, topK = 0, topP = 1, repetitionPenalty = 1, seed = 42, firstSequence = 0 } = options;
  const { minNewTokens = 0 } = options;
  const ends = minNewTokens > 0 ? [...endTokens(state, options)] : [];
  const choice = [temperature, topK, topP, repetitionPenalty, ends];
  const made = await program(state, `${prefix}${JSON.stringify(choice)} ${decoder.variant}`, () => {
    const graph = new Graph(state.device.target);
    const words = (name: string) => graph.leaf("state", `${prefix}${name}`, [S], { dtype: "u32" });
    const text = {
      tokens: graph.leaf("state", `${prefix}tokens`, [S, Tmax], { dtype: "u32" }),
      current: words("current"),
      position: words("position"),
    };
    const found = decoder.logits({ graph, place, current: text.current, position: text.position });
    let { logits } = found;
    const count = words("count");
    if (repetitionPenalty !== 1) {
      logits = penalizeRepeats(logits, text.tokens, { value: count, each: true }, { penalty: repetitionPenalty });
      advance(count);
    }
    if (ends.length > 0) logits = forbidTokens(logits, { position: text.position, until: words("until") }, ends);
    const position = { value: text.position, each: true };
    const next = temperature === 0
      ? argmax(logits)
      : sample(logits, scalarsLeaf(graph), { temperature, topK, topP, position, numbers: words("numbers") });
    putToken(text, next);
    const scalars: Record<string, Value> = temperature === 0 ? {} : { scalars: scalarsLeaf(graph) };
    return { graph, constants: found.constants, inputs: scalars, results: {} };
  });
  const text = new Uint32Array(S * Tmax);
  prompts.forEach((ids, s) => text.set(ids, s * Tmax));
  await put(state.store, `${prefix}tokens`, text);
  await put(state.store, `${prefix}current`, Uint32Array.from(prompts, (p) => p.at(-1)!));
  await put(state.store, `${prefix}position`, Uint32Array.from(prompts, (p) => p.length - 1));
  await put(state.store, `${prefix}count`, Uint32Array.from(prompts, (p) => p.length));
  await put(state.store, `${prefix}until`, Uint32Array.from(prompts, (p) => p.length + minNewTokens));
  await put(state.store, `${prefix}numbers`, Uint32Array.from(prompts, (_, s) => firstSequence + s));
  if (made.inputs.scalars) write(made.executable, made.inputs.scalars, encodeScalars({ seed }));
  return made;
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
