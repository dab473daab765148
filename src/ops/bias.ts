// y[n, d] = x[n, d] + b[d]; db is a column sum.
import { dims } from "../core/dims.ts";
import { defineOp, type V1, type V2, type Value } from "../graph/graph.ts";
import { broadcastKernels } from "./broadcast.ts";
import { columnSum } from "./column_sum.ts";

const biasOp = defineOp<null, V2, V1>({
  name: "bias",
  infer([x, b]) {
    dims("bias", { x: "N D", b: "D" }, { x, b });
    return [x];
  },
  kernels({ inputs: [x, b], outputs: [output] }, target) {
    const operands = { x: ["matrix", x], b: ["columns", b] } as const;
    return broadcastKernels({ name: "bias", D: b.shape[0]!, operands, expression: "x + b", output }, target);
  },
  grad: [(_, dy) => dy, (_, dy) => columnSum(dy)],
});

/**
 * y[N, D] = x[N, D] + b[D].
 *
 * @throws {ShapeError} if x is not a matrix or b is not as wide.
 */
export function bias(x: Value, b: Value): Value {
  return x.graph.add(biasOp, [x, b], null)[0];
}
