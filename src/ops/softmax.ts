// Softmax over rows and its logarithm; equations in shaders/softmax.ts.
import { softmax as shader, softmaxGrad as gradShader } from "../../shaders/softmax.ts";
import { dims } from "../core/dims.ts";
import { defineOp, type Op, type V1, type V2, type Value } from "../graph/graph.ts";
import { rowGroup, rowKernels } from "./rows.ts";

const softmaxOp = rowOp("softmax", false);
const logSoftmaxOp = rowOp("logSoftmax", true);

function rowOp(name: string, log: boolean): Op<null, V1, V1> {
  const gradName = `${name}Grad`;
  const gradOp = defineOp<null, V2, V1>({
    name: gradName,
    infer: ([y]) => [y],
    kernels({ inputs: [y, dy], outputs }, target) {
      const [N, D] = y.shape as [number, number];
      const kernel = gradShader({ D, group: rowGroup(target), log });
      return rowKernels({ name: gradName, N, D, shader: kernel, rows: [y, dy], outputs }, target);
    },
  });
  return defineOp<null, V1, V1>({
    name,
    infer([x]) {
      dims(name, { x: "N D" }, { x });
      return [x];
    },
    kernels({ inputs: [x], outputs }, target) {
      const [N, D] = x.shape as [number, number];
      const kernel = shader({ D, group: rowGroup(target), log });
      return rowKernels({ name, N, D, shader: kernel, rows: [x], outputs }, target);
    },
    grad: [({ outputs: [y] }, dy) => dy.graph.add(gradOp, [y, dy], null)[0]],
  });
}

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
