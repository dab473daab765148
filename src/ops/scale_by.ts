// y = x · s with one factor that is computed or trained; dx = dy · s, ds = Σ dy · x.
import { size } from "../core/dims.ts";
import { ShapeError } from "../core/errors.ts";
import { defineOp, type V1, type V2, type Value } from "../graph/graph.ts";
import { broadcastKernels } from "./broadcast.ts";
import { dot } from "./sum.ts";
import type { Word } from "./word.ts";

const scaleByOp = defineOp<null, V2, V1>({
  name: "scaleBy",
  infer([x, s]) {
    if (size(s.shape) !== 1) throw new ShapeError("scaleBy", "s", "1", s.shape);
    return [x];
  },
  kernels({ inputs: [x, s], outputs: [output] }, target) {
    const operands = { x: ["matrix", x], s: ["single", s] } as const;
    return broadcastKernels({ name: "scaleBy", operands, expression: "x * s", output }, target);
  },
  grad: [({ inputs: [, s] }, dy) => scaleBy(dy, s), ({ inputs: [x] }, dy) => dot(dy, x)],
});

const scaleByWordOp = defineOp<{ readonly word: number }, V2, V1>({
  name: "scaleByWord",
  infer: ([x]) => [x],
  kernels({ inputs: [x, s], outputs: [output], attrs: { word } }, target) {
    const operands = { x: ["matrix", x], s: ["word", s] } as const;
    return broadcastKernels({ name: "scaleByWord", operands, expression: "x * s", output, T: word }, target);
  },
  grad: [({ inputs: [, s], attrs: { word } }, dy) => scaleByWord(dy, { value: s, word }), null],
});

/** y = x · s, of the shape of x, for one number of the step's scalars; no gradient reaches s. */
export function scaleByWord(x: Value, { value, word = 0 }: Word): Value {
  return x.graph.add(scaleByWordOp, [x, value], { word })[0];
}

/**
 * y = x · s[0], of the shape of x.
 *
 * @throws {ShapeError} if s has more than one element.
 */
export function scaleBy(x: Value, s: Value): Value {
  return x.graph.add(scaleByOp, [x, s], null)[0];
}
