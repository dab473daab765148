// The next token of each sequence: the most likely one, or one that is drawn. Nothing here is differentiated.
import {
  argmax as argmaxShader,
  argmaxTrips,
  PENALIZE_LANES,
  penalizeRepeats as penalizeShader,
  sample as sampleShader,
  sampleTrips,
} from "../../shaders/sample.ts";
import type { LaneGroup } from "../../shaders/lib/reduce.ts";
import { dims } from "../core/dims.ts";
import { ShapeError } from "../core/errors.ts";
import { ScalarWord } from "../core/scalars.ts";
import { defineOp, floatBits, type V1, type V3, type Value, type Values } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import { elementwiseKernels } from "./elementwise.ts";
import { parts, rowRange } from "./parts.ts";
import { requireU32 } from "./require_u32.ts";
import { laneGroup } from "./rows.ts";
import type { Word } from "./word.ts";

/** Tokens are reduced as f32, which holds whole numbers up to this. */
export const MAX_CLASSES = 2 ** 24;

/** One workgroup reads a whole row, so it is as large as the row and the device let it be. */
export function sampleGroup(target: Target, V: number): LaneGroup {
  const group = laneGroup(target);
  if (group.shuffle) return group;
  const most = target.kind === "gpu" ? Math.min(1024, target.invocations) : 256;
  return { ...group, lanes: V >= 64 * most ? most : V >= 8192 ? 256 : 64 };
}

function sizesOf(op: string, logits: Value): { readonly S: number; readonly V: number } {
  const { S, V } = dims(op, { logits: "S V" }, { logits });
  if (V > MAX_CLASSES) {
    throw new RangeError(`Cannot apply ${op} to ${V} classes: at most ${MAX_CLASSES} are told apart`);
  }
  return { S, V };
}

const argmaxOp = defineOp<null, V1, V1>({
  name: "argmax",
  infer: ([logits]) => [{ shape: [sizesOf("argmax", logits).S], dtype: "u32" }],
  kernels({ inputs: [logits], outputs: [tokens] }, target) {
    const { S, V } = sizesOf("argmax", logits);
    const group = sampleGroup(target, V);
    return parts(S, V, target).map((part) => ({
      name: "argmax",
      wgsl: argmaxShader(V, group),
      read: [rowRange(logits, S, part)],
      write: [tokens],
      uniform: [part.hi - part.lo, part.lo],
      workgroups: part.hi - part.lo,
      trips: argmaxTrips(V, group),
    }));
  },
  stops: true,
});

/** Index of the largest of each row of logits[S, V] → u32 [S]; the lowest where several are largest. */
export function argmax(logits: Value): Value {
  return logits.graph.add(argmaxOp, [logits], null)[0];
}

/** How {@linkcode sample} draws: temperature, then top-k, then top-p, as Hugging Face's `generate` orders them. */
export interface SampleOptions {
  /** The logits are divided by it; above 0 (for 0 use {@linkcode argmax}). 1 by default. */
  readonly temperature?: number;
  /** Only the k largest logits stay, and those that equal the last of them; 0 (the default) keeps all. */
  readonly topK?: number;
  /**
   * Only the likeliest tokens stay whose probabilities together reach topP, and those that are as likely as the last of
   * them; in (0, 1], 1 by default.
   */
  readonly topP?: number;
  /** Word that tells this stream of random numbers from others of the run; 0 by default. */
  readonly stream?: number;
  /** The u32 word that counts positions, where it is not the step of the scalars: one draw for each number. */
  readonly position?: EachWord;
  /** Numbers u32 [S] that stand for the rows in their draws; their places 0, 1, … by default. */
  readonly numbers?: Value;
}

/** A word for all rows, or the word of the first of them, which the others' follow. */
export interface EachWord extends Word {
  /** Row s reads the s-th word from this one on. */
  readonly each?: boolean;
}

interface SampleAttrs {
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly stream: number;
  readonly word: number;
  readonly each: boolean;
}

const sampleOp = defineOp<SampleAttrs, Values, V1>({
  name: "sample",
  infer: ([logits]) => [{ shape: [sizesOf("sample", logits!).S], dtype: "u32" }],
  kernels({ inputs: [logits, ...words], outputs: [tokens], attrs }, target) {
    const { S, V } = sizesOf("sample", logits!);
    const { temperature, topK, topP, stream, word, each } = attrs;
    const filters = { topK: topK > 0 && topK < V, topP: topP < 1 };
    const options = { V, group: sampleGroup(target, V), ...filters, each, numbered: words.length > 2 };
    return parts(S, V, target).map((part) => ({
      name: "sample",
      wgsl: sampleShader(options),
      read: [rowRange(logits!, S, part), ...words],
      write: [tokens],
      uniform: [
        ...[part.hi - part.lo, part.lo, ScalarWord.SEED, word],
        ...[stream, floatBits(topK), floatBits(topP), floatBits(1 / temperature)],
      ],
      workgroups: part.hi - part.lo,
      trips: sampleTrips(options),
    }));
  },
  stops: true,
});

/**
 * One token drawn from each row of logits[S, V] → u32 [S].
 *
 * The draw of row s is a function of the seed in `scalars`, the position, `stream` and s (or its number), and of nothing
 * else: `uniform(randomKey(seed, position, stream), s)` of src/core/random.ts.
 *
 * @param scalars The scalars of a run, u32.
 * @throws {RangeError} listing every option that is out of range.
 * @throws {TypeError} if the scalars or the position are not u32.
 *
 * @example Usage
 * ```ts
 * import { Graph, sample } from "@graft/graft/ops";
 *
 * const graph = new Graph();
 * const logits = graph.leaf("input", "logits", [2, 32_000]);
 * const scalars = graph.leaf("input", "scalars", [16], { dtype: "u32" });
 * console.log(sample(logits, scalars, { temperature: 0.8, topK: 50, topP: 0.9 }).shape); // [ 2 ]
 * ```
 */
export function sample(
  logits: Value,
  scalars: Value,
  { temperature = 1, topK = 0, topP = 1, stream = 0, position = { value: scalars, word: ScalarWord.STEP }, numbers }:
    SampleOptions = {},
): Value {
  const problems: string[] = [];
  if (!(temperature > 0 && Number.isFinite(Math.fround(1 / temperature)))) {
    problems.push(`temperature must be above 0: received ${temperature}`);
  }
  if (!Number.isInteger(topK) || topK < 0) problems.push(`topK must be a whole number: received ${topK}`);
  if (!(topP > 0 && topP <= 1)) problems.push(`topP must be in (0, 1]: received ${topP}`);
  if (!Number.isInteger(stream) || stream < 0 || stream >= 2 ** 32) {
    problems.push(`stream must be a whole number below 2^32: received ${stream}`);
  }
  if (problems.length > 0) throw new RangeError(`Cannot sample: ${problems.join("; ")}`);
  requireU32("sample", { scalars, position: position.value, ...numbers ? { numbers } : {} });
  if (numbers && String(numbers.shape) !== String([logits.shape[0]])) {
    throw new ShapeError("sample", "numbers", "S", numbers.shape, { S: logits.shape[0]! });
  }
  const attrs = { temperature, topK, topP, stream, word: position.word ?? 0, each: position.each ?? false };
  return logits.graph.add(sampleOp, [logits, scalars, position.value, ...numbers ? [numbers] : []], attrs)[0];
}

interface PenalizeAttrs {
  readonly penalty: number;
  readonly word: number;
  readonly each: boolean;
}

const penalizeOp = defineOp<PenalizeAttrs, V3, V1>({
  name: "penalize_repeats",
  infer([logits, tokens]) {
    dims("penalize_repeats", { logits: "S V", tokens: "S T" }, { logits, tokens });
    return [logits];
  },
  kernels({ inputs: [logits, tokens, length], outputs: [y], attrs: { penalty, word, each } }, target) {
    const { S, V, T } = dims("penalize_repeats", { logits: "S V", tokens: "S T" }, { logits, tokens });
    return [
      ...elementwiseKernels({ name: "copy", reads: ["a"], expression: "a", inputs: [logits], output: y }, target),
      {
        name: "penalize_repeats",
        wgsl: penalizeShader({ each }),
        read: [logits, tokens, length],
        write: [y],
        uniform: [S, T, V, word, floatBits(penalty)],
        workgroups: Math.ceil(S * T / PENALIZE_LANES),
        trips: 0,
      },
    ];
  },
  stops: true,
});

/**
 * Make tokens less likely that a sequence has already (arXiv:1909.05858) → logits[S, V]: positive logits are divided by
 * `penalty`, negative ones multiplied, once for each token.
 *
 * @param tokens u32 [S, T]; those from `length` on, and ids above the vocabulary, do not count.
 * @param length The u32 word that says how many tokens the sequences have, or the words of `each`.
 * @throws {RangeError} if `penalty` is not above 0.
 * @throws {TypeError} if the tokens or the length are not u32.
 */
export function penalizeRepeats(
  logits: Value,
  tokens: Value,
  length: EachWord,
  { penalty }: { readonly penalty: number },
): Value {
  if (!(penalty > 0)) throw new RangeError(`Cannot penalize repeats by ${penalty}: the penalty must be above 0`);
  requireU32("penalize_repeats", { tokens, length: length.value });
  const attrs = { penalty, word: length.word ?? 0, each: length.each ?? false };
  return logits.graph.add(penalizeOp, [logits, tokens, length.value], attrs)[0];
}
