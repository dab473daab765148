// Layer normalization; equations in shaders/layer_norm.ts.
import { layerNorm as shader, layerNormGrad as gradShader } from "../../shaders/layer_norm.ts";
import { dims } from "../core/dims.ts";
import { defineOp, type V1, type V2, type V3, type V4, type V5, type Value } from "../graph/graph.ts";
import { columnScratch, columnSum, columnSumKernels } from "./column_sum.ts";
import { withAddend } from "./elementwise.ts";
import { rowGroup, rowKernels } from "./rows.ts";

/** Options of {@linkcode layerNorm}. */
export interface LayerNormOptions {
  /** Added to the variance. */
  readonly eps: number;
}

const layerNormOp = defineOp<LayerNormOptions, V3, V3>({
  name: "layerNorm",
  infer([x, w, b]) {
    const { N } = dims("layerNorm", { x: "N D", w: "D", b: "D" }, { x, w, b });
    return [x, { shape: [N], dtype: "f32" }, { shape: [N], dtype: "f32" }];
  },
  kernels({ inputs: [x, w, b], outputs, attrs: { eps } }, target) {
    const [N, D] = x.shape as [number, number];
    const kernel = shader({ D, eps, group: rowGroup(target) });
    return rowKernels({ name: "layerNorm", N, D, shader: kernel, rows: [x], shared: [w, b], outputs }, target);
  },
  grad: [
    ({ inputs: [x, w], outputs: [, mean, r] }, dy) => x.graph.add(inputGradOp, [x, mean, r, dy, w], null)[0],
    ({ inputs: [x], outputs: [, mean, r] }, dy) => x.graph.add(weightGradOp, [dy, x, mean, r], null)[0],
    (_, dy) => columnSum(dy),
  ],
});

const inputGradOp = defineOp<null, readonly [...V5, ...more: Value[]], V1>({
  name: "layerNormGrad",
  infer: ([x]) => [x],
  kernels({ inputs: [x, mean, r, dy, w, ...more], outputs }, target) {
    const [N, D] = x.shape as [number, number];
    const kernel = gradShader({ D, group: rowGroup(target), more: more.length > 0 });
    const rows = [x, mean, r, dy, ...more];
    return rowKernels({ name: "layerNormGrad", N, D, shader: kernel, rows, shared: [w], outputs }, target);
  },
  absorb: (node, user) => node.inputs.length === 5 ? withAddend(node, user) : undefined,
});

const weightGradOp = defineOp<null, V4, V2>({
  name: "layerNormWeightGrad",
  infer([x]) {
    const [N, D] = x.shape as [number, number];
    return [{ shape: [D], dtype: "f32" }, columnScratch(N, D, x.graph.target)];
  },
  kernels: ({ inputs: [dy, x, mean, r], outputs: [output, scratch] }, target) =>
    columnSumKernels({
      name: "layerNormWeightGrad",
      matrices: { dy, x },
      perRow: { mean, r },
      term: "dy * ((x - mean) * r)",
      output,
      scratch,
    }, target),
});

/**
 * y[N, D] = (x[N, D] - mean) / sqrt(variance + eps) · w[D] + b[D], each row by itself (arXiv:1607.06450).
 *
 * @throws {ShapeError} if x is not a matrix, or w or b is not as wide.
 *
 * @example Usage
 * ```ts
 * import { Graph, layerNorm } from "@graft/graft/ops";
 *
 * const graph = new Graph();
 * const x = graph.leaf("input", "x", [4, 8]);
 * const [w, b] = [graph.leaf("weight", "norm.weight", [8]), graph.leaf("weight", "norm.bias", [8])];
 * console.log(layerNorm(x, w, b, { eps: 1e-5 }).shape); // [ 4, 8 ]
 * ```
 */
export function layerNorm(x: Value, w: Value, b: Value, { eps }: LayerNormOptions): Value {
  return x.graph.add(layerNormOp, [x, w, b], { eps })[0];
}
