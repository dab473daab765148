// Some columns of a matrix, in storage of their own: y[n, j] = x[n, at + j]; the gradient is zero elsewhere.
import { SLICE_LANES, sliceColumns as shader } from "../../shaders/slice_columns.ts";
import { dims } from "../core/dims.ts";
import { ShapeError } from "../core/errors.ts";
import { defineOp, type Kernel, type V1, type Value } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import { parts, rowRange } from "./parts.ts";

/** Which columns. */
export interface SliceColumnsOptions {
  /** The first one (0). */
  readonly at?: number;
  /** How many. */
  readonly width: number;
}

interface Attrs extends Required<SliceColumnsOptions> {
  /** Columns of the matrix. */
  readonly D: number;
}

function copyKernels(
  name: string,
  read: Value,
  write: Value,
  attrs: Attrs & { back: boolean },
  target: Target,
): Kernel[] {
  const { D, at, width, back } = attrs;
  const [N = 0] = read.shape;
  const { wgsl, step } = shader({ D, at, width, back });
  return parts(N, D, target).map((part) => ({
    name,
    wgsl,
    read: [rowRange(read, N, part)],
    write: [rowRange(write, N, part)],
    uniform: [part.hi - part.lo],
    workgroups: Math.ceil((part.hi - part.lo) * (back ? D : width) / step / SLICE_LANES),
    trips: 0,
  }));
}

const sliceOp = defineOp<Attrs, V1, V1>({
  name: "sliceColumns",
  infer: ([x], { width }) => [{ shape: [x.shape[0]!, width], dtype: "f32" }],
  kernels: ({ inputs: [x], outputs: [y], attrs }, target) =>
    copyKernels("slice columns", x, y, { ...attrs, back: false }, target),
  grad: [({ attrs }, dy) => dy.graph.add(sliceGradOp, [dy], attrs)[0]],
});

const sliceGradOp = defineOp<Attrs, V1, V1>({
  name: "sliceColumnsGrad",
  infer: ([dy], { D }) => [{ shape: [dy.shape[0]!, D], dtype: "f32" }],
  kernels: ({ inputs: [dy], outputs: [dx], attrs }, target) =>
    copyKernels("slice columns dx", dy, dx, { ...attrs, back: true }, target),
});

/**
 * y[N, width]: the columns [at, at + width) of x[N, D]; x itself where those are all.
 *
 * @throws {ShapeError} if x is not a matrix or has too few columns.
 */
export function sliceColumns(x: Value, { at = 0, width }: SliceColumnsOptions): Value {
  const { D } = dims("sliceColumns", { x: "N D" }, { x });
  if (!(at >= 0 && width >= 1 && at + width <= D)) {
    throw new ShapeError("sliceColumns", "x", "N D", x.shape, { D: at + width });
  }
  return width === D ? x : x.graph.add(sliceOp, [x], { at, width, D })[0];
}
