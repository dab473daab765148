// The rows of attention scores, in place: S[B·H, T, C] with C = T rounded up to vectors of four.
//
//   forward    P = softmax over the keys that a row sees, 0 elsewhere (a row that sees none is all 0)
//   gradient   dS = P · (dP − Σ P·dP)
//
// A row sees the keys that are real, not later than itself (causal) and among the last `window`. Scores that products
// left unwritten (above the diagonal, behind column T) are written as 0 up to a multiple of `tile`, where products stop.
// One group of lanes per row; each lane keeps a running maximum and the sum of exp relative to it (arXiv:1805.02867).
import { flatWorkgroup } from "./lib/index.ts";
import { type LaneGroup, reduction } from "./lib/reduce.ts";
import { wgsl } from "./wgsl.ts";

/** Which keys a row sees. */
export interface AttentionRowOptions {
  readonly group: LaneGroup;
  readonly causal: boolean;
  /** Only the last keys, so many, up to the row itself; needs `causal`. */
  readonly window?: number;
  /** Multiple of four up to which a causal row is written. */
  readonly tile: number;
}

/** Options of {@linkcode attentionSoftmax}. */
export interface AttentionSoftmaxOptions extends AttentionRowOptions {
  /** How the mask of real keys is read, where there is one: vectors need T to be a multiple of four. */
  readonly mask: "none" | "vectors" | "words";
}

/** What masked scores count as: finite, because the compiler may assume that there are no infinities. */
const MASKED = "-1e30";

/** Loop iterations of a lane for rows of `T` keys. */
export function attentionRowTrips(T: number, { lanes }: LaneGroup): number {
  return 2 * Math.ceil(Math.ceil(T / 4) / lanes);
}

/** The vectors [from, to) that hold all keys that a row may see, and the end of what it writes. */
const span = ({ causal, window, tile }: AttentionRowOptions) =>
  wgsl`
struct P { rows: u32, first: u32, T: u32, H: u32 }
const COLUMN = vec4u(0u, 1u, 2u, 3u);
fn width() -> u32 { return (p.T + 3u) / 4u; }
fn from_of(row: u32) -> u32 {
#if ${window !== undefined}
  return (max(row + 1u, ${window ?? 0}u) - ${window ?? 0}u) / 4u;
#else
  return 0u;
#endif
}
fn to_of(row: u32) -> u32 {
#if ${causal}
  return row / 4u + 1u;
#else
  return width();
#endif
}
fn end_of(row: u32) -> u32 {
#if ${causal}
  return min(width(), (row / ${tile}u + 1u) * ${tile / 4}u);
#else
  return width();
#endif
}
fn inside(row: u32, c: u32) -> vec4<bool> {
  let column = vec4u(4u * c) + COLUMN;
#if ${causal}
  return column <= vec4u(row);
#else
  return column < vec4u(p.T);
#endif
}`;

/** mask[B, T] (where there is one), S[M, T, C] → P[M, T, C] in place, for M matrices (sequence by sequence, head by head). */
export function attentionSoftmax(options: AttentionSoftmaxOptions): string {
  const { group, window, mask } = options;
  const masked = mask !== "none";
  return wgsl`
#if ${mask === "vectors"}
@group(0) @binding(0) var<storage, read> mask: array<vec4u>;
#elif ${masked}
@group(0) @binding(0) var<storage, read> mask: array<u32>;
#endif
@group(0) @binding(${masked ? 1 : 0}) var<storage, read_write> S: array<vec4f>;
@group(0) @binding(${masked ? 2 : 1}) var<uniform> p: P;
${flatWorkgroup()}
${span(options)}
${reduction(group, { name: "row_max", type: "f32", combine: "max" })}
${reduction(group, { name: "row_sum", type: "f32", combine: "sum" })}

fn visible(sequence: u32, row: u32, c: u32) -> vec4<bool> {
  var seen = inside(row, c);
#if ${window !== undefined}
  seen = seen & (vec4u(4u * c + ${window ?? 0}u) + COLUMN > vec4u(row));
#endif
#if ${mask === "vectors"}
  seen = seen & (mask[sequence * width() + c] != vec4u());
#elif ${masked}
  let at = vec4u(sequence * p.T) + min(vec4u(4u * c) + COLUMN, vec4u(p.T - 1u));
  seen = seen & (vec4u(mask[at.x], mask[at.y], mask[at.z], mask[at.w]) != vec4u());
#endif
  return seen;
}

@compute @workgroup_size(${group.lanes})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(id, groups);
  if (i >= p.rows) { return; }
  let row = (p.first + i) % p.T;
  let start = i * width();
  let from_c = from_of(row);
  let to_c = to_of(row);
  let sequence = (p.first + i) / p.T / p.H;
  var highest = ${MASKED};
  var sum = 0.0;
  for (var c = from_c + lane; c < to_c; c += ${group.lanes}u) {
    let x = select(vec4f(${MASKED}), S[start + c], visible(sequence, row, c));
    let next = max(highest, max(max(x.x, x.y), max(x.z, x.w)));
    let e = exp(x - vec4f(next));
    sum = sum * exp(highest - next) + (e.x + e.y) + (e.z + e.w);
    highest = next;
  }
  let top = row_max(highest, lane);
  let total = row_sum(sum * exp(highest - top), lane);
  let share = select(1.0 / total, 0.0, top == ${MASKED});
  for (var c = lane; c < end_of(row); c += ${group.lanes}u) {
    var y = vec4f();
    if (c >= from_c && c < to_c) {
      y = select(y, exp(S[start + c] - vec4f(top)) * share, visible(sequence, row, c));
    }
    S[start + c] = y;
  }
}`;
}

/** P[M, T, C], dP[M, T, C] → dS[M, T, C] in the place of dP. */
export function attentionSoftmaxGrad(options: AttentionRowOptions): string {
  const { group } = options;
  return wgsl`
@group(0) @binding(0) var<storage, read> P_in: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> G: array<vec4f>;
@group(0) @binding(2) var<uniform> p: P;
${flatWorkgroup()}
${span(options)}
${reduction(group, { name: "row_sum", type: "f32", combine: "sum" })}

@compute @workgroup_size(${group.lanes})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(id, groups);
  if (i >= p.rows) { return; }
  let row = (p.first + i) % p.T;
  let start = i * width();
  let from_c = from_of(row);
  let to_c = to_of(row);
  var sum = 0.0;
  for (var c = from_c + lane; c < to_c; c += ${group.lanes}u) {
    sum += dot(P_in[start + c], select(vec4f(), G[start + c], inside(row, c)));
  }
  let total = row_sum(sum, lane);
  for (var c = lane; c < end_of(row); c += ${group.lanes}u) {
    var y = vec4f();
    if (c >= from_c && c < to_c) {
      y = select(y, P_in[start + c] * (G[start + c] - vec4f(total)), inside(row, c));
    }
    G[start + c] = y;
  }
}`;
}
