// RMS norms of packed heads of queries and keys; layout in shaders/head_norm.ts.
import { headNorm as shader, headNormGrad as gradShader } from "../../shaders/head_norm.ts";
import type { RowShader } from "../../shaders/lib/rows.ts";
import { dims, size } from "../core/dims.ts";
import { ShapeError } from "../core/errors.ts";
import { defineOp, type Kernel, type V1, type V2, type V3, type Value } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import { parts, rowRange } from "./parts.ts";
import { rowGroup } from "./rows.ts";

/** Sizes of {@linkcode headNorm}. */
export interface HeadNormSizes {
  /** Heads of the queries. */
  readonly H: number;
  /** Heads of the keys, and of the values. */
  readonly K: number;
  /** Columns of a head. */
  readonly E: number;
  /** Added to the mean square. */
  readonly eps: number;
}

interface Call {
  readonly name: string;
  readonly shader: RowShader;
  /** Operands with a row, or a number, for each head. */
  readonly rows: readonly Value[];
  readonly weights: readonly Value[];
  readonly outputs: readonly Value[];
}

/** The dispatches, cut at heads where an operand exceeds one binding. */
function headKernels({ name, shader, rows, weights, outputs }: Call, E: number, target: Target): Kernel[] {
  const N = size(rows[0]!.shape) / E; // heads of all rows
  return parts(N, E, target).map((part) => ({
    name,
    ...shader,
    read: [...rows.map((v) => rowRange(v, N, part)), ...weights],
    write: outputs.map((v) => rowRange(v, N, part)),
    uniform: [part.hi - part.lo, part.lo],
    workgroups: part.hi - part.lo,
  }));
}

const headNormOp = defineOp<HeadNormSizes, V3, V2>({
  name: "headNorm",
  infer([x, wq, wk], { H, K, E }) {
    const heads = H + 2 * K;
    const { N, columns } = dims("headNorm", { x: "N columns" }, { x });
    if (columns !== heads * E) throw new ShapeError("headNorm", "x", "N (H+2·K)·E", x.shape, { H, K, E });
    for (const [name, w] of Object.entries({ wq, wk })) {
      if (String(w.shape) !== String([E])) throw new ShapeError("headNorm", name, "E", w.shape, { E });
    }
    return [x, { shape: [N!, heads], dtype: "f32" }];
  },
  kernels({ inputs: [x, ...weights], outputs: [y, r], attrs }, target) {
    const group = rowGroup(target);
    return headKernels(
      { name: "headNorm", shader: shader({ ...attrs, group }), rows: [x], weights, outputs: [y, r] },
      attrs.E,
      target,
    );
  },
  grad: [
    ({ inputs: [x, wq, wk], outputs: [, r], attrs }, dy) => x.graph.add(gradOp, [x, r, dy, wq, wk], attrs)[0],
    null,
    null,
  ],
});

const gradOp = defineOp<HeadNormSizes, readonly [Value, Value, Value, Value, Value], V1>({
  name: "headNormGrad",
  infer: ([x]) => [x],
  kernels({ inputs: [x, r, dy, ...weights], outputs, attrs }, target) {
    const group = rowGroup(target);
    return headKernels(
      { name: "headNormGrad", shader: gradShader({ ...attrs, group }), rows: [x, r, dy], weights, outputs },
      attrs.E,
      target,
    );
  },
});

/**
 * The heads of x[N, (H + 2·K)·E], queries, keys and values: queries and keys normed by their root mean square, each head
 * by itself, with the weights wq[E] and wk[E]; values as they are. The weights have no gradient.
 *
 * @throws {ShapeError} if x has other columns or a weight is not of width E.
 *
 * @example Usage
 * ```ts
 * import { Graph, headNorm } from "@graft/graft/ops";
 *
 * const graph = new Graph();
 * const x = graph.leaf("input", "qkv", [4, 32]);
 * const [wq, wk] = ["q", "k"].map((name) => graph.leaf("weight", `${name}_norm.weight`, [8]));
 * console.log(headNorm(x, wq!, wk!, { H: 2, K: 1, E: 8, eps: 1e-6 }).shape); // [ 4, 32 ]
 * ```
 */
export function headNorm(x: Value, wq: Value, wk: Value, sizes: HeadNormSizes): Value {
  return x.graph.add(headNormOp, [x, wq, wk], sizes)[0];
}
