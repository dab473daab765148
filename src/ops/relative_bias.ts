// Bias of attention scores by distance (T5, arXiv:1910.10683): a list over distances spread over rows and keys.
import {
  RELATIVE_BIAS_LANES,
  relativeBias as shader,
  relativeBiasGrad as gradShader,
} from "../../shaders/relative_bias.ts";
import { dims } from "../core/dims.ts";
import { ShapeError } from "../core/errors.ts";
import { defineOp, type Kernel, type V1, type Value } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import { parts, rowRange } from "./parts.ts";

/** Sizes of {@linkcode relativeBias}. */
export interface RelativeBiasOptions {
  /** Rows of a sequence. */
  readonly T: number;
  /** Keys of a sequence. */
  readonly S: number;
}

/** How distances share entries of T5's table. */
export interface BucketRule {
  /** Rows of the table. */
  readonly buckets: number;
  /** All distances from here on share the last bucket. */
  readonly maxDistance: number;
  /** Whether keys behind a row have buckets of their own (half of all); else they share the bucket of distance 0. */
  readonly bidirectional: boolean;
}

const relativeBiasOp = defineOp<RelativeBiasOptions, V1, V1>({
  name: "relativeBias",
  infer([x], { T, S }) {
    const { L, H } = dims("relativeBias", { x: "L H" }, { x });
    if (L !== T + S - 1) throw new ShapeError("relativeBias", "x", "T+S-1 H", x.shape, { T, S });
    return [{ shape: [H, T, S], dtype: "f32" }];
  },
  kernels: ({ inputs: [x], outputs: [y], attrs: { S } }, target) =>
    kernels({ name: "relativeBias", wgsl: shader(), x, y, lanes: (rows) => rows * S, trips: 0 }, target),
  grad: [({ attrs }, dy) => dy.graph.add(gradOp, [dy], attrs)[0]],
});

const gradOp = defineOp<RelativeBiasOptions, V1, V1>({
  name: "relativeBiasGrad",
  infer: ([dy], { T, S }) => [{ shape: [T + S - 1, dy.shape[0]!], dtype: "f32" }],
  kernels({ inputs: [dy], outputs: [dx], attrs: { T, S } }, target) {
    const lanes = () => (T + S - 1) * dy.shape[0]!;
    return kernels({ name: "relativeBiasGrad", wgsl: gradShader(), x: dx, y: dy, lanes, trips: T }, target);
  },
});

interface Call {
  readonly name: string;
  readonly wgsl: string;
  /** Of the list over distances [L, H]. */
  readonly x: Value;
  /** Of rows and keys [H, T, S]. */
  readonly y: Value;
  readonly lanes: (rows: number) => number;
  readonly trips: number;
}

/** Forward where no loop is needed, else backward. */
function kernels({ name, wgsl, x, y, lanes, trips }: Call, target: Target): Kernel[] {
  const [H, T, S] = y.shape as [number, number, number];
  return parts(H * T, S, target).map((part) => {
    const rows = rowRange(y, H * T, part);
    const [read, write] = trips === 0 ? [x, rows] : [rows, x];
    return {
      ...{ name, wgsl, trips },
      read: [read],
      write: [write],
      uniform: [part.hi - part.lo, part.lo, T, S, H],
      workgroups: Math.ceil(lanes(part.hi - part.lo) / RELATIVE_BIAS_LANES),
    };
  });
}

/**
 * y[H, T, S] = x[s − t + T − 1, h] for x[T + S − 1, H]: what the scores of row t and key s get by their distance.
 *
 * @throws {ShapeError} if x has another shape.
 *
 * @example Usage
 * ```ts
 * import { embedding, Graph, relativeBias } from "@graft/graft/ops";
 *
 * const [T, H] = [16, 8];
 * const graph = new Graph();
 * const table = graph.leaf("param", "relative_attention_bias.weight", [32, H]);
 * const buckets = graph.leaf("input", "buckets", [2 * T - 1], { dtype: "u32" });
 * console.log(relativeBias(embedding(table, buckets), { T, S: T }).shape); // [ 8, 16, 16 ]
 * ```
 */
export function relativeBias(x: Value, { T, S }: RelativeBiasOptions): Value {
  return x.graph.add(relativeBiasOp, [x], { T, S })[0];
}

/**
 * The bucket of every distance s − t, from −(T − 1) to S − 1, as transformers' T5Attention computes it: half of the
 * buckets of a direction hold one distance each, the others grow with the logarithm up to `maxDistance`.
 */
export function relativeBuckets(
  { T, S }: RelativeBiasOptions,
  { buckets, maxDistance, bidirectional }: BucketRule,
): Uint32Array<ArrayBuffer> {
  const own = bidirectional ? Math.floor(buckets / 2) : buckets;
  const exact = Math.floor(own / 2);
  const range = Math.fround(Math.log(maxDistance / exact));
  const bucketOf = (n: number): number => {
    if (n < exact) return n;
    // In steps of f32, so that distances on a border fall to the side that PyTorch gives them.
    const share = Math.fround(Math.fround(Math.log(Math.fround(n / exact))) / range);
    return Math.min(own - 1, exact + Math.trunc(Math.fround(share * (own - exact))));
  };
  return Uint32Array.from({ length: T + S - 1 }, (_, d) => {
    const behind = d - (T - 1);
    if (behind <= 0) return bucketOf(-behind);
    return bidirectional ? own + bucketOf(behind) : 0;
  });
}
