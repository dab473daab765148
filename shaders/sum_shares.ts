// Adds the shares of a product that was cut along its summands: y[i] = sum over s of x[s, i], in order of s.
//
// One invocation per vector of four words (or per word); sizes come from the uniform, so all products share the text.
import { flatWorkgroup } from "./lib/index.ts";
import { wgsl } from "./wgsl.ts";

/** Invocations of a workgroup. */
export const SUM_LANES = 64;

/** x[S, D] → y[D]; uniform p: S, and D in vectors or words. */
export function sumShares({ vector }: { readonly vector: boolean }): string {
  const type = vector ? "vec4f" : "f32";
  return wgsl`
struct P { S: u32, width: u32 }
@group(0) @binding(0) var<storage, read> x_in: array<${type}>;
@group(0) @binding(1) var<storage, read_write> y_out: array<${type}>;
@group(0) @binding(2) var<uniform> p: P;
${flatWorkgroup()}

@compute @workgroup_size(${SUM_LANES})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(id, groups) * ${SUM_LANES}u + lane;
  if (i >= p.width) { return; }
  var sum = ${type}();
  for (var s = 0u; s < p.S; s++) { sum += x_in[s * p.width + i]; }
  y_out[i] = sum;
}`;
}
