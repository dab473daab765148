// AdaLoRA's allocation of ranks (arXiv:2303.10512), as PEFT's RankAllocator computes it.
//
//   importance   i = |x·g|,  ipt = β₁·ipt + (1 - β₁)·i,  unc = β₂·unc + (1 - β₂)·|i - ipt|     of every trained number
//   score        of a triplet (row of A, column of B, entry of E) = mean(ipt·unc of A) + mean(… of B) + ipt·unc of E
//   mask         the k triplets with the smallest scores lose their E; k comes in by the scalars of the step
//
// The word of the scalars: k, and three flags.
import { scalarWords } from "./lib/scalars.ts";
import { statsWords } from "./clip.ts";
import type { Sweep } from "./lib/sweep.ts";
import { optimizer } from "./optimizer.ts";
import { wgsl } from "./wgsl.ts";

/** Words of the table about one triplet: start and length of the row of A, of the column of B, its stride, place of E. */
export const TRIPLET_WORDS = 6;

/** Invocations of a workgroup. */
export const ALLOCATION_LANES = 64;

/** Flags of the word beside k: no new choice, importance stays as it is, the choice that was made is made again. */
export const ALLOCATE = { NONE: 2 ** 31, STAYS: 2 ** 30, AGAIN: 2 ** 29 } as const;

/** g[n], stats[4], scalars[16] u32 → x[n] (as it is), ipt[n], unc[n], in place; an optimizer that only watches. */
export function importance({ beta1, beta2 }: { readonly beta1: number; readonly beta2: number }, sweep: Sweep): string {
  return optimizer({
    states: ["exp_avg_ipt", "exp_avg_unc"],
    constants: wgsl`
const BETA1: f32 = ${beta1};
const REST1: f32 = ${1 - beta1};
const BETA2: f32 = ${beta2};
const REST2: f32 = ${1 - beta2};`,
    rule: wgsl`
    if ((scalars[SCALAR_ALLOCATE] & ${ALLOCATE.STAYS}u) == 0u) {
      let sensitivity = abs(x * g);
      exp_avg_ipt = BETA1 * exp_avg_ipt + REST1 * sensitivity;
      exp_avg_unc = BETA2 * exp_avg_unc + REST2 * abs(sensitivity - exp_avg_ipt);
    }`,
  }, sweep);
}

/** table[M, 6] u32, ipt[n], unc[n] → scores[M]. One invocation for each triplet. */
export function scores(M: number): string {
  return wgsl`
const M = ${M}u;
@group(0) @binding(0) var<storage, read> table: array<u32>;
@group(0) @binding(1) var<storage, read> ipt: array<f32>;
@group(0) @binding(2) var<storage, read> unc: array<f32>;
@group(0) @binding(3) var<storage, read_write> scores: array<f32>;

@compute @workgroup_size(${ALLOCATION_LANES})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let t = id.x;
  if (t >= M) { return; }
  let at = t * ${TRIPLET_WORDS}u;
  let a = table[at];
  let columns = table[at + 1u];
  let b = table[at + 2u];
  let rows = table[at + 3u];
  let stride = table[at + 4u];
  let e = table[at + 5u];
  var sum_a = 0.0;
  for (var i = 0u; i < columns; i++) { sum_a += ipt[a + i] * unc[a + i]; }
  var sum_b = 0.0;
  for (var i = 0u; i < rows; i++) { sum_b += ipt[b + i * stride] * unc[b + i * stride]; }
  scores[t] = ipt[e] * unc[e] + sum_a / f32(columns) + sum_b / f32(rows);
}`;
}

/** table[M, 6] u32, scores[M], stats[4], scalars[16] u32 → x[n], kept[M] u32, in place. One invocation a triplet. */
export function maskRanks(M: number): string {
  return wgsl`
const M = ${M}u;
@group(0) @binding(0) var<storage, read> table: array<u32>;
@group(0) @binding(1) var<storage, read> scores: array<f32>;
@group(0) @binding(2) var<storage, read> stats: array<u32>;
@group(0) @binding(3) var<storage, read> scalars: array<u32>;
@group(0) @binding(4) var<storage, read_write> x: array<f32>;
@group(0) @binding(5) var<storage, read_write> kept: array<u32>;
${scalarWords()}
${statsWords()}

@compute @workgroup_size(${ALLOCATION_LANES})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let t = id.x;
  if (t >= M || stats[STATS_NON_FINITE] != 0u) { return; }
  let word = scalars[SCALAR_ALLOCATE];
  if ((word & ${ALLOCATE.NONE}u) == 0u) {
    let k = word & ${ALLOCATE.AGAIN - 1}u;
    var below = 0u;
    for (var j = 0u; j < M; j++) { below += select(0u, 1u, scores[j] < scores[t]); }
    kept[t] = select(0u, 1u, below >= k);
  } else if ((word & ${ALLOCATE.AGAIN}u) == 0u) {
    return;
  }
  if (kept[t] == 0u) { x[table[t * ${TRIPLET_WORDS}u + 5u]] = 0.0; }
}`;
}
