// y = x · s for a number s that is computed or written on the device.
import { SCALE_BY_LANES, scaleBy as shader } from "../../shaders/scale_by.ts";
import { size } from "../core/dims.ts";
import { defineOp, type V1, type V2, type Value } from "../graph/graph.ts";
import { parts, rowRange } from "./parts.ts";

/** One f32 word of a value, such as a number of the step's scalars. */
export interface Word {
  readonly value: Value;
  /** Which word; the first by default. */
  readonly word?: number;
}

const scaleByOp = defineOp<{ readonly word: number }, V2, V1>({
  name: "scale_by",
  infer: ([x]) => [x],
  kernels({ inputs: [x, s], outputs: [y], attrs: { word } }, target) {
    const count = size(x.shape);
    return parts(count, 1, target).map((part) => ({
      name: "scale_by",
      wgsl: shader(),
      read: [rowRange(x, count, part), s],
      write: [rowRange(y, count, part)],
      uniform: [part.hi - part.lo, word],
      workgroups: Math.ceil((part.hi - part.lo) / (4 * SCALE_BY_LANES)),
      trips: 0,
    }));
  },
  grad: [({ inputs: [, s], attrs: { word } }, dy) => scaleBy(dy, { value: s, word }), null],
});

/** y = x · s, where s is one word of a value; s itself gets no gradient. */
export function scaleBy(x: Value, { value, word = 0 }: Word): Value {
  return x.graph.add(scaleByOp, [x, value], { word })[0];
}
