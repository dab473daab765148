// Sums over the rows of a matrix: y[d] = Σ_n term(n, d), in a fixed order and without atomics.
//
// One invocation per block of rows and vector of columns; it walks the rows of its block, four at a time. The partial
// sums of all blocks are a matrix again, whose single block is the result.
import { flatMain } from "./lib/index.ts";
import { vectorsOf } from "./lib/rows.ts";
import { wgsl } from "./wgsl.ts";

/** Invocations of a workgroup. */
export const COLUMN_LANES = 64;

/** Rows of one block are a multiple of this. */
export const ROWS_AT_ONCE = 4;

/** Options of {@linkcode columnSum}. */
export interface ColumnSumOptions {
  /** Width of a row. */
  readonly D: number;
  /** Names of operands `[N, D]`, in binding order. */
  readonly matrices: readonly string[];
  /** Names of operands `[N]`, one number a row, bound after the matrices. */
  readonly perRow: readonly string[];
  /** What is added, such as `"dy * (x * r)"`. */
  readonly term: string;
}

/** a[N, D], …, r[N], … → y[blocks, D]; uniform p: rows, rows of a block, blocks, first block of y. */
export function columnSum({ D, matrices, perRow, term }: ColumnSumOptions): string {
  const { vector, width } = vectorsOf(D);
  const names = [...matrices, ...perRow];
  const declarations = names.map((name, i) =>
    `@group(0) @binding(${i}) var<storage, read> ${name}_in: array<${i < matrices.length ? "Vector" : "f32"}>;`
  ).join("\n");
  const loads = [
    ...matrices.map((name) => `let ${name} = ${name}_in[n * WIDTH + c];`),
    ...perRow.map((name) => `let ${name} = ${name}_in[n];`),
  ].join(" ");
  const unrolled = Array.from({ length: ROWS_AT_ONCE }, (_, k) => `    sum${k} += term(row + ${k}u, c);`).join("\n");
  const sums = Array.from({ length: ROWS_AT_ONCE }, (_, k) => `sum${k}`);
  return wgsl`
alias Vector = ${vector ? "vec4f" : "f32"};
const WIDTH = ${width}u;
struct P { rows: u32, block: u32, blocks: u32, first: u32 }
${declarations}
@group(0) @binding(${names.length}) var<storage, read_write> y_out: array<Vector>;
@group(0) @binding(${names.length + 1}) var<uniform> p: P;
fn term(n: u32, c: u32) -> Vector { ${loads} return ${term}; }
${flatMain(COLUMN_LANES)}
  let block = i / WIDTH;
  let c = i % WIDTH;
  if (block >= p.blocks) { return; }
  let end = min(p.rows, (block + 1u) * p.block);
  var row = block * p.block;
${sums.map((sum) => `  var ${sum} = Vector();`).join("\n")}
  for (; row + ${ROWS_AT_ONCE}u <= end; row += ${ROWS_AT_ONCE}u) {
${unrolled}
  }
  for (; row < end; row++) { sum0 += term(row, c); }
  y_out[(p.first + block) * WIDTH + c] = (sum0 + sum1) + (sum2 + sum3);
}`;
}
