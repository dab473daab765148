// A matrix times a factor per column, or per row.
//
//   scaleColumns   y = x·c (+ b)    dx = dy·c    dc[d] = Σ_n dy·x    db[d] = Σ_n dy
//   scaleRows      y = x·s          dx = dy·s    ds[n] = Σ_d dy·x
import { dims, size } from "../core/dims.ts";
import { ShapeError } from "../core/errors.ts";
import { defineOp, type V2, type Value } from "../graph/graph.ts";
import { broadcastKernels } from "./broadcast.ts";
import { columnScratch, columnSum, columnSumKernels } from "./column_sum.ts";
import { multiply } from "./elementwise.ts";
import { rowSum } from "./sum.ts";

const columnsOp = defineOp<null, readonly [x: Value, c: Value, ...bias: Value[]], readonly [Value]>({
  name: "scaleColumns",
  infer([x, c, b]) {
    const D = x.shape.at(-1)!;
    for (const [name, v] of [["c", c], ["b", b]] as const) {
      if (v && size(v.shape) !== D) throw new ShapeError("scaleColumns", name, "D", v.shape, { D });
    }
    return [x];
  },
  kernels({ inputs: [x, c, b], outputs: [output] }, target) {
    const operands = {
      ...{ x: ["matrix", x], c: ["columns", c] } as const,
      ...(b ? { b: ["columns", b] as const } : {}),
    };
    const expression = b ? "x * c + b" : "x * c";
    return broadcastKernels({ name: "scaleColumns", D: x.shape.at(-1)!, operands, expression, output }, target);
  },
  grad: [
    ({ inputs: [, c] }, dy) => scaleColumns(dy, c),
    ({ inputs: [x, c] }, dy) => dy.graph.add(factorGradOp, [dy, x], { shape: c.shape })[0],
    (_, dy) => columnSum(dy),
  ],
});

const factorGradOp = defineOp<{ readonly shape: readonly number[] }, V2, V2>({
  name: "scaleColumnsGrad",
  infer([dy], { shape }) {
    const D = size(shape);
    return [{ shape, dtype: "f32" }, columnScratch(size(dy.shape) / D, D, dy.graph.target)];
  },
  kernels: ({ inputs: [dy, x], outputs: [output, scratch] }, target) =>
    columnSumKernels({ name: "scaleColumns dc", matrices: { dy, x }, term: "dy * x", output, scratch }, target),
});

/**
 * y[n, d] = x[n, d] · c[d] (+ b[d]) for x[N, D], or one row x[D], and D factors c of any shape.
 *
 * @throws {ShapeError} if there are not D factors or biases.
 */
export function scaleColumns(x: Value, c: Value, bias?: Value): Value {
  return x.graph.add(columnsOp, bias ? [x, c, bias] : [x, c], null)[0];
}

const rowsOp = defineOp<null, V2, readonly [Value]>({
  name: "scaleRows",
  infer([x, s]) {
    const { N } = dims("scaleRows", { x: "N D" }, { x });
    if (size(s.shape) !== N) throw new ShapeError("scaleRows", "s", "N", s.shape, { N });
    return [x];
  },
  kernels({ inputs: [x, s], outputs: [output] }, target) {
    const operands = { x: ["matrix", x], s: ["rows", s] } as const;
    return broadcastKernels({ name: "scaleRows", D: x.shape[1]!, operands, expression: "x * s", output }, target);
  },
  grad: [
    ({ inputs: [, s] }, dy) => scaleRows(dy, s),
    ({ inputs: [x] }, dy) => rowSum(multiply(dy, x)),
  ],
});

/**
 * y[n, d] = x[n, d] · s[n] for x[N, D] and N factors s.
 *
 * @throws {ShapeError} if x is not a matrix, or there are not N factors.
 */
export function scaleRows(x: Value, s: Value): Value {
  return x.graph.add(rowsOp, [x, s], null)[0];
}
