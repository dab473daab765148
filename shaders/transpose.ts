// y[d, n] = x[n, d]. One invocation per number of y: it serves tables of few columns, which are read but once a step.
import { flatMain } from "./lib/index.ts";
import { wgsl } from "./wgsl.ts";

/** Invocations of a workgroup. */
export const TRANSPOSE_LANES = 64;

/** x[N, D] → y[D, N]; uniform p: N, D. */
export function transpose(): string {
  return wgsl`
struct P { N: u32, D: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> p: P;
${flatMain(TRANSPOSE_LANES)}
  if (i >= p.N * p.D) { return; }
  y[i] = x[i % p.N * p.D + i / p.N];
}`;
}
