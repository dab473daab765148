// Positions in front of every sequence whose values come from a table: prompt and prefix tuning; see shaders/lead.ts.
import { lead as shader, LEAD_LANES, type LeadColumns, leadStep, leadTableGrad } from "../../shaders/lead.ts";
import { ShapeError } from "../core/errors.ts";
import { defineOp, type Kernel, type V1, type V2, type V3, type Value } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import { parts, rowRange } from "./parts.ts";

/** Which columns are taken from the table; all of it by default. */
export interface LeadOptions {
  /** First column of x that is replaced (0). */
  readonly column?: number;
  /** First column of the table that is taken (0). */
  readonly at?: number;
  /** Columns that are taken: those of the table. */
  readonly width?: number;
}

interface Attrs extends LeadColumns {
  /** Positions of the table. */
  readonly P: number;
  /** Rows of a sequence; without, positions are given. */
  readonly T?: number;
}

interface LeadCall {
  readonly name: string;
  readonly x: Value;
  readonly table?: Value;
  readonly positions?: Value;
  readonly y: Value;
}

function leadKernels({ name, x, table, positions, y }: LeadCall, attrs: Attrs, target: Target): Kernel[] {
  const { P, T = 1, ...columns } = attrs;
  const [N = 0] = x.shape;
  const wgsl = shader({ ...columns, P, given: positions !== undefined, zero: table === undefined });
  return parts(N, columns.C, target).map((part) => ({
    name,
    wgsl,
    read: [rowRange(x, N, part), ...table ? [table] : [], ...positions ? [rowRange(positions, N, part)] : []],
    write: [rowRange(y, N, part)],
    uniform: [part.hi - part.lo, part.lo, T],
    workgroups: Math.ceil((part.hi - part.lo) * columns.C / leadStep(columns) / LEAD_LANES),
    trips: 0,
  }));
}

const leadOp = defineOp<Attrs, V2, V1>({
  name: "lead",
  infer: ([x]) => [x],
  kernels: ({ inputs: [x, table], outputs: [y], attrs }, target) =>
    leadKernels({ name: "lead", x, table, y }, attrs, target),
  grad: [
    ({ attrs }, dy) => dy.graph.add(maskOp, [dy], attrs)[0],
    ({ attrs }, dy) => dy.graph.add(tableGradOp, [dy], attrs)[0],
  ],
});

const maskOp = defineOp<Attrs, V1, V1>({
  name: "leadMask",
  infer: ([dy]) => [dy],
  kernels: ({ inputs: [x], outputs: [y], attrs }, target) => leadKernels({ name: "lead dx", x, y }, attrs, target),
});

const tableGradOp = defineOp<Attrs, V1, V1>({
  name: "leadTableGrad",
  infer: (_, { P, W }) => [{ shape: [P, W], dtype: "f32" }],
  kernels({ inputs: [dy], outputs: [dt], attrs: { P, T = 1, ...columns } }, target) {
    const [N = 0] = dy.shape;
    return parts(N, columns.C, target).map((part) => ({
      name: "lead dtable",
      wgsl: leadTableGrad({ ...columns, P }),
      read: [rowRange(dy, N, part)],
      write: [dt],
      uniform: [part.hi - part.lo, part.lo, T],
      workgroups: Math.ceil(P * columns.W / leadStep(columns) / LEAD_LANES),
      trips: Math.ceil((part.hi - part.lo) / T),
    }));
  },
});

const leadAtOp = defineOp<Attrs, V3, V1>({
  name: "leadAt",
  stops: true,
  infer: ([x]) => [x],
  kernels: ({ inputs: [x, table, positions], outputs: [y], attrs }, target) =>
    leadKernels({ name: "lead", x, table, positions, y }, attrs, target),
});

function columnsOf(x: Value, table: Value, { column = 0, at = 0, width }: LeadOptions): LeadColumns & { P: number } {
  const [P = 0, W = 0] = table.shape, C = x.shape[1]!, taken = width ?? W - at;
  const fits = x.shape.length === 2 && table.shape.length === 2 && taken >= 1 && at + taken <= W && column + taken <= C;
  if (!fits) throw new ShapeError("lead", "table", "P W", table.shape, { columns: taken });
  return { P, C, W, column, at, width: taken };
}

/**
 * y[N, C] = x[N, C], where the first P rows of every sequence of T rows have columns of table[P, W] in place of their
 * own: `width` of them from `at` on, at `column`.
 *
 * @throws {ShapeError} if the columns do not fit, N is no multiple of T, or the table has more rows than a sequence.
 */
export function lead(x: Value, table: Value, { T, ...options }: LeadOptions & { readonly T: number }): Value {
  const attrs = columnsOf(x, table, options);
  if (x.shape[0]! % T !== 0) throw new ShapeError("lead", "x", "B*T C", x.shape, { T });
  if (attrs.P > T) throw new ShapeError("lead", "table", "P<=T W", table.shape, { T });
  return x.graph.add(leadOp, [x, table], { ...attrs, T })[0];
}

/**
 * {@linkcode lead} for rows whose positions are given as u32[N]. There is no gradient.
 *
 * @throws {ShapeError} if the columns do not fit, or there are not N positions.
 */
export function leadAt(
  x: Value,
  table: Value,
  { positions, ...options }: LeadOptions & { readonly positions: Value },
): Value {
  if (positions.dtype !== "u32" || String(positions.shape) !== String([x.shape[0]])) {
    throw new ShapeError("lead", "positions", "N (u32)", positions.shape, { N: x.shape[0]! });
  }
  return x.graph.add(leadAtOp, [x, table, positions], columnsOf(x, table, options))[0];
}
