// Softmax over rows; equations in shaders/softmax.ts.
import { softmax as shader, softmaxGrad as gradShader } from "../../shaders/softmax.ts";
import { dims } from "../core/dims.ts";
import { defineOp, type V1, type V2, type Value } from "../graph/graph.ts";
import { rowGroup, rowKernels } from "./rows.ts";

const softmaxOp = defineOp<null, V1, V1>({
  name: "softmax",
  infer([x]) {
    dims("softmax", { x: "N D" }, { x });
    return [x];
  },
  kernels({ inputs: [x], outputs }, target) {
    const [N, D] = x.shape as [number, number];
    const kernel = shader({ D, group: rowGroup(target) });
    return rowKernels({ name: "softmax", N, D, shader: kernel, rows: [x], outputs }, target);
  },
  grad: [({ outputs: [y] }, dy) => dy.graph.add(softmaxGradOp, [y, dy], null)[0]],
});

const softmaxGradOp = defineOp<null, V2, V1>({
  name: "softmaxGrad",
  infer: ([y]) => [y],
  kernels({ inputs: [y, dy], outputs }, target) {
    const [N, D] = y.shape as [number, number];
    const kernel = gradShader({ D, group: rowGroup(target) });
    return rowKernels({ name: "softmaxGrad", N, D, shader: kernel, rows: [y, dy], outputs }, target);
  },
});

/**
 * y[N, D]: the softmax of each row of x[N, D].
 *
 * @throws {ShapeError} if x is not a matrix.
 *
 * @example Usage
 * ```ts
 * import { Graph, softmax } from "@graft/graft/ops";
 *
 * const graph = new Graph();
 * console.log(softmax(graph.leaf("input", "x", [4, 8])).shape); // [ 4, 8 ]
 * ```
 */
export function softmax(x: Value): Value {
  return x.graph.add(softmaxOp, [x], null)[0];
}
