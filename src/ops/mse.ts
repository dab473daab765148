// Squared error: y = Σ (prediction - target)², or its mean; d prediction = 2·(prediction - target)·dy (/ count).
import { size } from "../core/dims.ts";
import { defineOp, type V1, type V2, type V3, type Value } from "../graph/graph.ts";
import { broadcastKernels } from "./broadcast.ts";
import { sameShape, scale } from "./elementwise.ts";
import { sumKernels, sumTypes } from "./sum.ts";

/** Options of {@linkcode mse}. */
export interface MseOptions {
  readonly reduction?: "mean" | "sum";
}

type Attrs = Required<MseOptions>;

const share = (x: Value, { reduction }: Attrs) => reduction === "mean" ? 1 / size(x.shape) : 1;

const mseOp = defineOp<Attrs, V2, V2>({
  name: "mse",
  infer(inputs) {
    const [{ shape }] = sameShape("mse", inputs);
    return sumTypes(size(shape), inputs[0].graph.target);
  },
  kernels: ({ inputs: [a, b], outputs, attrs }, target) =>
    sumKernels(
      { name: "mse", operands: { a, b }, term: "(a - b) * (a - b)", scale: share(a, attrs), outputs },
      target,
    ),
  grad: [
    ({ inputs: [a, b], attrs }, dy) => dy.graph.add(mseGradOp, [a, b, dy], attrs)[0],
    ({ inputs: [a, b], attrs }, dy) => scale(dy.graph.add(mseGradOp, [a, b, dy], attrs)[0], -1),
  ],
});

const mseGradOp = defineOp<Attrs, V3, V1>({
  name: "mseGrad",
  infer: ([a]) => [a],
  kernels({ inputs: [a, b, dy], outputs: [output], attrs }, target) {
    const operands = { a: ["matrix", a], b: ["matrix", b], dy: ["single", dy] } as const;
    const expression = "(a - b) * (dy * p.x)";
    return broadcastKernels({ name: "mseGrad", operands, expression, output, x: 2 * share(a, attrs) }, target);
  },
});

/**
 * y[1] = the mean (or sum) over all elements of (prediction - target)².
 *
 * @throws {ShapeError} if the shapes differ.
 */
export function mse(prediction: Value, target: Value, { reduction = "mean" }: MseOptions = {}): Value {
  return prediction.graph.add(mseOp, [prediction, target], { reduction })[0];
}
