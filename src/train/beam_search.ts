// Beam search: the texts of every prompt with the best scores, as transformers' `generate(num_beams=…)` finds them.
//
// Scores, texts and caches stay on the GPU and many steps are made before a look; a look reads which prompts are done.
import { NumericError } from "../core/errors.ts";
import { readBack } from "../gpu/buffer.ts";
import { run } from "../gpu/executable.ts";
import { put } from "../gpu/store.ts";
import { Graph } from "../graph/graph.ts";
import { BEAM_WORDS, beamStep, moveCache } from "../ops/beams.ts";
import { advance } from "../ops/decode.ts";
import { forbidTokens } from "../ops/forbid.ts";
import { penalizeRepeats } from "../ops/sample.ts";
import { logSoftmax } from "../ops/softmax.ts";
import { type Decoder, type Texts, withLead } from "./decoder.ts";
import type { Writer } from "./decoding.ts";
import { checkPrompts, endTokens, type GenerateOptions } from "./generate_options.ts";
import { lookPace } from "./looks.ts";
import { leavePlace, type Place, takePlace } from "./places.ts";
import { program } from "./programs.ts";
import type { ModelState, Program } from "./state.ts";

/** A text that beam search found. */
export interface Beam {
  /** The new tokens, without the end token. */
  readonly ids: number[];
  /** Sum of the log-probabilities of the new tokens, the end token's included, over their number to the penalty. */
  readonly score: number;
}

/** Score of what is not there, as in transformers. */
const EMPTY = -1e9;

/** `numBeams` texts for every prompt, the best first. */
export async function searchBeams(
  { model, decoder }: Writer,
  given: Texts,
  options: GenerateOptions,
): Promise<Beam[][]> {
  const { state } = model;
  const { maxNewTokens = 128, numBeams: W = 1 } = options;
  checkPrompts(decoder, given);
  const prompts = withLead(decoder, given);
  const { positions } = decoder;
  const most = Math.max(...prompts.map((p) => Math.min(maxNewTokens, positions - p.length)));
  if (most === 0) return prompts.map(() => Array.from({ length: W }, () => ({ ids: [], score: 0 })));
  const longest = Math.max(...prompts.map((p) => p.length));
  const length = Math.min(longest + maxNewTokens, positions);
  const place = takePlace(state, { texts: prompts.length, width: W, length, positions });
  const setting = { prompts, place, options, most };
  try {
    const { executable } = await model.queue(async () => {
      const made = await prepare(state, decoder, setting);
      await decoder.fill(prompts, place);
      return made;
    });
    const pace = lookPace();
    const looked = async (runs: number) => {
      for (let i = 0; i < runs; i++) run(executable);
      const words = await readState(state, place, "words", prompts.length * (BEAM_WORDS + W));
      return prompts.every((_, p) => words[p * (BEAM_WORDS + W)] !== 0);
    };
    for (let done = 0, all = false; done < most && !all;) {
      const runs = Math.min(pace.runs(), most - done);
      all = await pace.timed(() => model.queue(() => looked(runs)));
      done += runs;
    }
    return await model.queue(() => collect(state, setting));
  } finally {
    leavePlace(state, place);
  }
}

interface Setting {
  readonly prompts: Texts;
  readonly place: Place;
  readonly options: GenerateOptions;
  /** Tokens that are written at most. */
  readonly most: number;
}

/** The compiled program of a step, with the prompts in place. */
async function prepare(state: ModelState, decoder: Decoder, setting: Setting): Promise<Program> {
  const { place, options } = setting;
  const { S, Tmax, width: W, prefix } = place;
  const { repetitionPenalty = 1, lengthPenalty = 1, earlyStopping = false, minNewTokens = 0 } = options;
  const ends = [...endTokens(state, options)];
  const rules = { W, ends, early: earlyStopping === true, far: earlyStopping === "never" && lengthPenalty > 0 };
  const least = minNewTokens > 0 && ends.length > 0;
  const lengths = setting.most + 1;
  const key = `${prefix}beams ${JSON.stringify([rules, repetitionPenalty, least, lengths])} ${decoder.variant}`;
  await fillStates(state, setting);
  return await program(state, key, () => {
    const graph = new Graph(state.device.target);
    const words = (name: string, shape = [S]) => graph.leaf("state", `${prefix}${name}`, shape, { dtype: "u32" });
    const beams = {
      floats: graph.leaf("state", `${prefix}floats`, [S / W, 2 * W]),
      words: words("words", [S / W, BEAM_WORDS + W]),
      powers: graph.leaf("state", `${prefix}powers ${lengths}`, [lengths]),
      current: words("current"),
      position: words("position"),
      tokens: words("tokens", [S, Tmax]),
      ended: words("ended", [S, Tmax]),
    };
    const { current, position, tokens } = beams;
    const found = decoder.logits({ graph, place, current, position });
    let scores = logSoftmax(found.logits);
    const count = words("count");
    if (repetitionPenalty !== 1) {
      scores = penalizeRepeats(scores, tokens, { value: count, each: true }, { penalty: repetitionPenalty });
      advance(count);
    }
    if (least) scores = forbidTokens(scores, { position, until: words("until") }, ends);
    const choice = beamStep(scores, beams, rules);
    const caches = [...graph.leaves.values()].filter(({ name, role }) =>
      role === "state" && ["keys ", "values "].some((start) => name.startsWith(`${prefix}${start}`))
    );
    for (const cache of caches) moveCache(cache, choice, rules);
    return { graph, constants: found.constants, inputs: {}, results: {} };
  });
}

async function fillStates(state: ModelState, { prompts, place, options, most }: Setting): Promise<void> {
  const { S, Tmax, width: W, prefix } = place;
  const { maxNewTokens = 128, minNewTokens = 0, lengthPenalty = 1 } = options;
  const rowOf = (r: number) => prompts[Math.floor(r / W)]!;
  const rows = (value: (ids: readonly number[]) => number) =>
    Uint32Array.from({ length: S }, (_, r) => value(rowOf(r)));
  const texts = new Uint32Array(S * Tmax);
  for (let r = 0; r < S; r++) texts.set(rowOf(r), r * Tmax);
  const floats = new Float32Array(2 * S).fill(EMPTY);
  const words = new Uint32Array(prompts.length * (BEAM_WORDS + W));
  for (const [p, ids] of prompts.entries()) {
    floats[2 * W * p] = 0; // all beams are the prompt: one of them goes on
    const allowed = Math.min(maxNewTokens, Tmax - ids.length);
    words.set([allowed === 0 ? 1 : 0, 0, allowed], (BEAM_WORDS + W) * p);
  }
  const states = {
    floats,
    words,
    [`powers ${most + 1}`]: Float32Array.from({ length: most + 1 }, (_, n) => n ** lengthPenalty),
    current: rows((ids) => ids.at(-1)!),
    position: rows((ids) => ids.length - 1),
    count: rows((ids) => ids.length),
    until: rows((ids) => ids.length + minNewTokens),
    tokens: texts,
    ended: texts,
  };
  for (const [name, data] of Object.entries(states)) await put(state.store, `${prefix}${name}`, data);
}

async function readState(
  { device, store }: ModelState,
  { prefix }: Place,
  name: string,
  length: number,
): Promise<Uint32Array> {
  const buffer = store.buffers.get(`${prefix}${name}`)!;
  const [words] = await readBack(device, name, [{ buffer, offset: 0, length }]);
  return words!;
}

/** The ended texts of all prompts. */
async function collect(state: ModelState, { prompts, place, options }: Setting): Promise<Beam[][]> {
  const { S, Tmax, width: W } = place;
  const words = await readState(state, place, "words", prompts.length * (BEAM_WORDS + W));
  const floats = new Float32Array((await readState(state, place, "floats", 2 * S)).slice().buffer);
  const texts = await readState(state, place, "ended", S * Tmax);
  const ends = endTokens(state, options);
  for (const [p] of prompts.entries()) {
    const [, written, , length] = words.subarray((BEAM_WORDS + W) * p);
    if (written === 0 || length !== 0) continue;
    throw new NumericError("num/logits", `Cannot continue prompt ${p}: the logits behind it are not finite`);
  }
  return prompts.map((prompt, p) =>
    Array.from({ length: W }, (_, b) => {
      const length = words[(BEAM_WORDS + W) * p + BEAM_WORDS + b]!;
      const at = (W * p + b) * Tmax + prompt.length;
      const ids = [...texts.subarray(at, at + length)];
      if (ends.has(ids.at(-1)!)) ids.pop();
      return { ids, score: length === 0 ? 0 : floats[W * (2 * p + 1) + b]! };
    })
  );
}
