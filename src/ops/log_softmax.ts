// Logarithm of the softmax over rows; equations in shaders/log_softmax.ts.
import { logSoftmax as shader, logSoftmaxGrad as gradShader } from "../../shaders/log_softmax.ts";
import { dims } from "../core/dims.ts";
import { defineOp, type V1, type V2, type Value } from "../graph/graph.ts";
import { laneGroup, rowKernels } from "./rows.ts";

const logSoftmaxOp = defineOp<null, V1, V1>({
  name: "log_softmax",
  infer([x]) {
    dims("log_softmax", { x: "N D" }, { x });
    return [x];
  },
  kernels({ inputs: [x], outputs }, target) {
    const [N, D] = x.shape as [number, number];
    const kernel = shader({ D, group: laneGroup(target) });
    return rowKernels({ name: "log_softmax", N, D, shader: kernel, rows: [x], outputs }, target);
  },
  grad: [({ outputs: [y] }, dy) => dy.graph.add(logSoftmaxGradOp, [y, dy], null)[0]],
});

const logSoftmaxGradOp = defineOp<null, V2, V1>({
  name: "log_softmax'",
  infer: ([y]) => [y],
  kernels({ inputs: [y, dy], outputs }, target) {
    const [N, D] = y.shape as [number, number];
    const kernel = gradShader({ D, group: laneGroup(target) });
    return rowKernels({ name: "log_softmax'", N, D, shader: kernel, rows: [y, dy], outputs }, target);
  },
});

/**
 * y[N, D]: the logarithm of the softmax of each row of x[N, D].
 *
 * @throws {ShapeError} if x is not a matrix.
 *
 * @example Usage
 * ```ts
 * import { Graph, logSoftmax } from "@graft/graft/ops";
 *
 * const graph = new Graph();
 * console.log(logSoftmax(graph.leaf("input", "x", [4, 8])).shape); // [ 4, 8 ]
 * ```
 */
export function logSoftmax(x: Value): Value {
  return x.graph.add(logSoftmaxOp, [x], null)[0];
}
