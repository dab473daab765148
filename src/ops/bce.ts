// Binary cross-entropy of logits, summed: y = Σ max(x, 0) − x·t + log(1 + exp(−|x|));  dx = (σ(x) − t)·dy.
import { size } from "../core/dims.ts";
import { defineOp, type V1, type V2, type V3, type Value } from "../graph/graph.ts";
import { broadcastKernels } from "./broadcast.ts";
import { sameShape } from "./elementwise.ts";
import { sumKernels, sumTypes } from "./sum.ts";

const bceOp = defineOp<null, V2, V2>({
  name: "bce",
  infer(inputs) {
    const [{ shape }] = sameShape("bce", inputs);
    return sumTypes(size(shape), inputs[0].graph.target);
  },
  kernels: ({ inputs: [x, t], outputs }, target) =>
    sumKernels(
      { name: "bce", operands: { x, t }, term: "max(x, vec4f()) - x * t + log(1.0 + exp(-abs(x)))", scale: 1, outputs },
      target,
    ),
  grad: [({ inputs: [x, t] }, dy) => dy.graph.add(bceGradOp, [x, t, dy], null)[0], null],
});

const bceGradOp = defineOp<null, V3, V1>({
  name: "bceGrad",
  infer: ([x]) => [x],
  kernels({ inputs: [x, t, dy], outputs: [output] }, target) {
    const operands = { x: ["matrix", x], t: ["matrix", t], dy: ["single", dy] } as const;
    return broadcastKernels(
      { name: "bceGrad", operands, expression: "(1.0 / (1.0 + exp(-x)) - t) * dy", output },
      target,
    );
  },
});

/**
 * y[1] = the sum over all elements of the binary cross-entropy of logits x and targets t in [0, 1], as
 * `torch.nn.functional.binary_cross_entropy_with_logits` defines it. No gradient reaches the targets.
 *
 * @throws {ShapeError} if the shapes differ.
 */
export function bceWithLogits(x: Value, t: Value): Value {
  return x.graph.add(bceOp, [x, t], null)[0];
}
