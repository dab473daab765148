// Learned positions: y[n] = x[n] + table[n mod T], rows being B sequences of T tokens.
import { POSITIONS_LANES, positionsGrad as gradShader } from "../../shaders/positions.ts";
import { vectorsOf } from "../../shaders/lib/rows.ts";
import { dims } from "../core/dims.ts";
import { ShapeError } from "../core/errors.ts";
import { defineOp, type Kernel, type V1, type V2, type Value } from "../graph/graph.ts";
import { broadcastKernels } from "./broadcast.ts";
import { parts, rowRange } from "./parts.ts";

/** Options of {@linkcode addPositions}. */
export interface AddPositionsOptions {
  /** Tokens of a sequence. */
  readonly T: number;
}

const addPositionsOp = defineOp<AddPositionsOptions, V2, V1>({
  name: "addPositions",
  infer([x, table], { T }) {
    const { N, P } = dims("addPositions", { x: "N D", table: "P D" }, { x, table });
    if (N % T !== 0) throw new ShapeError("addPositions", "x", "B*T D", x.shape, { T });
    if (T > P) throw new ShapeError("addPositions", "table", "P>=T D", table.shape, { T });
    return [x];
  },
  kernels({ inputs: [x, table], outputs: [output], attrs: { T } }, target) {
    const operands = { x: ["matrix", x], table: ["cycle", table] } as const;
    const D = x.shape[1]!;
    return broadcastKernels({ name: "addPositions", D, operands, expression: "x + table", output, T }, target);
  },
  grad: [
    (_, dy) => dy,
    ({ inputs: [, table], attrs: { T } }, dy) => dy.graph.add(tableGradOp, [dy], { T, P: table.shape[0]! })[0],
  ],
});

const tableGradOp = defineOp<{ readonly T: number; readonly P: number }, V1, V1>({
  name: "addPositionsGrad",
  infer: ([dy], { P }) => [{ shape: [P, dy.shape[1]!], dtype: "f32" }],
  kernels({ inputs: [dy], outputs: [dt], attrs: { T, P } }, target): Kernel[] {
    const [N, D] = dy.shape as [number, number];
    const wgsl = gradShader({ D });
    return parts(N, D, target).map((part) => ({
      name: "addPositionsGrad",
      wgsl,
      read: [rowRange(dy, N, part)],
      write: [dt],
      uniform: [part.hi - part.lo, part.lo, T, P],
      workgroups: Math.ceil(P * vectorsOf(D).width / POSITIONS_LANES),
      trips: Math.ceil((part.hi - part.lo) / T),
    }));
  },
});

/**
 * y[N, D] = x[N, D] + table[n mod T], for N = B·T and a table[P, D] of at least T positions.
 *
 * @throws {ShapeError} if N is not a multiple of T, or the table is too short or not as wide.
 */
export function addPositions(x: Value, table: Value, { T }: AddPositionsOptions): Value {
  return x.graph.add(addPositionsOp, [x, table], { T })[0];
}
