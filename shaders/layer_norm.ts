// Layer normalization (arXiv:1607.06450), with h = (x - mean)·r and g = w·dy.
//
//   forward    y  = h·w + b                          r = 1 / sqrt(mean((x - mean)²) + eps)
//   gradient   dx = r·(g - mean(g) - h·mean(g·h))    dw = Σ over rows of dy·h, db = Σ over rows of dy (column_sum.ts)
//
// One group of lanes per row. The mean is taken of x minus the row's first number, so that a constant row has exactly
// no deviation; squares are divided by D before they are added, so that rows of 1e18 do not overflow.
import { flatWorkgroup } from "./lib/index.ts";
import { type LaneGroup, reduction } from "./lib/reduce.ts";
import { rowMain, type RowShader, rowWalk } from "./lib/rows.ts";
import { wgsl } from "./wgsl.ts";

/** Options of {@linkcode layerNorm}. */
export interface LayerNormOptions {
  /** Width of a row. */
  readonly D: number;
  readonly eps: number;
  readonly group: LaneGroup;
}

/** x[N, D], w[D], b[D] → y[N, D], mean[N], r[N] */
export function layerNorm({ D, eps, group }: LayerNormOptions): RowShader {
  const row = rowWalk({ D, group, values: { x: "x_in[start + c]" } });
  const text = wgsl`
struct P { rows: u32 }
${row.header}
const EPS = ${eps};
@group(0) @binding(0) var<storage, read> x_in: array<Vector>;
@group(0) @binding(1) var<storage, read> w_in: array<Vector>;
@group(0) @binding(2) var<storage, read> b_in: array<Vector>;
@group(0) @binding(3) var<storage, read_write> y_out: array<Vector>;
@group(0) @binding(4) var<storage, read_write> mean_out: array<f32>;
@group(0) @binding(5) var<storage, read_write> r_out: array<f32>;
@group(0) @binding(6) var<uniform> p: P;
${flatWorkgroup()}
${reduction(group, { name: "row_sum", type: "f32", combine: "sum" })}
${rowMain(group.lanes)}
  let start = n * WIDTH;
  let first = x_in[start]${D % 4 === 0 ? ".x" : ""};
${row.load}
  var sum = Vector();
${row.pass("sum += x - first;")}
  let mean = first + row_sum(total(sum), lane) / D;
  var square = Vector();
${row.pass("let d = x - mean; square += d * (d * (1.0 / D));")}
  let r = inverseSqrt(row_sum(total(square), lane) + EPS);
  if (lane == 0u) {
    mean_out[n] = mean;
    r_out[n] = r;
  }
${row.pass("y_out[start + c] = (x - mean) * r * w_in[c] + b_in[c];")}
}`;
  return { wgsl: text, trips: 3 * row.trips };
}

/** x[N, D], mean[N], r[N], dy[N, D], (more[N, D]), w[D] → dx[N, D] (+ more) */
export function layerNormGrad(
  { D, group, more }: Omit<LayerNormOptions, "eps"> & { readonly more: boolean },
): RowShader {
  const row = rowWalk({ D, group, values: { h: "(x_in[start + c] - mean) * r", g: "dy_in[start + c] * w_in[c]" } });
  const text = wgsl`
struct P { rows: u32 }
${row.header}
@group(0) @binding(0) var<storage, read> x_in: array<Vector>;
@group(0) @binding(1) var<storage, read> mean_in: array<f32>;
@group(0) @binding(2) var<storage, read> r_in: array<f32>;
@group(0) @binding(3) var<storage, read> dy_in: array<Vector>;
#if ${more}
@group(0) @binding(4) var<storage, read> more_in: array<Vector>;
#endif
@group(0) @binding(${more ? 5 : 4}) var<storage, read> w_in: array<Vector>;
@group(0) @binding(${more ? 6 : 5}) var<storage, read_write> dx_out: array<Vector>;
@group(0) @binding(${more ? 7 : 6}) var<uniform> p: P;
${flatWorkgroup()}
${reduction(group, { name: "row_sum", type: "vec2f", combine: "sum" })}
${rowMain(group.lanes)}
  let start = n * WIDTH;
  let mean = mean_in[n];
  let r = r_in[n];
${row.load}
  var sum = Vector();
  var product = Vector();
${row.pass("sum += g; product += g * h;")}
  let means = row_sum(vec2f(total(sum), total(product)), lane) / D;
${row.pass(`dx_out[start + c] = r * (g - means.x - h * means.y)${more ? " + more_in[start + c]" : ""};`)}
}`;
  return { wgsl: text, trips: 2 * row.trips };
}
