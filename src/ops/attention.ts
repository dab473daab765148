// Attention of grouped query heads; equations in attention_kernels.ts. The probabilities are kept for the gradient.
import { ShapeError } from "../core/errors.ts";
import { defineOp, type V1, type V2, type V3, type Value, type Values } from "../graph/graph.ts";
import {
  type AttentionSizes,
  forwardKernels,
  heads,
  queryGradKernels,
  scoresGradKernels,
  scoresPitch,
  sharedGradKernels,
} from "./attention_kernels.ts";

/** Sizes of {@linkcode attention}, and which keys a row sees. */
export interface AttentionOptions extends Omit<AttentionSizes, "scale"> {
  /** Factor on the scores: 1 / sqrt(E) by default. */
  readonly scale?: number;
}

/** What {@linkcode attention} reads; N = B·T rows, head h at columns h·E. */
export interface AttentionInputs {
  /** Queries [N, H·E]. */
  readonly q: Value;
  /** Keys [N, K·E]. */
  readonly k: Value;
  /** Values [N, K·E]. */
  readonly v: Value;
  /** Which keys are real (1) and which padding (0), u32 [B, T]; padding may be left or right. */
  readonly mask?: Value | undefined;
}

function probabilities({ B, T, H }: AttentionSizes): { readonly shape: readonly number[]; readonly dtype: "f32" } {
  return { shape: [B * H, T, scoresPitch(T)], dtype: "f32" };
}

function sizesOf({ scale, ...rest }: AttentionOptions): AttentionSizes {
  const { H, K, E, causal, window } = rest;
  if (H % K !== 0) throw new RangeError(`Cannot group ${H} query heads over ${K} key heads: K must divide H`);
  if (window !== undefined && !(causal && Number.isInteger(window) && window > 0)) {
    throw new RangeError(`Cannot use ${window} as window: it must be a positive integer, and the attention causal`);
  }
  return { ...rest, scale: scale ?? 1 / Math.sqrt(E) };
}

function checkMask(op: string, mask: Value | undefined, { B, T }: AttentionSizes): void {
  if (mask === undefined) return;
  if (mask.dtype !== "u32") throw new TypeError(`Cannot apply ${op} as mask must be u32: received ${mask.dtype}`);
  if (String(mask.shape) !== String([B, T])) throw new ShapeError(op, "mask", "B T", mask.shape, { B, T });
}

function checkRows(op: string, name: string, value: Value, [N, columns]: readonly [number, number]): void {
  if (String(value.shape) === String([N, columns])) return;
  throw new ShapeError(op, name, "B·T columns", value.shape, { "B·T": N, columns });
}

const attentionOp = defineOp<AttentionSizes, Values, V2>({
  name: "attention",
  infer: ([q], sizes) => [q!, probabilities(sizes)],
  kernels({ inputs: [q, k, v, mask], outputs: [o, P], attrs }, target) {
    return forwardKernels({ q: heads(q!, attrs), k: heads(k!, attrs), v: heads(v!, attrs), mask, P, o }, attrs, target);
  },
  grad: [
    ({ inputs: [, k, v], outputs: [, P], attrs }, dO) => headGrad("query", [scoresGrad([v!, dO, P], attrs), k!], attrs),
    ({ inputs: [q, , v], outputs: [, P], attrs }, dO) => headGrad("key", [scoresGrad([v!, dO, P], attrs), q!], attrs),
    ({ outputs: [, P], attrs }, dO) => headGrad("value", [P, dO], attrs),
  ],
});

function scoresGrad(inputs: V3, sizes: AttentionSizes): Value {
  return inputs[0].graph.add(scoresGradOp, inputs, sizes)[0];
}

const scoresGradOp = defineOp<AttentionSizes, V3, V1>({
  name: "attentionScoresGrad",
  infer: ([, , P]) => [P],
  kernels: ({ inputs: [v, dO, P], outputs: [dS], attrs }, target) =>
    scoresGradKernels({ v: heads(v, attrs), dO, P, dS }, attrs, target),
});

type Of = "query" | "key" | "value";

function headGrad(of: Of, inputs: V2, sizes: AttentionSizes): Value {
  return inputs[0].graph.add(headGradOp, inputs, { ...sizes, of })[0];
}

const headGradOp = defineOp<AttentionSizes & { readonly of: Of }, V2, V1>({
  name: "attentionHeadGrad",
  infer: (_, { of, B, T, H, K, E }) => [{ shape: [B * T, (of === "query" ? H : K) * E], dtype: "f32" }],
  kernels({ inputs: [scores, by], outputs: [d], attrs: { of, ...sizes } }, target) {
    const call = { scores, by: heads(by, sizes), output: heads(d, sizes) };
    if (of === "query") return queryGradKernels(call, sizes, target);
    const alpha = of === "key" ? sizes.scale : 1;
    return sharedGradKernels({ name: `attention ${of} gradient`, ...call, alpha }, sizes, target);
  },
});

/**
 * o[N, H·E]: every row of q[N, H·E] sees keys k[N, K·E] of its sequence and returns the mean of v[N, K·E], weighted by
 * softmax(scale · q·k). N = B·T. A row that sees no key returns zeros and gets no gradient.
 *
 * @throws {ShapeError} if a value has another shape.
 * @throws {RangeError} if K does not divide H, or the window is not a positive integer of a causal attention.
 *
 * @example Usage
 * ```ts
 * import { attention, Graph } from "@graft/graft/ops";
 *
 * const graph = new Graph();
 * const [B, T, H, K, E] = [2, 16, 8, 4, 8];
 * const q = graph.leaf("input", "q", [B * T, H * E]);
 * const k = graph.leaf("input", "k", [B * T, K * E]);
 * const v = graph.leaf("input", "v", [B * T, K * E]);
 * console.log(attention({ q, k, v }, { B, T, H, K, E, causal: true }).shape);
 * ```
 */
export function attention({ q, k, v, mask }: AttentionInputs, options: AttentionOptions): Value {
  const sizes = sizesOf(options);
  const { B, T, H, K, E } = sizes;
  checkRows("attention", "q", q, [B * T, H * E]);
  checkRows("attention", "k", k, [B * T, K * E]);
  checkRows("attention", "v", v, [B * T, K * E]);
  checkMask("attention", mask, sizes);
  return q.graph.add(attentionOp, mask ? [q, k, v, mask] : [q, k, v], sizes)[0];
}

const columns = (qkv: Value, sizes: AttentionSizes) => {
  const { H, K, E } = sizes;
  return { q: heads(qkv, sizes), k: heads(qkv, sizes, H * E), v: heads(qkv, sizes, (H + K) * E) };
};

const packedOp = defineOp<AttentionSizes, Values, V2>({
  name: "attentionPacked",
  infer: (_, sizes) => [{ shape: [sizes.B * sizes.T, sizes.H * sizes.E], dtype: "f32" }, probabilities(sizes)],
  kernels: ({ inputs: [qkv, mask], outputs: [o, P], attrs }, target) =>
    forwardKernels({ ...columns(qkv!, attrs), mask, P, o }, attrs, target),
  grad: [
    ({ inputs: [qkv], outputs: [, P], attrs }, dO) => dO.graph.add(packedGradOp, [qkv!, dO, P], attrs)[0],
  ],
});

const packedGradOp = defineOp<AttentionSizes, V3, V2>({
  name: "attentionPackedGrad",
  infer: ([qkv, , P]) => [qkv, P],
  kernels({ inputs: [qkv, dO, P], outputs: [d, dS], attrs }, target) {
    const { q, k, v } = columns(qkv, attrs), output = columns(d, attrs);
    const of = (name: Of) => `attention ${name} gradient`;
    const value = { name: of("value"), scores: P, by: heads(dO, attrs), output: output.v };
    const key = { name: of("key"), scores: dS, by: q, output: output.k, alpha: attrs.scale };
    return [
      ...scoresGradKernels({ v, dO, P, dS }, attrs, target),
      ...queryGradKernels({ scores: dS, by: k, output: output.q }, attrs, target),
      ...sharedGradKernels(key, attrs, target),
      ...sharedGradKernels(value, attrs, target),
    ];
  },
});

/**
 * {@linkcode attention} of qkv[N, (H + 2·K)·E], whose columns are the queries, the keys and the values: how GPT-2 and
 * Phi-3 project them. The gradient is one value too.
 *
 * @throws {ShapeError} if a value has another shape.
 * @throws {RangeError} if K does not divide H, or the window is not a positive integer of a causal attention.
 */
export function attentionPacked(
  { qkv, mask }: { readonly qkv: Value; readonly mask?: Value | undefined },
  options: AttentionOptions,
): Value {
  const sizes = sizesOf(options);
  const { B, T, H, K, E } = sizes;
  checkRows("attentionPacked", "qkv", qkv, [B * T, (H + 2 * K) * E]);
  checkMask("attentionPacked", mask, sizes);
  return qkv.graph.add(packedOp, mask ? [qkv, mask] : [qkv], sizes)[0];
}
