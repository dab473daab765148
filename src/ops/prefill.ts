// Attention of many positions of prompts at once, over and into the caches that decoding goes on with.
//
//   caches ← k, v    S = scale·Q·cacheKᵀ    P = softmax(S)    O = P·cacheV
//
// The scores cover the first `seen` positions of the caches. Decoding one position a run is in decode.ts.
import { ENTER_LANES, enterCache, prefillSoftmax, prefillSoftmaxTrips } from "../../shaders/prefill.ts";
import { ShapeError } from "../core/errors.ts";
import { defineOp, type Kernel, type V2, type Value, type Values } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import { cacheParts, checkHeads } from "./decode.ts";
import { parts, rowRange } from "./parts.ts";
import { type MatrixRef, productKernels } from "./product.ts";
import { laneGroup } from "./rows.ts";

/** Sizes of {@linkcode attentionPrefill}. */
export interface AttentionPrefillSizes {
  /** Sequences. */
  readonly S: number;
  /** Rows of a sequence. */
  readonly C: number;
  /** Heads of the queries. */
  readonly H: number;
  /** Heads of the keys and values, a divisor of H. */
  readonly K: number;
  /** Columns of a head. */
  readonly E: number;
  /** Positions of the caches. */
  readonly Tmax: number;
  /** Positions of the caches that are looked at: above all of the rows' positions. */
  readonly seen: number;
  /** Factor on the scores. */
  readonly scale: number;
  /** How many positions a row sees, its own included; all without. */
  readonly window?: number;
  /** Scaled scores are bent to softcap · tanh(score / softcap), as in Gemma 2. */
  readonly softcap?: number;
}

/** What {@linkcode attentionPrefill} reads beside the rows, and the caches that it writes. */
export interface PrefillState {
  /** Keys, a state [S, Tmax, K·E]. */
  readonly cacheK: Value;
  /** Values, a state [S, Tmax, K·E]. */
  readonly cacheV: Value;
  /** Position of every row, u32 [S·C]; those of a sequence differ. From Tmax on, a row is not entered. */
  readonly positions: Value;
}

const prefillOp = defineOp<AttentionPrefillSizes, Values, V2>({
  name: "attentionPrefill",
  stops: true,
  infer: (_, { S, C, H, E, seen }) => [
    { shape: [S * C, H * E], dtype: "f32" },
    { shape: [S * H, C, pitchOf(seen)], dtype: "f32" },
  ],
  kernels({ inputs, outputs: [o, P], attrs }, target) {
    const [positions, cacheK, cacheV, ...rows] = inputs as [Value, Value, Value, Value, ...Value[]];
    const { S, C, H, K, E, Tmax, seen, scale: alpha } = attrs;
    const batch = { outer: S, inner: H }, pitch = pitchOf(seen);
    const query: MatrixRef = { value: rows[0], stride: rows[0].shape[1]!, outer: C * rows[0].shape[1]!, inner: E };
    const output: MatrixRef = { value: o, stride: H * E, outer: C * H * E, inner: E };
    const scores: MatrixRef = { value: P, stride: pitch, outer: H * C * pitch, inner: C * pitch };
    const cached = (value: Value): MatrixRef => {
      return { value, stride: K * E, outer: Tmax * K * E, inner: E, group: H / K };
    };
    const toScores = { M: C, N: seen, K: E, a: query, b: cached(cacheK), tb: true, c: scores, alpha, batch };
    const toOutput = { M: C, N: E, K: seen, a: scores, b: cached(cacheV), c: output, batch };
    return [
      ...enterKernels(positions, { cacheK, cacheV, rows }, attrs, target),
      ...productKernels({ name: "prefill scores", ...toScores }, target),
      ...softmaxKernels(positions, P, attrs, target),
      ...productKernels({ name: "prefill output", ...toOutput }, target),
    ];
  },
});

/** Words from one row of scores to the next. */
function pitchOf(seen: number): number {
  return 4 * Math.ceil(seen / 4);
}

interface EnterCall {
  readonly cacheK: Value;
  readonly cacheV: Value;
  /** q, k and v, or all in one. */
  readonly rows: Values;
}

function enterKernels(
  positions: Value,
  { cacheK, cacheV, rows }: EnterCall,
  { C, H, K, E, Tmax }: AttentionPrefillSizes,
  target: Target,
): Kernel[] {
  const D = K * E, packed = rows.length === 1;
  const wgsl = enterCache({ D, ...packed ? { packed: H * E } : {} });
  return cacheParts(cacheK, target).map(({ first, count, base, range }) => ({
    name: "enter cache",
    wgsl,
    read: [...packed ? rows : rows.slice(1), positions],
    write: [range(cacheK), range(cacheV)],
    uniform: [count * C, first * C, base, C, Tmax],
    workgroups: Math.ceil(count * C * D / ENTER_LANES),
    trips: 0,
  }));
}

function softmaxKernels(
  positions: Value,
  P: Value,
  { S, C, H, seen, window, softcap }: AttentionPrefillSizes,
  target: Target,
): Kernel[] {
  const group = laneGroup(target), pitch = pitchOf(seen), N = S * H * C;
  const wgsl = prefillSoftmax({
    group,
    ...window === undefined ? {} : { window },
    ...softcap === undefined ? {} : { softcap },
  });
  return parts(N, pitch, target).map((part) => ({
    name: "prefill softmax",
    wgsl,
    read: [positions],
    write: [rowRange(P, N, part)],
    uniform: [part.hi - part.lo, part.lo, C, H, seen, pitch],
    workgroups: part.hi - part.lo,
    trips: prefillSoftmaxTrips(pitch, group),
  }));
}

function prefill(
  op: string,
  rows: Readonly<Record<string, readonly [Value, number]>>,
  { cacheK, cacheV, positions }: PrefillState,
  sizes: AttentionPrefillSizes,
): Value {
  const { S, C, K, E, Tmax, seen } = sizes;
  checkHeads(sizes);
  if (!(Number.isInteger(seen) && seen > 0 && seen <= Tmax)) {
    throw new RangeError(`Cannot look at ${seen} positions: the caches have ${Tmax}`);
  }
  for (const [name, [value, columns]] of Object.entries(rows)) {
    if (String(value.shape) !== String([S * C, columns])) {
      throw new ShapeError(op, name, "S·C columns", value.shape, { "S·C": S * C, columns });
    }
  }
  for (const [name, cache] of Object.entries({ cacheK, cacheV })) {
    if (cache.role !== "state") {
      throw new TypeError(`Cannot apply ${op} as ${name} must be a state: received ${cache.role}`);
    }
    if (String(cache.shape) !== String([S, Tmax, K * E])) {
      throw new ShapeError(op, name, "S Tmax K·E", cache.shape, { S, Tmax, "K·E": K * E });
    }
  }
  if (positions.dtype !== "u32" || String(positions.shape) !== String([S * C])) {
    throw new ShapeError(op, "positions", "S·C", positions.shape, { "S·C": S * C });
  }
  const values = Object.values(rows).map(([value]) => value);
  return positions.graph.add(prefillOp, [positions, cacheK, cacheV, ...values], sizes)[0];
}

/**
 * Enter k[S·C, K·E] and v in the caches and return o[S·C, H·E]: every row of q[S·C, H·E] sees the positions of its
 * sequence up to its own. There is no gradient.
 *
 * @throws {ShapeError} if a value has another shape.
 * @throws {TypeError} if a cache is not a state.
 * @throws {RangeError} if K does not divide H, `seen` is above Tmax, the window is not a positive integer, or softcap is
 * not positive.
 */
export function attentionPrefill(
  { q, k, v, ...state }: PrefillState & { readonly q: Value; readonly k: Value; readonly v: Value },
  sizes: AttentionPrefillSizes,
): Value {
  const { H, K, E } = sizes;
  return prefill("attentionPrefill", { q: [q, H * E], k: [k, K * E], v: [v, K * E] }, state, sizes);
}

/**
 * {@linkcode attentionPrefill} of qkv[S·C, (H + 2·K)·E], whose columns are the queries, the keys and the values.
 *
 * @throws {ShapeError} if a value has another shape.
 * @throws {TypeError} if a cache is not a state.
 * @throws {RangeError} if K does not divide H, `seen` is above Tmax, the window is not a positive integer, or softcap is
 * not positive.
 */
export function attentionPrefillPacked(
  { qkv, ...state }: PrefillState & { readonly qkv: Value },
  sizes: AttentionPrefillSizes,
): Value {
  const { H, K, E } = sizes;
  return prefill("attentionPrefillPacked", { qkv: [qkv, (H + 2 * K) * E] }, state, sizes);
}
