// Dropout whose mask is a function of (seed, step, stream, element); equations in shaders/dropout.ts.
import { dropout as shader, DROPOUT_LANES, DROPOUT_VECTORS } from "../../shaders/dropout.ts";
import { size } from "../core/dims.ts";
import { ShapeError } from "../core/errors.ts";
import { defineOp, floatBits, type V1, type V2, type Value } from "../graph/graph.ts";
import { parts, rowRange } from "./parts.ts";

/** Options of {@linkcode dropout}. */
export interface DropoutOptions {
  /** Share of the elements that become zero, in [0, 1). */
  readonly p: number;
  /** Which mask of the step this is: every place in the model has its own. */
  readonly stream: number;
}

const dropoutOp = defineOp<DropoutOptions, V2, V1>({
  name: "dropout",
  infer: ([x]) => [x],
  kernels({ inputs: [x, scalars], outputs: [y], attrs: { p, stream } }, target) {
    const count = size(x.shape);
    return parts(count, 1, target).map((part) => ({
      name: "dropout",
      wgsl: shader(),
      read: [rowRange(x, count, part), scalars],
      write: [rowRange(y, count, part)],
      uniform: [part.hi - part.lo, part.lo, stream, dropThreshold(p), floatBits(1 / (1 - p))],
      workgroups: Math.ceil((part.hi - part.lo) / (4 * DROPOUT_LANES * DROPOUT_VECTORS)),
      trips: 0,
    }));
  },
  grad: [
    ({ inputs: [, scalars], attrs }, dy) => dropout(dy, scalars, attrs),
    null,
  ],
});

/** Random words below this are dropped. */
export function dropThreshold(p: number): number {
  return Math.min(2 ** 32 - 1, Math.round(p * 2 ** 32));
}

/**
 * y = x / (1 - p) for a random share 1 - p of the elements, 0 for the others; x itself where p is 0.
 * Element i is kept where `random(randomKey(seed, step, stream), i)` is at least p · 2^32.
 *
 * @param scalars The u32 input with the step's numbers (src/core/scalars.ts), of which seed and step are read.
 * @throws {RangeError} if p is not in [0, 1) or the stream is not an integer in [0, 2^32).
 * @throws {ShapeError} if scalars is not a u32 value.
 *
 * @example Usage
 * ```ts
 * import { dropout, Graph } from "@graft/graft/ops";
 *
 * const graph = new Graph();
 * const x = graph.leaf("input", "x", [4, 8]);
 * const scalars = graph.leaf("input", "scalars", [16], { dtype: "u32" });
 * console.log(dropout(x, scalars, { p: 0.1, stream: 0 }).shape); // [ 4, 8 ]
 * ```
 */
export function dropout(x: Value, scalars: Value, { p, stream }: DropoutOptions): Value {
  if (!(p >= 0 && p < 1)) throw new RangeError(`Cannot apply dropout as p must be in [0, 1): received ${p}`);
  if (!Number.isInteger(stream) || stream < 0 || stream >= 2 ** 32) {
    throw new RangeError(`Cannot apply dropout as the stream must be an integer in [0, 2^32): received ${stream}`);
  }
  if (scalars.dtype !== "u32") throw new ShapeError("dropout", "scalars", "W (u32)", scalars.shape);
  return p === 0 ? x : x.graph.add(dropoutOp, [x, scalars], { p, stream })[0];
}
