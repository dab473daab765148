// The dispatches of attention: batched products around a softmax of rows that stays in place.
//
//   forward    A = scale·Q·Kᵀ (bent, + bias)    P = softmax(A)    O = P·V
//   gradient   dP = dO·Vᵀ    dA = P·(dP − Σ P·dP)    dQ = scale·dA·K    dK = scale·dAᵀ·Q    dV = Pᵀ·dO
//
// Scores are [B·H, T, C], with C = S rounded up to vectors of four. Heads are columns of a value [N, heads·E], where
// the products read and write them in place: q, k and v may be three values or columns of one.
import {
  ATTENTION_BIAS_LANES,
  attentionBiasGrad,
  type AttentionLanes,
  attentionRowsPerGroup,
  attentionRowTrips,
  attentionSoftmax,
  attentionSoftmaxGrad,
} from "../../shaders/attention.ts";
import { size } from "../core/dims.ts";
import type { Kernel, Value, Values } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import { type AttentionSizes, heads, shared } from "./attention_sizes.ts";
import { boundWords, parts, rowRange } from "./parts.ts";
import { CAUSAL_ROWS, type MatrixRef, type ProductCall, productKernels } from "./product.ts";

/** Words from one row of scores to the next. */
export function scoresPitch(S: number): number {
  return 4 * Math.ceil(S / 4);
}

function scores(value: Value, { T, S, H }: AttentionSizes): MatrixRef & { readonly inner: number } {
  const stride = scoresPitch(S);
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
  /** Bound by rows. */
  readonly rows?: Values;
  readonly outputs: Values;
}

function rowKernels(call: RowCall, { B, T, S, H }: AttentionSizes, target: Target): Kernel[] {
  const { name, wgsl, whole = [], rows = [], outputs } = call;
  const N = B * H * T, lanes = rowLanes(target);
  return parts(N, scoresPitch(S), target).map((part) => ({
    name,
    wgsl,
    read: [...whole, ...rows.map((v) => rowRange(v, N, part))],
    write: outputs.map((v) => rowRange(v, N, part)),
    uniform: [part.hi - part.lo, part.lo, T, S, H],
    workgroups: Math.ceil((part.hi - part.lo) / attentionRowsPerGroup(lanes)),
    trips: attentionRowTrips(S, lanes),
  }));
}

function rowLanes({ kind }: Target): AttentionLanes {
  return kind === "software" ? { lanes: 32, shared: false } : { lanes: 64, shared: true };
}

function rowOptions({ causal, window, softcap }: AttentionSizes, target: Target) {
  return {
    ...rowLanes(target),
    causal,
    tile: CAUSAL_ROWS,
    ...window === undefined ? {} : { window },
    ...softcap === undefined ? {} : { softcap },
  };
}

/** What {@linkcode forwardKernels} reads and writes. */
export interface ForwardCall {
  readonly q: MatrixRef;
  readonly k: MatrixRef;
  readonly v: MatrixRef;
  /** Real keys, u32 [B, S]. */
  readonly mask: Value | undefined;
  /** Added to the scores, [H, T, S]. */
  readonly bias: Value | undefined;
  /** The probabilities [B·H, T, C]. */
  readonly P: Value;
  /** With softcap: log Σ exp(A), [B·H, T]. */
  readonly L: Value | undefined;
  readonly o: Value;
}

/** P (and L) and O. */
export function forwardKernels(call: ForwardCall, sizes: AttentionSizes, target: Target): Kernel[] {
  const { mask, bias, P, L } = call;
  const { T, S, E, scale: alpha } = sizes;
  const k = shared(call.k, sizes), v = shared(call.v, sizes), A = scores(P, sizes), o = heads(call.o, sizes);
  const by = S % 4 === 0 ? "vectors" : "words";
  const wgsl = attentionSoftmax({ ...rowOptions(sizes, target), mask: mask ? by : "none", bias: bias ? by : "none" });
  const whole = [...mask ? [mask] : [], ...bias ? [bias] : []], outputs = L ? [P, L] : [P];
  return [
    ...perHead(
      { name: "attention scores", M: T, N: S, K: E, a: call.q, b: k, tb: true, c: A, alpha, causal: "skip" },
      sizes,
      target,
    ),
    ...rowKernels({ name: "attention softmax", wgsl, whole, outputs }, sizes, target),
    ...perHead({ name: "attention output", M: T, N: E, K: S, a: A, b: v, c: o, causal: "limit" }, sizes, target),
  ];
}

/** What {@linkcode scoresGradKernels} reads and writes. */
export interface ScoresGradCall {
  readonly v: MatrixRef;
  readonly dO: Value;
  readonly P: Value;
  readonly L: Value | undefined;
  readonly dA: Value;
}

/** dA, by way of dP in the same place. */
export function scoresGradKernels(call: ScoresGradCall, sizes: AttentionSizes, target: Target): Kernel[] {
  const { v, dO, P, L, dA } = call;
  const { T, S, E } = sizes;
  const operands = { a: heads(dO, sizes), b: shared(v, sizes), tb: true, c: scores(dA, sizes) };
  const wgsl = attentionSoftmaxGrad(rowOptions(sizes, target));
  const rows = L ? [P, L] : [P];
  return [
    ...perHead({ name: "attention scores gradient", M: T, N: S, K: E, ...operands, causal: "skip" }, sizes, target),
    ...rowKernels({ name: "attention softmax gradient", wgsl, rows, outputs: [dA] }, sizes, target),
  ];
}

/** dbias[H, T, S] = Σ over the sequences of dA, which is cut by sequences. */
export function biasGradKernels(dA: Value, dbias: Value, sizes: AttentionSizes, target: Target): Kernel[] {
  const { B, T, S, H, causal } = sizes;
  const words = H * T * scoresPitch(S);
  const step = 4 * size(dA.shape) <= target.maxBinding ? B : Math.floor(target.maxBinding / (4 * words));
  if (step < 1) {
    throw new RangeError(
      `Cannot cut the gradient of a bias: the scores of one sequence exceed one binding of ${target.maxBinding} bytes`,
    );
  }
  const wgsl = attentionBiasGrad({ S, causal });
  const invocations = H * T * (S % 4 === 0 ? S / 4 : S);
  return Array.from({ length: Math.ceil(B / step) }, (_, i) => {
    const lo = i * step, hi = Math.min(B, lo + step);
    const { binding, offset } = boundWords(dA, [lo * words, hi * words], target);
    return {
      name: "attention bias gradient",
      wgsl,
      read: [binding],
      write: [dbias],
      uniform: [H * T, T, hi - lo, offset, i],
      workgroups: Math.ceil(invocations / ATTENTION_BIAS_LANES),
      trips: hi - lo,
    };
  });
}

/** What the gradients of q, k and v read and write. */
export interface HeadGradCall {
  /** dA, or P for the gradient of v. */
  readonly scores: Value;
  /** What the scores are multiplied with: k, q or dO. */
  readonly by: MatrixRef;
  readonly output: MatrixRef;
}

/** dQ. */
export function queryGradKernels(call: HeadGradCall, sizes: AttentionSizes, target: Target): Kernel[] {
  const { T, S, E, scale: alpha } = sizes;
  const operands = { a: scores(call.scores, sizes), b: shared(call.by, sizes), c: call.output, alpha };
  return perHead({ name: "attention query gradient", M: T, N: E, K: S, ...operands, causal: "limit" }, sizes, target);
}

/** dK (or dV with `alpha` one and no scale): summed over the query heads that share a key head. */
export function sharedGradKernels(
  { name, scores: matrix, by, output, alpha = 1 }: HeadGradCall & { readonly name: string; readonly alpha?: number },
  sizes: AttentionSizes,
  target: Target,
): Kernel[] {
  const { B, T, S, H, K, E, causal } = sizes;
  const repeat = H / K, { inner, ...first } = scores(matrix, sizes);
  return productKernels({
    name,
    M: S,
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
