// y[i] = x[i] · s[word]: a factor that only the device knows. One invocation per vector; tails are written as zero.
import { flatWorkgroup } from "./lib/index.ts";
import { wgsl } from "./wgsl.ts";

/** Invocations of a workgroup. */
export const SCALE_BY_LANES = 64;

/** x[n], s[·] → y[n]; uniform p: count, word. */
export function scaleBy(): string {
  return wgsl`
struct P { count: u32, word: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> s: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(3) var<uniform> p: P;
${flatWorkgroup()}

@compute @workgroup_size(${SCALE_BY_LANES})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(id, groups) * ${SCALE_BY_LANES}u + lane;
  if (4u * i >= p.count) { return; }
  let inside = vec4u(4u * i) + vec4u(0u, 1u, 2u, 3u) < vec4u(p.count);
  y[i] = select(vec4f(), x[i] * s[p.word], inside);
}`;
}
