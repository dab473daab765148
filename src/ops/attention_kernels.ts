// The dispatches of attention: batched products around a softmax of rows that stays in place.
//
//   forward    S = scale·Q·Kᵀ    P = softmax(S)    O = P·V
//   gradient   dP = dO·Vᵀ    dS = P·(dP − Σ P·dP)    dQ = scale·dS·K    dK = scale·dSᵀ·Q    dV = Pᵀ·dO
//
// Scores are [B·H, T, C], with C = T rounded up to vectors of four. Heads are columns of a value [N, heads·E], where
// the products read and write them in place: q, k and v may be three values or columns of one.
import {
  type AttentionLanes,
  attentionRowsPerGroup,
  attentionRowTrips,
  attentionSoftmax,
  attentionSoftmaxGrad,
} from "../../shaders/attention.ts";
import type { Kernel, Value, Values } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import { parts, rowRange } from "./parts.ts";
import { CAUSAL_ROWS, type MatrixRef, type ProductCall, productKernels } from "./product.ts";

/** Sizes of an attention, and which keys a row sees. */
export interface AttentionSizes {
  /** Sequences. */
  readonly B: number;
  /** Rows of a sequence. */
  readonly T: number;
  /** Heads of the queries. */
  readonly H: number;
  /** Heads of the keys and values, a divisor of H: query head h reads head floor(h / (H / K)). */
  readonly K: number;
  /** Columns of a head. */
  readonly E: number;
  /** Factor on the scores. */
  readonly scale: number;
  /** Whether a row sees only itself and earlier rows. */
  readonly causal: boolean;
  /** With `causal`: how many keys a row sees, its own included. */
  readonly window?: number;
}

/** The first head of value[N, heads·E] from a column on, and the way to the others. */
export function heads(value: Value, { T, E }: AttentionSizes, column = 0): MatrixRef {
  const stride = value.shape[1]!;
  return { value, offset: column, stride, outer: T * stride, inner: E };
}

/** Keys or values as query heads see them. */
export function shared(matrix: MatrixRef, { H, K }: AttentionSizes): MatrixRef {
  return { ...matrix, group: H / K };
}

/** Words from one row of scores to the next. */
export function scoresPitch(T: number): number {
  return 4 * Math.ceil(T / 4);
}

function scores(value: Value, { T, H }: AttentionSizes): MatrixRef & { readonly inner: number } {
  const stride = scoresPitch(T);
  return { value, stride, outer: H * T * stride, inner: T * stride };
}

/** One product for every sequence and query head. */
function perHead(
  call: ProductCall & { readonly causal: "skip" | "limit" },
  { B, H, causal }: AttentionSizes,
  target: Target,
): Kernel[] {
  const { causal: work, ...rest } = call;
  return productKernels({ ...rest, batch: { outer: B, inner: H }, ...causal ? { causal: work } : {} }, target);
}

interface RowCall {
  readonly name: string;
  readonly wgsl: string;
  /** Bound whole, in front of the scores. */
  readonly whole?: Values;
  readonly scores?: Values;
  readonly output: Value;
}

function rowKernels(call: RowCall, { B, T, H }: AttentionSizes, target: Target): Kernel[] {
  const { name, wgsl, whole = [], scores = [], output } = call;
  const N = B * H * T, lanes = rowLanes(target);
  return parts(N, scoresPitch(T), target).map((part) => ({
    name,
    wgsl,
    read: [...whole, ...scores.map((v) => rowRange(v, N, part))],
    write: [rowRange(output, N, part)],
    uniform: [part.hi - part.lo, part.lo, T, H],
    workgroups: Math.ceil((part.hi - part.lo) / attentionRowsPerGroup(lanes)),
    trips: attentionRowTrips(T, lanes),
  }));
}

function rowLanes({ kind }: Target): AttentionLanes {
  return kind === "software" ? { lanes: 32, shared: false } : { lanes: 64, shared: true };
}

function rowOptions({ causal, window }: AttentionSizes, target: Target) {
  return { ...rowLanes(target), causal, tile: CAUSAL_ROWS, ...window === undefined ? {} : { window } };
}

/** What {@linkcode forwardKernels} reads and writes. */
export interface ForwardCall {
  readonly q: MatrixRef;
  readonly k: MatrixRef;
  readonly v: MatrixRef;
  /** Real keys, u32 [B, T]. */
  readonly mask: Value | undefined;
  /** The probabilities [B·H, T, C]. */
  readonly P: Value;
  readonly o: Value;
}

/** P and O. */
export function forwardKernels({ q, k, v, mask, P, o }: ForwardCall, sizes: AttentionSizes, target: Target): Kernel[] {
  const { T, E, scale: alpha } = sizes;
  const b = { scores: shared(k, sizes), output: shared(v, sizes) }, S = scores(P, sizes);
  const wgsl = attentionSoftmax({
    ...rowOptions(sizes, target),
    mask: mask === undefined ? "none" : T % 4 === 0 ? "vectors" : "words",
  });
  return [
    ...perHead(
      { name: "attention scores", M: T, N: T, K: E, a: q, b: b.scores, tb: true, c: S, alpha, causal: "skip" },
      sizes,
      target,
    ),
    ...rowKernels({ name: "attention softmax", wgsl, whole: mask ? [mask] : [], output: P }, sizes, target),
    ...perHead(
      { name: "attention output", M: T, N: E, K: T, a: S, b: b.output, c: heads(o, sizes), causal: "limit" },
      sizes,
      target,
    ),
  ];
}

/** What {@linkcode scoresGradKernels} reads and writes. */
export interface ScoresGradCall {
  readonly v: MatrixRef;
  readonly dO: Value;
  readonly P: Value;
  readonly dS: Value;
}

/** dS, by way of dP in the same place. */
export function scoresGradKernels({ v, dO, P, dS }: ScoresGradCall, sizes: AttentionSizes, target: Target): Kernel[] {
  const { T, E } = sizes;
  const operands = { a: heads(dO, sizes), b: shared(v, sizes), tb: true, c: scores(dS, sizes) };
  const wgsl = attentionSoftmaxGrad(rowOptions(sizes, target));
  return [
    ...perHead({ name: "attention scores gradient", M: T, N: T, K: E, ...operands, causal: "skip" }, sizes, target),
    ...rowKernels({ name: "attention softmax gradient", wgsl, scores: [P], output: dS }, sizes, target),
  ];
}

/** What the gradients of q, k and v read and write. */
export interface HeadGradCall {
  /** dS, or P for the gradient of v. */
  readonly scores: Value;
  /** What the scores are multiplied with: k, q or dO. */
  readonly by: MatrixRef;
  readonly output: MatrixRef;
}

/** dQ. */
export function queryGradKernels(call: HeadGradCall, sizes: AttentionSizes, target: Target): Kernel[] {
  const { T, E, scale: alpha } = sizes;
  const operands = { a: scores(call.scores, sizes), b: shared(call.by, sizes), c: call.output, alpha };
  return perHead({ name: "attention query gradient", M: T, N: E, K: T, ...operands, causal: "limit" }, sizes, target);
}

/** dK (or dV with `alpha` one and no scale): summed over the query heads that share a key head. */
export function sharedGradKernels(
  { name, scores: matrix, by, output, alpha = 1 }: HeadGradCall & { readonly name: string; readonly alpha?: number },
  sizes: AttentionSizes,
  target: Target,
): Kernel[] {
  const { B, T, H, K, E, causal } = sizes;
  const repeat = H / K, { inner, ...first } = scores(matrix, sizes);
  return productKernels({
    name,
    M: T,
    N: E,
    K: T,
    a: { ...first, inner: repeat * inner, repeat: inner },
    ta: true,
    b: { ...by, inner: repeat * E, repeat: E },
    c: output,
    alpha,
    repeat,
    batch: { outer: B, inner: K },
    ...causal ? { causal: "start" } : {},
  }, target);
}
