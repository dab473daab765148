// RMS norms of the heads of queries and keys where they lie beside the values (Qwen3; equations in rms_norm.ts).
//
// x[N, (H + 2·K)·E]: the first H heads have one weight, the next K another, the rest is copied; gradients go the same
// way. One group of lanes per head of a row.
import { declareBuffers } from "./lib/bindings.ts";
import { flatWorkgroup } from "./lib/index.ts";
import { type LaneGroup, reduction } from "./lib/reduce.ts";
import { rowMain, type RowShader, rowWalk } from "./lib/rows.ts";
import { wgsl } from "./wgsl.ts";

/** Options of {@linkcode headNorm}. */
export interface HeadNormOptions {
  /** Heads of the queries. */
  readonly H: number;
  /** Heads of the keys, and of the values. */
  readonly K: number;
  /** Columns of a head. */
  readonly E: number;
  readonly eps: number;
  readonly group: LaneGroup;
}

const heads = (H: number, K: number) =>
  wgsl`
struct P { rows: u32, first: u32 }
const QUERIES = ${H}u;
const NORMED = ${H + K}u;
const HEADS = ${H + 2 * K}u;
fn gain(head: u32, c: u32) -> Vector {
  if (head < QUERIES) { return wq_in[c]; }
  return wk_in[c];
}`;

/** x[N, (H + 2·K)·E], wq[E], wk[E] → y like x, r[N, H + 2·K] */
export function headNorm({ H, K, E, eps, group }: HeadNormOptions): RowShader {
  const row = rowWalk({ D: E, group, values: { x: "x_in[start + c]" } });
  const buffers = ["x_in", "wq_in", "wk_in"].map((name) => `${name}: array<Vector>`);
  const text = wgsl`
${row.header}
const EPS = ${eps};
${declareBuffers(buffers, ["y_out: array<Vector>", "r_out: array<f32>"])}
${flatWorkgroup()}
${reduction(group, { name: "row_sum", type: "f32", combine: "sum" })}
${heads(H, K)}
${rowMain(group.lanes)}
  let head = (p.first + n) % HEADS;
  let start = n * WIDTH;
${row.load}
  if (head >= NORMED) {
${row.pass("y_out[start + c] = x;")}
    return;
  }
  var square = Vector();
${row.pass("square += x * (x * (1.0 / D));")}
  let r = inverseSqrt(row_sum(total(square), lane) + EPS);
  if (lane == 0u) { r_out[n] = r; }
${row.pass("y_out[start + c] = x * r * gain(head, c);")}
}`;
  return { wgsl: text, trips: 3 * row.trips };
}

/** x[N, (H + 2·K)·E], r[N, H + 2·K], dy like x, wq[E], wk[E] → dx */
export function headNormGrad({ H, K, E, group }: Omit<HeadNormOptions, "eps">): RowShader {
  const row = rowWalk({ D: E, group, values: { x: "x_in[start + c]", dy: "dy_in[start + c]" } });
  const text = wgsl`
${row.header}
${
    declareBuffers([
      "x_in: array<Vector>",
      "r_in: array<f32>",
      ...["dy_in", "wq_in", "wk_in"].map((name) => `${name}: array<Vector>`),
    ], ["dx_out: array<Vector>"])
  }
${flatWorkgroup()}
${reduction(group, { name: "row_sum", type: "f32", combine: "sum" })}
${heads(H, K)}
${rowMain(group.lanes)}
  let head = (p.first + n) % HEADS;
  let start = n * WIDTH;
${row.load}
  if (head >= NORMED) {
${row.pass("dx_out[start + c] = dy;")}
    return;
  }
  let r = r_in[n];
  var product = Vector();
${row.pass("product += dy * gain(head, c) * (x * r);")}
  let mean = row_sum(total(product), lane) / D;
${row.pass("dx_out[start + c] = r * (dy * gain(head, c) - x * r * mean);")}
}`;
  return { wgsl: text, trips: 3 * row.trips };
}
