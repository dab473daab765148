// One column of token logits as rows of sequences: what a softmax over positions reads (question answering).
import { columnAsRows as shader, COLUMNS_LANES } from "../../shaders/columns.ts";
import { size } from "../core/dims.ts";
import { ShapeError } from "../core/errors.ts";
import { defineOp, type Kernel, type V1, type V2, type Value } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import { parts, rowRange } from "./parts.ts";
import { requireU32 } from "./require_u32.ts";

/** Options of {@linkcode columnAsRows}. */
export interface ColumnAsRowsOptions {
  /** Which column of x. */
  readonly column: number;
  /** Tokens of a sequence. */
  readonly T: number;
}

interface Attrs extends ColumnAsRowsOptions {
  readonly C: number;
}

const columnOp = defineOp<Attrs, V2, V1>({
  name: "columnAsRows",
  infer: ([x], { T }) => [{ shape: [x.shape[0]! / T, T], dtype: "f32" }],
  kernels: ({ inputs: [x, columns], outputs: [y], attrs }, target) =>
    kernels(columns, attrs, target, { from: x, to: y, backward: false }),
  grad: [
    ({ inputs: [, columns], attrs }, dy) => dy.graph.add(columnGradOp, [dy, columns], attrs)[0],
    null,
  ],
});

const columnGradOp = defineOp<Attrs, V2, V1>({
  name: "columnAsRowsGrad",
  infer: ([dy], { C }) => [{ shape: [size(dy.shape), C], dtype: "f32" }],
  kernels: ({ inputs: [dy, columns], outputs: [dx], attrs }, target) =>
    kernels(columns, attrs, target, { from: dy, to: dx, backward: true }),
});

function kernels(
  columns: Value,
  { C, column, T }: Attrs,
  target: Target,
  { from, to, backward }: { readonly from: Value; readonly to: Value; readonly backward: boolean },
): Kernel[] {
  const N = Math.max(size(from.shape), size(to.shape)) / C;
  const wgsl = shader({ C, column, backward });
  return parts(N, C, target).map((part) => ({
    name: backward ? "columnAsRowsGrad" : "columnAsRows",
    wgsl,
    read: [rowRange(from, N, part), columns],
    write: [rowRange(to, N, part)],
    uniform: [part.hi - part.lo, part.lo, T],
    workgroups: Math.ceil((part.hi - part.lo) * (backward ? C : 1) / COLUMNS_LANES),
    trips: 0,
  }));
}

/**
 * y[B, T]: y[b, t] = x[b·T + t, column] for columns[0] ≤ t < columns[1], and -1e30 elsewhere, for x[B·T, C] and columns
 * u32[2].
 *
 * @throws {ShapeError} if x is no matrix of whole sequences, or has no such column, or columns is not [2].
 * @throws {TypeError} if columns is not u32.
 */
export function columnAsRows(x: Value, columns: Value, { column, T }: ColumnAsRowsOptions): Value {
  const [N, C] = x.shape;
  if (x.shape.length !== 2 || N! % T !== 0 || column >= C!) {
    throw new ShapeError("columnAsRows", "x", "B*T C>column", x.shape, { T, column });
  }
  if (String(columns.shape) !== "2") throw new ShapeError("columnAsRows", "columns", "2", columns.shape);
  requireU32("columnAsRows", { columns });
  return x.graph.add(columnOp, [x, columns], { column, T, C: C! })[0];
}
