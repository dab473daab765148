// y[d] = Σ_n x[n, d], and the fused form that gradients of weights need: blocks of rows first, then their sums.
import { COLUMN_LANES, columnSum as shader, ROWS_AT_ONCE } from "../../shaders/column_sum.ts";
import { dims, size, type TensorType } from "../core/dims.ts";
import { defineOp, type Kernel, type V1, type V2, type Value } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import { type Part, parts, rowRange } from "./parts.ts";

/** Rows of a block, and the most blocks that the last pass should have to add. */
const BLOCK = 64;

/** A sum over rows; {@linkcode columnSumKernels}. */
export interface ColumnSumCall {
  readonly name: string;
  /** Operands `[N, D]` by the names that `term` uses. */
  readonly matrices: Readonly<Record<string, Value>>;
  /** Operands `[N]`. */
  readonly perRow?: Readonly<Record<string, Value>>;
  /** What is added for each element, as WGSL; the matrix itself where there is only one. */
  readonly term: string;
  /** y[D] */
  readonly output: Value;
  /** Of the type that {@linkcode columnScratch} says. */
  readonly scratch: Value;
}

interface Block extends Part {
  readonly block: number;
  readonly blocks: number;
  readonly first: number;
}

/** The parts of the rows, each cut into blocks; `first` is the number of a part's first block. */
function cut(N: number, D: number, target: Target): Block[] {
  const block = BLOCK * Math.max(1, Math.ceil(N / BLOCK / BLOCK));
  let first = 0;
  return parts(N, D, target).map((part) => {
    const blocks = Math.ceil((part.hi - part.lo) / block);
    first += blocks;
    return { ...part, block, blocks, first: first - blocks };
  });
}

const countBlocks = (N: number, D: number, target: Target) =>
  cut(N, D, target).reduce((sum, { blocks }) => sum + blocks, 0);

/** The type of the second output that a column sum over N rows needs. */
export function columnScratch(N: number, D: number, target: Target): TensorType {
  const blocks = countBlocks(N, D, target);
  return { shape: blocks > 1 ? [blocks, D] : [1], dtype: "f32" };
}

/** The dispatches of a sum over the rows of `term`: one where a block holds all rows, else two passes. */
export function columnSumKernels(call: ColumnSumCall, target: Target): Kernel[] {
  const { name, matrices, perRow = {}, term, output, scratch } = call;
  const inputs = [...Object.values(matrices), ...Object.values(perRow)];
  const D = size(output.shape);
  const N = size(inputs[0]!.shape) / D;
  const total = countBlocks(N, D, target);
  const pass = (wgsl: string, part: Block, read: readonly Value[], rows: number, write: Value): Kernel => ({
    name,
    wgsl,
    read: read.map((v) => rowRange(v, rows, part)),
    write: [write],
    uniform: [part.hi - part.lo, part.block, part.blocks, part.first],
    workgroups: Math.ceil(part.blocks * (D % 4 === 0 ? D / 4 : D) / COLUMN_LANES),
    trips: Math.ceil(part.block / ROWS_AT_ONCE) + ROWS_AT_ONCE,
  });
  const wgsl = shader({ D, matrices: Object.keys(matrices), perRow: Object.keys(perRow), term });
  const first = cut(N, D, target).map((part) => pass(wgsl, part, inputs, N, total > 1 ? scratch : output));
  if (total === 1) return first;
  const last = { lo: 0, hi: total, block: total, blocks: 1, first: 0 };
  return [...first, pass(shader({ D, matrices: ["x"], perRow: [], term: "x" }), last, [scratch], total, output)];
}

const columnSumOp = defineOp<null, V1, V2>({
  name: "columnSum",
  infer([x]) {
    const { N, D } = dims("columnSum", { x: "N D" }, { x });
    return [{ shape: [D], dtype: "f32" }, columnScratch(N, D, x.graph.target)];
  },
  kernels: ({ inputs: [x], outputs: [output, scratch] }, target) =>
    columnSumKernels({ name: "columnSum", matrices: { x }, term: "x", output, scratch }, target),
});

/**
 * y[D] = Σ_n x[n, D]: the gradient of a bias. In a fixed order, so results are the same in every run.
 *
 * @throws {ShapeError} if x is not a matrix.
 */
export function columnSum(x: Value): Value {
  return x.graph.add(columnSumOp, [x], null)[0];
}
