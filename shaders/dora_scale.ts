// DoRA's factors (arXiv:2402.09353): c = m / n with the norm n of every row of W + s·B·A, from small products.
//
//   n² = ‖W‖² + Σ_r B[o, r]·(2·s·G[r, o] + s²·H[r, o])      G = A·Wᵀ[R, Out],  H = (A·Aᵀ)·Bᵀ[R, Out]
//
// One invocation per row o.
import { flatMain } from "./lib/index.ts";
import { wgsl } from "./wgsl.ts";

/** Invocations of a workgroup. */
export const DORA_LANES = 64;

/** m[Out], square[Out], b[Out, R], g[R, Out], h[R, Out] → c[Out], inverse[Out] = 1 / n; uniform p: Out, s. */
export function doraScale({ R }: { readonly R: number }): string {
  return wgsl`
const R = ${R}u;
struct P { rows: u32, s: f32 }
@group(0) @binding(0) var<storage, read> m: array<f32>;
@group(0) @binding(1) var<storage, read> square: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read> g: array<f32>;
@group(0) @binding(4) var<storage, read> h: array<f32>;
@group(0) @binding(5) var<storage, read_write> c: array<f32>;
@group(0) @binding(6) var<storage, read_write> inverse: array<f32>;
@group(0) @binding(7) var<uniform> p: P;
${flatMain(DORA_LANES, "o")}
  if (o >= p.rows) { return; }
  var sum = square[o];
  for (var r = 0u; r < R; r++) {
    sum += p.s * b[o * R + r] * (2.0 * g[r * p.rows + o] + p.s * h[r * p.rows + o]);
  }
  // A row of zeros has no direction: its factor is zero, as is what it would scale.
  let i = select(inverseSqrt(sum), 0.0, sum <= 0.0);
  inverse[o] = i;
  c[o] = m[o] * i;
}`;
}
