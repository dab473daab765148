// RMS norms of the heads of queries and keys where they lie beside the values (Qwen3; equations in rms_norm.ts).
//
// x[N, (H + 2·K)·E]: the first H heads have one weight, the next K another, the rest is copied; gradients go the same
// way. One group of lanes per head of a row.
import { declareBuffers } from "./lib/bindings.ts";
import { flatWorkgroup } from "./lib/index.ts";
import { type LaneGroup, reduction } from "./lib/reduce.ts";
import { rowMain, type RowShader, type RowWalk, rowWalk } from "./lib/rows.ts";
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

/** A kernel up to where the lanes hold a head that is normed; of the others `copy` is in `to` already. */
function opening(
  { H, K, group }: Omit<HeadNormOptions, "eps">,
  row: RowWalk,
  { reads, writes, copy, to }: Readonly<Record<"reads" | "writes", readonly string[]> & Record<"copy" | "to", string>>,
): string {
  return wgsl`
struct P { rows: u32, first: u32 }
const QUERIES = ${H}u;
const NORMED = ${H + K}u;
const HEADS = ${H + 2 * K}u;
${row.header}
${declareBuffers(reads, writes)}
${flatWorkgroup()}
${reduction(group, { name: "row_sum", type: "f32", combine: "sum" })}
fn gain(head: u32, c: u32) -> Vector {
  if (head < QUERIES) { return wq_in[c]; }
  return wk_in[c];
}
${rowMain(group.lanes)}
  let head = (p.first + n) % HEADS;
  let start = n * WIDTH;
${row.load}
  if (head >= NORMED) {
${row.pass(`${to}[start + c] = ${copy};`)}
    return;
  }`;
}

const vectors = (...names: string[]) => names.map((name) => `${name}: array<Vector>`);

/** x[N, (H + 2·K)·E], wq[E], wk[E] → y like x, r[N, H + 2·K] */
export function headNorm({ eps, ...options }: HeadNormOptions): RowShader {
  const row = rowWalk({ D: options.E, group: options.group, values: { x: "x_in[start + c]" } });
  const reads = vectors("x_in", "wq_in", "wk_in"), writes = [...vectors("y_out"), "r_out: array<f32>"];
  const text = wgsl`
${opening(options, row, { reads, writes, copy: "x", to: "y_out" })}
  var square = Vector();
${row.pass("square += x * (x * (1.0 / D));")}
  let r = inverseSqrt(row_sum(total(square), lane) + ${eps});
  if (lane == 0u) { r_out[n] = r; }
${row.pass("y_out[start + c] = x * r * gain(head, c);")}
}`;
  return { wgsl: text, trips: 3 * row.trips };
}

/** x[N, (H + 2·K)·E], r[N, H + 2·K], dy like x, wq[E], wk[E] → dx */
export function headNormGrad(options: Omit<HeadNormOptions, "eps">): RowShader {
  const values = { x: "x_in[start + c]", dy: "dy_in[start + c]" };
  const row = rowWalk({ D: options.E, group: options.group, values });
  const reads = [...vectors("x_in"), "r_in: array<f32>", ...vectors("dy_in", "wq_in", "wk_in")];
  const text = wgsl`
${opening(options, row, { reads, writes: vectors("dx_out"), copy: "dy", to: "dx_out" })}
  let r = r_in[n];
  var product = Vector();
${row.pass("product += dy * gain(head, c) * (x * r);")}
  let mean = row_sum(total(product), lane) / D;
${row.pass("dx_out[start + c] = r * (dy * gain(head, c) - x * r * mean);")}
}`;
  return { wgsl: text, trips: 3 * row.trips };
}
