// The transpose of a small matrix; products need none, since they take transposed operands.
import { transpose as shader, TRANSPOSE_LANES } from "../../shaders/transpose.ts";
import { dims } from "../core/dims.ts";
import { defineOp, type V1, type Value } from "../graph/graph.ts";

const transposeOp = defineOp<null, V1, V1>({
  name: "transpose",
  infer([x]) {
    const { N, D } = dims("transpose", { x: "N D" }, { x });
    return [{ shape: [D, N], dtype: "f32" }];
  },
  kernels({ inputs: [x], outputs: [y] }) {
    const [N, D] = x.shape as [number, number];
    const workgroups = Math.ceil(N * D / TRANSPOSE_LANES);
    return [{ name: "transpose", wgsl: shader(), read: [x], write: [y], uniform: [N, D], workgroups, trips: 0 }];
  },
  grad: [(_, dy) => transpose(dy)],
});

/**
 * y[D, N] = xᵀ for x[N, D], both within one binding.
 *
 * @throws {ShapeError} if x is not a matrix.
 */
export function transpose(x: Value): Value {
  return x.graph.add(transposeOp, [x], null)[0];
}
