// Adds the shares of a product that was cut along its summands, in their order, and finishes c as the product would:
//
//   c = alpha · (sum over s of a[s]) (+ bias) (+ add)        a[K, M, N] holds K shares
//
// One invocation per vector of four words of c (or per word).
import { flatWorkgroup } from "./lib/index.ts";
import { type ProductFeatures, productLoader, productPrelude } from "./lib/product.ts";
import { wgsl } from "./wgsl.ts";

/** Invocations of a workgroup. */
export const SHARE_LANES = 64;

/** a[K, M, N], (bias[N]), (add[M, N]) → c[M, N] */
export function sumShares(features: ProductFeatures): string {
  const vector = features.vectors.c;
  const type = vector ? "vec4f" : "f32";
  return wgsl`
${productPrelude({ ...features, shares: true })}
${productLoader("a", vector)}
${flatWorkgroup()}

@compute @workgroup_size(${SHARE_LANES})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = ${vector ? 4 : 1}u * (flat_workgroup(id, groups) * ${SHARE_LANES}u + lane);
  if (i >= p.M * p.N) { return; }
  var sum = ${type}();
  for (var s = 0u; s < p.K; s++) { sum += ${vector ? "load_a" : "word_a"}(s * p.a.outer + i); }
  ${vector ? "finish4" : "finish"}(sum, home(0u), i / p.N, i % p.N);
}`;
}
