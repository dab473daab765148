// One column of x[B·T, C] as rows: y[b, t] = x[b·T + t, column] for from ≤ t < to, elsewhere a number that no softmax sees.
//
//   dx[n, c] = dy[n] where c = column and from ≤ n mod T < to, else 0
//
// One invocation per number; each part of the rows [first, first + rows) is one dispatch.
import { flatMain } from "./lib/index.ts";
import { wgsl } from "./wgsl.ts";

/** Invocations of a workgroup. */
export const COLUMNS_LANES = 64;

/** Which pass: forward x → y, or backward dy → dx. */
export interface ColumnsOptions {
  readonly C: number;
  readonly column: number;
  readonly backward: boolean;
}

/** x[rows, C], columns[2] → y[rows], or dy[rows], columns[2] → dx[rows, C]; uniform p: rows, first, T. */
export function columnAsRows({ C, column, backward }: ColumnsOptions): string {
  return wgsl`
struct P { rows: u32, first: u32, T: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> columns: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> p: P;

fn seen(n: u32) -> bool {
  let t = (p.first + n) % p.T;
  return columns[0] <= t && t < columns[1];
}
${flatMain(COLUMNS_LANES)}
#if ${backward}
  let n = i / ${C}u;
  if (n >= p.rows) { return; }
  let counts = i % ${C}u == ${column}u && seen(n);
  y[i] = select(0.0, x[n], counts);
#else
  if (i >= p.rows) { return; }
  y[i] = select(-1e30, x[i * ${C}u + ${column}u], seen(i));
#endif
}`;
}
