// Root-mean-square normalization (arXiv:1910.07467), with g = w (or 1 + w) and h = x·r.
//
//   forward    y  = h·g                              r = 1 / sqrt(mean(x²) + eps)
//   gradient   dx = r·(g·dy - h·mean(g·dy·h))        dw = Σ over rows of dy·h (column_sum.ts)
//
// One group of lanes per row. Squares are divided by D before they are added, so that rows of 1e18 do not overflow.
import { flatWorkgroup } from "./lib/index.ts";
import { type LaneGroup, reduction } from "./lib/reduce.ts";
import { rowMain, type RowShader, rowWalk } from "./lib/rows.ts";
import { wgsl } from "./wgsl.ts";

/** Options of {@linkcode rmsNorm}. */
export interface RmsNormOptions {
  /** Width of a row. */
  readonly D: number;
  readonly eps: number;
  /** The weight is stored as an offset from one (Gemma). */
  readonly offset: boolean;
  readonly group: LaneGroup;
}

const gain = (offset: boolean) =>
  wgsl`
#if ${offset}
fn gain(c: u32) -> Vector { return Vector(1.0) + w_in[c]; }
#else
fn gain(c: u32) -> Vector { return w_in[c]; }
#endif`;

/** x[N, D], w[D] → y[N, D], r[N] */
export function rmsNorm({ D, eps, offset, group }: RmsNormOptions): RowShader {
  const row = rowWalk({ D, group, values: { x: "x_in[start + c]" } });
  const text = wgsl`
struct P { rows: u32 }
${row.header}
const EPS = ${eps};
@group(0) @binding(0) var<storage, read> x_in: array<Vector>;
@group(0) @binding(1) var<storage, read> w_in: array<Vector>;
@group(0) @binding(2) var<storage, read_write> y_out: array<Vector>;
@group(0) @binding(3) var<storage, read_write> r_out: array<f32>;
@group(0) @binding(4) var<uniform> p: P;
${flatWorkgroup()}
${reduction(group, { name: "row_sum", type: "f32", combine: "sum" })}
${gain(offset)}
${rowMain(group.lanes)}
  let start = n * WIDTH;
${row.load}
  var square = Vector();
${row.pass("square += x * (x * (1.0 / D));")}
  let r = inverseSqrt(row_sum(total(square), lane) + EPS);
  if (lane == 0u) { r_out[n] = r; }
${row.pass("y_out[start + c] = x * r * gain(c);")}
}`;
  return { wgsl: text, trips: 2 * row.trips };
}

/** x[N, D], r[N], dy[N, D], (more[N, D]), w[D] → dx[N, D] (+ more) */
export function rmsNormGrad(
  { D, offset, group, more }: Omit<RmsNormOptions, "eps"> & { readonly more: boolean },
): RowShader {
  const row = rowWalk({ D, group, values: { h: "x_in[start + c] * r", g: "dy_in[start + c] * gain(c)" } });
  const text = wgsl`
struct P { rows: u32 }
${row.header}
@group(0) @binding(0) var<storage, read> x_in: array<Vector>;
@group(0) @binding(1) var<storage, read> r_in: array<f32>;
@group(0) @binding(2) var<storage, read> dy_in: array<Vector>;
#if ${more}
@group(0) @binding(3) var<storage, read> more_in: array<Vector>;
#endif
@group(0) @binding(${more ? 4 : 3}) var<storage, read> w_in: array<Vector>;
@group(0) @binding(${more ? 5 : 4}) var<storage, read_write> dx_out: array<Vector>;
@group(0) @binding(${more ? 6 : 5}) var<uniform> p: P;
${flatWorkgroup()}
${reduction(group, { name: "row_sum", type: "f32", combine: "sum" })}
${gain(offset)}
${rowMain(group.lanes)}
  let start = n * WIDTH;
  let r = r_in[n];
${row.load}
  var product = Vector();
${row.pass("product += g * h;")}
  let mean = row_sum(total(product), lane) / D;
${row.pass(`dx_out[start + c] = r * (g - h * mean)${more ? " + more_in[start + c]" : ""};`)}
}`;
  return { wgsl: text, trips: 2 * row.trips };
}
