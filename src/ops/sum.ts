// Sums of all elements and of rows, in a fixed order.
import { partialSums, rowSum as rowSumShader, SUM_LANES } from "../../shaders/sum.ts";
import { dims, type Shape, size, type TensorType } from "../core/dims.ts";
import { defineOp, floatBits, type Kernel, type V1, type V2, type Value } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import { broadcastKernels } from "./broadcast.ts";
import { sameShape } from "./elementwise.ts";
import { parts, rowRange } from "./parts.ts";
import { rowGroup, rowKernels } from "./rows.ts";

/** Partial sums of a small and of a large operand; few sizes, so that few pipelines exist. */
const FEW = 64, MANY = 1024;

/** Partial sums of each part of `count` elements. */
function partials(count: number): number {
  return count <= 256 * FEW ? FEW : MANY;
}

/** The types of a sum over `count` elements: the sum, and the partial sums. */
export function sumTypes(count: number, target: Target): readonly [TensorType, TensorType] {
  const S = partials(count) * parts(count, 1, target).length;
  return [{ shape: [1], dtype: "f32" }, { shape: [S], dtype: "f32" }];
}

/** y[1] = scale · Σ term. */
export interface SumCall {
  readonly name: string;
  /** Operands of one shape by the names that the term uses. */
  readonly operands: Readonly<Record<string, Value>>;
  /** What is added, as WGSL. */
  readonly term: string;
  readonly scale: number;
  /** Of the types of {@linkcode sumTypes}. */
  readonly outputs: V2;
}

/** The dispatches of a sum of all elements of a term. */
export function sumKernels({ name, operands, term, scale, outputs }: SumCall, target: Target): Kernel[] {
  const [output, scratch] = outputs;
  const values = Object.values(operands);
  const count = size(values[0]!.shape);
  const S = partials(count);
  const wgsl = partialSums({ reads: Object.keys(operands), term });
  const first = parts(count, 1, target).map((part, i): Kernel => ({
    name,
    wgsl,
    read: values.map((v) => rowRange(v, count, part)),
    write: [{ value: scratch, offset: i * S, length: S }],
    uniform: [part.hi - part.lo, S],
    workgroups: S / SUM_LANES,
    trips: Math.ceil((part.hi - part.lo) / 4 / S),
  }));
  const D = size(scratch.shape);
  const shader = rowSumShader({ D, group: rowGroup(target) });
  const words = [floatBits(scale)];
  return [...first, ...rowKernels({ name, N: 1, D, shader, rows: [scratch], outputs: [output], words }, target)];
}

const sumOp = defineOp<{ readonly mean: boolean }, V1, V2>({
  name: "sum",
  infer: ([x]) => sumTypes(size(x.shape), x.graph.target),
  kernels: ({ inputs: [x], outputs, attrs: { mean } }, target) =>
    sumKernels({ name: "sum", operands: { x }, term: "x", scale: mean ? 1 / size(x.shape) : 1, outputs }, target),
  grad: [
    ({ inputs: [{ shape }], attrs: { mean } }, dy) =>
      dy.graph.add(spreadOp, [dy], { shape, by: mean ? 1 / size(shape) : 1 })[0],
  ],
});

const spreadOp = defineOp<{ readonly shape: Shape; readonly by: number }, V1, V1>({
  name: "spread",
  infer: (_, { shape }) => [{ shape, dtype: "f32" }],
  kernels: ({ inputs: [s], outputs: [output], attrs: { by } }, target) =>
    broadcastKernels({ name: "spread", operands: { s: ["single", s] }, expression: "s * p.x", output, x: by }, target),
});

/** y[1]: the sum of all elements. */
export function sum(x: Value): Value {
  return x.graph.add(sumOp, [x], { mean: false })[0];
}

/** y[1]: the mean of all elements. */
export function mean(x: Value): Value {
  return x.graph.add(sumOp, [x], { mean: true })[0];
}

const dotOp = defineOp<null, V2, V2>({
  name: "dot",
  infer(inputs) {
    const [{ shape }] = sameShape("dot", inputs);
    return sumTypes(size(shape), inputs[0].graph.target);
  },
  kernels: ({ inputs: [a, b], outputs }, target) =>
    sumKernels({ name: "dot", operands: { a, b }, term: "a * b", scale: 1, outputs }, target),
});

/**
 * y[1] = Σ a · b over all elements. It has no gradient of its own.
 *
 * @throws {ShapeError} if the shapes differ.
 */
export function dot(a: Value, b: Value): Value {
  return a.graph.add(dotOp, [a, b], null)[0];
}

const rowSumOp = defineOp<null, V1, V1>({
  name: "rowSum",
  infer([x]) {
    const { N } = dims("rowSum", { x: "N D" }, { x });
    return [{ shape: [N], dtype: "f32" }];
  },
  kernels({ inputs: [x], outputs }, target) {
    const [N, D] = x.shape as [number, number];
    const shader = rowSumShader({ D, group: rowGroup(target) });
    return rowKernels({ name: "rowSum", N, D, shader, rows: [x], outputs, words: [floatBits(1)] }, target);
  },
  grad: [({ inputs: [{ shape }] }, dy) => dy.graph.add(spreadRowsOp, [dy], { D: shape[1]! })[0]],
});

const spreadRowsOp = defineOp<{ readonly D: number }, V1, V1>({
  name: "spreadRows",
  infer: ([s], { D }) => [{ shape: [s.shape[0]!, D], dtype: "f32" }],
  kernels: ({ inputs: [s], outputs: [output], attrs: { D } }, target) =>
    broadcastKernels({ name: "spreadRows", D, operands: { s: ["rows", s] }, expression: "s", output }, target),
});

/**
 * y[N] = Σ_d x[n, d].
 *
 * @throws {ShapeError} if x is not a matrix.
 */
export function rowSum(x: Value): Value {
  return x.graph.add(rowSumOp, [x], null)[0];
}
