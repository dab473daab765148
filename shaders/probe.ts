// Kernels that measure the machine or prove that it computes: for the self-test.
import { flatWorkgroup } from "./lib/index.ts";
import { wgsl } from "./wgsl.ts";

/** Independent chains of vectors in {@linkcode fmaPeak}: they hide the latency of one and fit 16 registers of a CPU. */
const CHAINS = 2;

/** Multiply-adds of each chain a turn of the loop: the loop itself costs little then. */
const UNROLL = 16;

/** Floating-point operations of one invocation a turn in {@linkcode fmaPeak}: a multiply-add counts as two. */
export const FMA_OPERATIONS = 2 * 4 * CHAINS * UNROLL;

/** Invocations of a workgroup of {@linkcode fmaPeak}. */
export const FMA_LANES = 64;

/** → count[1]: how many of `p.turns` turns a loop makes before the driver stops it. One invocation. */
export function loopCount(): string {
  return wgsl`
struct P { turns: u32 }
@group(0) @binding(0) var<storage, read_write> count: array<f32>;
@group(0) @binding(1) var<uniform> p: P;

@compute @workgroup_size(1)
fn main() {
  var done = 0u;
  for (var i = 0u; i < p.turns; i++) { done += 1u; }
  count[0] = f32(done);
}`;
}

/** → ids[n]: every workgroup writes its own number, so that a fold into two dimensions must cover all of them. */
export function workgroupIds(): string {
  return wgsl`
struct P { count: u32 }
@group(0) @binding(0) var<storage, read_write> ids: array<f32>;
@group(0) @binding(1) var<uniform> p: P;
${flatWorkgroup()}

@compute @workgroup_size(1)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_workgroup(id, groups);
  if (i < p.count) { ids[i] = f32(i); }
}`;
}

/** x[n] → flags[n]: 1 where x is NaN or infinite, by its bits; comparisons may take NaN for a number. */
export function nonFinite(): string {
  return wgsl`
struct P { count: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> flags: array<f32>;
@group(0) @binding(2) var<uniform> p: P;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= p.count) { return; }
  let exponent = bitcast<u32>(x[id.x]) & 0x7f800000u;
  flags[id.x] = select(0.0, 1.0, exponent == 0x7f800000u);
}`;
}

/** → y[n]: `p.turns` times FMA_OPERATIONS operations an invocation, in registers only. */
export function fmaPeak(): string {
  const chains = Array.from({ length: CHAINS }, (_, i) => `chain${i}`);
  const start = chains.map((chain, i) => `  var ${chain} = vec4f(f32(id.x)) + vec4f(${4 * i}.0, 1.0, 2.0, 3.0);`);
  const step = chains.map((chain) => `    ${chain} = ${chain} * factor + term;`).join("\n");
  return wgsl`
struct P { turns: u32 }
@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@group(0) @binding(1) var<uniform> p: P;

@compute @workgroup_size(${FMA_LANES})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let term = 1.0 / f32(p.turns);
  let factor = 1.0 - term;
${start.join("\n")}
  for (var i = 0u; i < p.turns; i++) {
${Array.from({ length: UNROLL }, () => step).join("\n")}
  }
  y[id.x] = dot(${chains.join(" + ")}, vec4f(1.0));
}`;
}
