// Root-mean-square normalization; equations in shaders/rms_norm.ts.
import { rmsNorm as shader, rmsNormGrad as gradShader } from "../../shaders/rms_norm.ts";
import { dims, size } from "../core/dims.ts";
import { ShapeError } from "../core/errors.ts";
import { defineOp, type V1, type V2, type V4, type Value } from "../graph/graph.ts";
import { columnScratch, columnSumKernels } from "./column_sum.ts";
import { withAddend } from "./elementwise.ts";
import { rowGroup, rowKernels } from "./rows.ts";

/** Options of {@linkcode rmsNorm}. */
export interface RmsNormOptions {
  /** Added to the mean square. */
  readonly eps: number;
  /** Whether the weight is stored as an offset from one (Gemma). */
  readonly offset?: boolean;
}

type Attrs = Required<RmsNormOptions>;

const rmsNormOp = defineOp<Attrs, V2, V2>({
  name: "rmsNorm",
  infer([x, w]) {
    const { C } = dims("rmsNorm", { x: "N C" }, { x });
    const { D } = dims("rmsNorm", { w: "D" }, { w });
    if (C! % D! !== 0) throw new ShapeError("rmsNorm", "w", "D that divides the width of x", w.shape, { C: C! });
    return [x, { shape: [size(x.shape) / D!], dtype: "f32" }];
  },
  kernels({ inputs: [x, w], outputs: [y, r], attrs }, target) {
    const [N, D] = [r.shape[0]!, w.shape[0]!];
    const kernel = shader({ D, group: rowGroup(target), ...attrs });
    return rowKernels({ name: "rmsNorm", N, D, shader: kernel, rows: [x], shared: [w], outputs: [y, r] }, target);
  },
  grad: [
    ({ inputs: [x, w], outputs: [, r], attrs: { offset } }, dy) =>
      x.graph.add(inputGradOp, [x, r, dy, w], { offset })[0],
    ({ inputs: [x], outputs: [, r] }, dy) => x.graph.add(weightGradOp, [dy, x, r], null)[0],
  ],
});

const inputGradOp = defineOp<{ readonly offset: boolean }, readonly [...V4, ...more: Value[]], V1>({
  name: "rmsNormGrad",
  infer: ([x]) => [x],
  kernels({ inputs: [x, r, dy, w, ...more], outputs, attrs }, target) {
    const [N, D] = [r.shape[0]!, w.shape[0]!];
    const kernel = gradShader({ D, group: rowGroup(target), ...attrs, more: more.length > 0 });
    const rows = [x, r, dy, ...more];
    return rowKernels({ name: "rmsNormGrad", N, D, shader: kernel, rows, shared: [w], outputs }, target);
  },
  absorb: (node, user) => node.inputs.length === 4 ? withAddend(node, user) : undefined,
});

const weightGradOp = defineOp<null, readonly [Value, Value, Value], V2>({
  name: "rmsNormWeightGrad",
  infer([, x, r]) {
    const N = r.shape[0]!, D = size(x.shape) / N;
    return [{ shape: [D], dtype: "f32" }, columnScratch(N, D, x.graph.target)];
  },
  kernels: ({ inputs: [dy, x, r], outputs: [output, scratch] }, target) =>
    columnSumKernels({
      name: "rmsNormWeightGrad",
      matrices: { dy, x },
      perRow: { r },
      term: "dy * (x * r)",
      output,
      scratch,
    }, target),
});

/**
 * y[N, D] = x[N, D] / sqrt(mean(x²) + eps) · w[D], each row by itself (arXiv:1910.07467). Where x is wider than w, such
 * as x[N, heads·D], every D of its columns are normed by themselves.
 *
 * @throws {ShapeError} if x is not a matrix or w does not divide its width.
 *
 * @example Usage
 * ```ts
 * import { Graph, rmsNorm } from "@graft/graft/ops";
 *
 * const graph = new Graph();
 * const x = graph.leaf("input", "x", [4, 8]);
 * const w = graph.leaf("weight", "norm.weight", [8]);
 * console.log(rmsNorm(x, w, { eps: 1e-5 }).shape); // [ 4, 8 ]
 * ```
 */
export function rmsNorm(x: Value, w: Value, { eps, offset = false }: RmsNormOptions): Value {
  return x.graph.add(rmsNormOp, [x, w], { eps, offset })[0];
}
