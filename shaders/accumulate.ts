// Sums over the micro-batches of a window: of gradients, and of the loss.
//
//   total = g in the first micro-batch, total + g in the others
//
// The first one assigns, so that nothing has to be cleared.
import { scalarWords } from "./lib/scalars.ts";
import { type Sweep, sweepLoop, sweepMain } from "./lib/sweep.ts";
import { wgsl } from "./wgsl.ts";

/** g[n], scalars[16] u32 → total[n], in place; uniform p: words. */
export function accumulate(sweep: Sweep): string {
  return wgsl`
struct P { count: u32 }
@group(0) @binding(0) var<storage, read> g: array<vec4f>;
@group(0) @binding(1) var<storage, read> scalars: array<u32>;
@group(0) @binding(2) var<storage, read_write> total: array<vec4f>;
@group(0) @binding(3) var<uniform> p: P;
${scalarWords()}
${sweepMain(sweep)}
  let assign = scalars[SCALAR_FIRST] != 0u;
  for (${sweepLoop(sweep)}) {
    if (assign) {
      total[i] = g[i];
    } else {
      total[i] += g[i];
    }
  }
}`;
}

/** loss[1], scalars[16] u32 → total[1], in place. */
export function accumulateLoss(): string {
  return wgsl`
@group(0) @binding(0) var<storage, read> loss: array<f32>;
@group(0) @binding(1) var<storage, read> scalars: array<u32>;
@group(0) @binding(2) var<storage, read_write> total: array<f32>;
${scalarWords()}

@compute @workgroup_size(1)
fn main() {
  if (scalars[SCALAR_FIRST] != 0u) {
    total[0] = loss[0];
  } else {
    total[0] += loss[0];
  }
}`;
}

/** loss[1], stats[4], scalars[16] u32 → row SLOT of ring[slots, 4]: loss, norm, non-finite flag, rate; all as bits. */
export function ringWrite(): string {
  return wgsl`
@group(0) @binding(0) var<storage, read> loss: array<u32>;
@group(0) @binding(1) var<storage, read> stats: array<u32>;
@group(0) @binding(2) var<storage, read> scalars: array<u32>;
@group(0) @binding(3) var<storage, read_write> ring: array<vec4u>;
${scalarWords()}

@compute @workgroup_size(1)
fn main() {
  ring[scalars[SCALAR_SLOT]] = vec4u(loss[0], stats[0], stats[2], scalars[SCALAR_LR]);
}`;
}
