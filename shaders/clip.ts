// Global L2 norm of all gradients and the factor that clips them (torch.nn.utils.clip_grad_norm_).
//
//   norm = sqrt(sum of g²)       coefficient = min(1, max_norm / (norm + 1e-6)), 1 where max_norm is 0
//
// Two dispatches, the same order every time. First, each invocation sums the squares of its vectors
// into a partial sum of its own. Then one workgroup sums the partial sums as a tree. Whether all is
// finite is tested on the bits of every gradient: WGSL lets compilers assume that there is no NaN. A partial sum that met
// something else is stored as the bits of an infinity, which also is what an overflow leaves.
import { scalarWords } from "./lib/scalars.ts";
import { type Sweep, sweepLoop, sweepMain } from "./lib/sweep.ts";
import { wgsl } from "./wgsl.ts";

/** Invocations of the one workgroup of {@linkcode clip}. */
export const CLIP_LANES = 256;

/** `STATS_NORM`, `STATS_COEFFICIENT`, `STATS_NON_FINITE`: the words of `stats[4]`, which is bound as u32. */
export function statsWords(): string {
  return wgsl`
const STATS_NORM = 0u;
const STATS_COEFFICIENT = 1u;
const STATS_NON_FINITE = 2u;`;
}

function nonFinite(): string {
  return wgsl`
const INFINITY_BITS = 0x7f800000u;
fn non_finite(bits: vec4u) -> bool { return any((bits & vec4u(INFINITY_BITS)) == vec4u(INFINITY_BITS)); }`;
}

/** g[n] → partial[one per invocation], as bits; uniform p: words of g, number of partial sums. */
export function sumSquares(sweep: Sweep): string {
  return wgsl`
struct P { count: u32, partials: u32 }
@group(0) @binding(0) var<storage, read> g: array<vec4u>;
@group(0) @binding(1) var<storage, read_write> partial: array<u32>;
@group(0) @binding(2) var<uniform> p: P;
${nonFinite()}
${sweepMain(sweep)}
  let slot = group * ${sweep.lanes}u + lane;
  if (slot >= p.partials) { return; }
  var sum = vec4f();
  var bad = false;
  for (${sweepLoop(sweep)}) {
    let bits = g[i];
    let x = bitcast<vec4f>(bits);
    bad = bad || non_finite(bits);
    sum += x * x;
  }
  let total = bitcast<u32>((sum.x + sum.y) + (sum.z + sum.w));
  partial[slot] = select(total, INFINITY_BITS, bad);
}`;
}

/** partial[n], scalars[16] u32 → stats[4]; uniform p: n, a multiple of four. */
export function clip(): string {
  return wgsl`
struct P { partials: u32 }
@group(0) @binding(0) var<storage, read> partial: array<vec4u>;
@group(0) @binding(1) var<storage, read> scalars: array<u32>;
@group(0) @binding(2) var<storage, read_write> stats: array<u32>;
@group(0) @binding(3) var<uniform> p: P;
var<workgroup> sums: array<f32, ${CLIP_LANES}>;
var<workgroup> flags: array<u32, ${CLIP_LANES}>;
${scalarWords()}
${statsWords()}
${nonFinite()}

@compute @workgroup_size(${CLIP_LANES})
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = vec4f();
  var bad = false;
  for (var i = lane; 4u * i < p.partials; i += ${CLIP_LANES}u) {
    let bits = partial[i];
    bad = bad || non_finite(bits);
    sum += bitcast<vec4f>(bits);
  }
  sums[lane] = (sum.x + sum.y) + (sum.z + sum.w);
  flags[lane] = u32(bad);
  workgroupBarrier();
  for (var width = ${CLIP_LANES / 2}u; width > 0u; width /= 2u) {
    if (lane < width) {
      sums[lane] += sums[lane + width];
      flags[lane] |= flags[lane + width];
    }
    workgroupBarrier();
  }
  if (lane > 0u) { return; }
  if (flags[0] != 0u || non_finite(vec4u(bitcast<u32>(sums[0])))) {
    stats[STATS_NORM] = INFINITY_BITS;
    stats[STATS_COEFFICIENT] = 0u;
    stats[STATS_NON_FINITE] = bitcast<u32>(1.0);
    return;
  }
  let norm = sqrt(sums[0]);
  let max_norm = scalar_f32(SCALAR_MAX_NORM);
  let coefficient = select(1.0, min(1.0, max_norm / (norm + 1e-6)), max_norm > 0.0);
  stats[STATS_NORM] = bitcast<u32>(norm);
  stats[STATS_COEFFICIENT] = bitcast<u32>(coefficient);
  stats[STATS_NON_FINITE] = 0u;
}`;
}
