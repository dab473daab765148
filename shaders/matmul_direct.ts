// c = alpha · a·b (+ low) (+ bias) (+ add): one invocation per output element, any shape, no reuse.
//
// Lanes run along a row of c; workgroup [x, y, z] = [64 columns, row, batch].
import { type ProductFeatures, productPrelude } from "./lib/product.ts";
import { wgsl } from "./wgsl.ts";

/** Columns of a workgroup. */
export const DIRECT_LANES = 64;

/** a[M, K], b[K, N], (bias[N]), (add[M, N]), (low_a[M, R], low_b[R, N]) → c[M, N] */
export function matmulDirect(features: ProductFeatures): string {
  const { ta, tb, low } = features;
  const at = (stored: boolean, matrix: string, row: string, column: string) =>
    stored ? `${column} * ${matrix}.stride + ${row}` : `${row} * ${matrix}.stride + ${column}`;
  return wgsl`
${productPrelude(features)}

@compute @workgroup_size(${DIRECT_LANES})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = id.x * ${DIRECT_LANES}u + lane;
  let m = id.y;
  let batch = id.z;
  if (n >= p.N) { return; }
  let row = m + p.m_base;
  if (p.causal == 1u && n + p.n_base > row) { return; }
  let first = select(0u, max(row, p.k_base) - p.k_base, p.causal == 3u);
  let end = select(p.K, min(p.K, max(row + 1u, p.k_base) - p.k_base), p.causal == 2u);
  var sum = 0.0;
  for (var r = 0u; r < p.repeat; r++) {
    let a = start(p.a, batch) + r * p.a.repeat;
    let b = start(p.b, batch) + r * p.b.repeat;
    for (var k = first; k < end; k++) { sum += a_in[a + ${at(ta, "p.a", "m", "k")}] * b_in[b + ${
    at(tb, "p.b", "k", "n")
  }]; }
  }
  #if ${low !== undefined}
  for (var k = 0u; k < p.R; k++) {
    sum += p.low_ratio * low_a_in[start(p.low_a, batch) + m * p.low_a.stride + k] *
      low_b_in[start(p.low_b, batch) + ${at(low?.tb ?? false, "p.low_b", "k", "n")}];
  }
#endif
  finish(sum, home(batch), m, n);
}`;
}
