// One row from the rows of each sequence: y[b] = Σ_t w[b, t] · x[b·T + t]. The weights are data, such as one over the
// number of tokens where there is a token and zero where there is padding; dx[b·T + t] = w[b, t] · dy[b].
import { dims } from "../core/dims.ts";
import { ShapeError } from "../core/errors.ts";
import { defineOp, type V1, type V2, type Value } from "../graph/graph.ts";
import { productKernels } from "./product.ts";

const poolOp = defineOp<null, V2, V1>({
  name: "pool",
  infer([x, w]) {
    const { B } = sizesOf("pool", x, w);
    return [{ shape: [B, x.shape[1]!], dtype: "f32" }];
  },
  kernels({ inputs: [x, w], outputs: [y] }, target) {
    const { B, T, D } = sizesOf("pool", x, w);
    const a = { value: w, stride: T, outer: T }, b = { value: x, stride: D, outer: T * D };
    const call = { name: "pool", M: 1, N: D, K: T, a, b, c: { value: y, stride: D, outer: D } };
    return productKernels({ ...call, batch: { outer: B, inner: 1 } }, target);
  },
  grad: [({ inputs: [, w] }, dy) => spread(dy, w), null],
});

const spreadOp = defineOp<null, V2, V1>({
  name: "spread",
  infer([y, w]) {
    const { B, T, D } = dims("spread", { y: "B D", w: "B T" }, { y, w });
    return [{ shape: [B * T, D], dtype: "f32" }];
  },
  kernels({ inputs: [y, w], outputs: [x] }, target) {
    const { B, T, D } = dims("spread", { y: "B D", w: "B T" }, { y, w });
    const a = { value: w, stride: 1, outer: T }, b = { value: y, stride: D, outer: D };
    const call = { name: "spread", M: T, N: D, K: 1, a, b, c: { value: x, stride: D, outer: T * D } };
    return productKernels({ ...call, batch: { outer: B, inner: 1 } }, target);
  },
});

function sizesOf(op: string, x: Value, w: Value): { readonly B: number; readonly T: number; readonly D: number } {
  const { N, D } = dims(op, { x: "N D" }, { x });
  const { B, T } = dims(op, { w: "B T" }, { w });
  if (N !== B * T) throw new ShapeError(op, "x", "B·T D", x.shape, { "B·T": B * T, D });
  return { B, T, D };
}

function spread(y: Value, w: Value): Value {
  return y.graph.add(spreadOp, [y, w], null)[0];
}

/**
 * y[B, D] = Σ_t w[b, t] · x[b·T + t]: x[B·T, D] summed over the positions of each sequence. A gradient reaches x.
 *
 * @throws {ShapeError} if w is not [B, T] of the rows of x.
 */
export function pool(x: Value, w: Value): Value {
  return x.graph.add(poolOp, [x, w], null)[0];
}
