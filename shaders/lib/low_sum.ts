// The narrow second product of kernels that make one number of c at a time.
import { type ProductFeatures, productLoader } from "./product.ts";
import { wgsl } from "../wgsl.ts";

/** `low_sum(batch, m, n)`: low_a[m] · low_b[n] in units of alpha, or zero where there is no second product. */
export function lowSum({ low }: ProductFeatures): string {
  return wgsl`
#if ${low !== undefined}
${productLoader("low_a", low?.vectors.a ?? false)}
${productLoader("low_b", low?.vectors.b ?? false)}
fn low_sum(batch: u32, m: u32, n: u32) -> f32 {
  let part = part_of(batch);
  let a_at = start(p.low_a, batch) + part.low_a + min(m, part.M - 1u) * p.low_a.stride;
  let b_at = start(p.low_b, batch) + part.low_b;
  let column = min(n, part.N - 1u);
  var sum = 0.0;
  for (var r = 0u; r < low_summands(batch); r++) {
    sum += word_low_a(a_at + r) * word_low_b(b_at + ${
    low?.tb ? "column * p.low_b.stride + r" : "r * p.low_b.stride + column"
  });
  }
  return sum * p.low_ratio;
}
#else
fn low_sum(batch: u32, m: u32, n: u32) -> f32 { return 0.0; }
#endif`;
}
