// Softmax over the rows of a matrix, or its logarithm.
//
//   forward    y  = exp(x - max(x)) / Σ exp(x - max(x))    log y = x - max(x) - log Σ exp(x - max(x))
//   gradient   dx = y·(dy - Σ y·dy)                        dx    = dy - exp(log y)·Σ dy
//
// One group of lanes per row. The largest term of the sum is 1, so nothing overflows, nothing is divided by zero, and
// the logarithm is finite.
import { flatWorkgroup } from "./lib/index.ts";
import { type LaneGroup, reduction } from "./lib/reduce.ts";
import { rowMain, type RowShader, rowWalk, vectorsOf } from "./lib/rows.ts";
import { wgsl } from "./wgsl.ts";

/** Options of {@linkcode softmax}. */
export interface SoftmaxOptions {
  /** Width of a row. */
  readonly D: number;
  readonly group: LaneGroup;
  /** Whether y is the logarithm of the softmax. */
  readonly log: boolean;
}

/** x[N, D] → y[N, D] */
export function softmax({ D, group, log }: SoftmaxOptions): RowShader {
  const row = rowWalk({ D, group, values: { x: "x_in[start + c]" } });
  const { vector } = vectorsOf(D);
  const text = wgsl`
struct P { rows: u32 }
${row.header}
@group(0) @binding(0) var<storage, read> x_in: array<Vector>;
@group(0) @binding(1) var<storage, read_write> y_out: array<Vector>;
@group(0) @binding(2) var<uniform> p: P;
${flatWorkgroup()}
${reduction(group, { name: "row_sum", type: "f32", combine: "sum" })}
${reduction(group, { name: "row_max", type: "f32", combine: "max" })}
${rowMain(group.lanes)}
  let start = n * WIDTH;
${row.load}
  var most = Vector(-3e38);
${row.pass("most = max(most, x);")}
  let highest = row_max(${vector ? "max(max(most.x, most.y), max(most.z, most.w))" : "most"}, lane);
  var sum = Vector();
${row.pass("sum += exp(x - highest);")}
#if ${log}
  let whole = log(row_sum(total(sum), lane));
${row.pass("y_out[start + c] = (x - highest) - whole;")}
#else
  let scale = 1.0 / row_sum(total(sum), lane);
${row.pass("y_out[start + c] = exp(x - highest) * scale;")}
#endif
}`;
  return { wgsl: text, trips: 3 * row.trips };
}

/** y[N, D], dy[N, D] → dx[N, D] */
export function softmaxGrad({ D, group, log }: SoftmaxOptions): RowShader {
  const row = rowWalk({ D, group, values: { y: "y_in[start + c]", dy: "dy_in[start + c]" } });
  const text = wgsl`
struct P { rows: u32 }
${row.header}
@group(0) @binding(0) var<storage, read> y_in: array<Vector>;
@group(0) @binding(1) var<storage, read> dy_in: array<Vector>;
@group(0) @binding(2) var<storage, read_write> dx_out: array<Vector>;
@group(0) @binding(3) var<uniform> p: P;
${flatWorkgroup()}
${reduction(group, { name: "row_sum", type: "f32", combine: "sum" })}
${rowMain(group.lanes)}
  let start = n * WIDTH;
${row.load}
  var part = Vector();
${row.pass(log ? "part += dy;" : "part += y * dy;")}
  let whole = row_sum(total(part), lane);
${row.pass(`dx_out[start + c] = ${log ? "dy - exp(y) * whole" : "y * (dy - whole)"};`)}
}`;
  return { wgsl: text, trips: 2 * row.trips };
}
