// y = x, through which no gradient passes.
import { defineOp, type V1, type Value } from "../graph/graph.ts";
import { elementwiseKernels } from "./elementwise.ts";

const detachOp = defineOp<null, V1, V1>({
  name: "detach",
  infer: ([x]) => [x],
  kernels: ({ inputs, outputs: [output] }, target) =>
    elementwiseKernels({ name: "detach", reads: ["a"], expression: "a", inputs, output }, target),
  stops: true,
});

/** y = x as a constant: no gradient reaches x. */
export function detach(x: Value): Value {
  return x.graph.add(detachOp, [x], null)[0];
}
