// The rows of attention scores, in place: S[B·H, T, C] with C = T rounded up to vectors of four.
//
//   forward    P = softmax over the keys that a row sees, 0 elsewhere (a row that sees none is all 0)
//   gradient   dS = P · (dP − Σ P·dP)
//
// A row sees the keys that are real, not later than itself (causal) and among the last `window`. Scores that products
// left unwritten (above the diagonal, behind column T) are written as 0 up to a multiple of `tile`, where products stop.
// A row belongs to one lane or to a workgroup; maximum and sum of exp are taken in one pass (arXiv:1805.02867).
import { declareBuffers } from "./lib/bindings.ts";
import { flatWorkgroup } from "./lib/index.ts";
import { reduction } from "./lib/reduce.ts";
import { wgsl } from "./wgsl.ts";

/** How lanes and rows meet. */
export interface AttentionLanes {
  /** Invocations of a workgroup, a power of two. */
  readonly lanes: number;
  /** They share a row; else each has its own (the software driver, where a workgroup costs as much as ten loads). */
  readonly shared: boolean;
}

/** Which keys a row sees. */
export interface AttentionRowOptions extends AttentionLanes {
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
export function attentionRowTrips(T: number, { lanes, shared }: AttentionLanes): number {
  return 2 * Math.ceil(Math.ceil(T / 4) / (shared ? lanes : 1)) + 2;
}

/** Rows of a workgroup. */
export function attentionRowsPerGroup({ lanes, shared }: AttentionLanes): number {
  return shared ? 1 : lanes;
}

/** The row of a lane, the vectors [from, to) that hold all keys that it may see, and the end of what it writes. */
const span = ({ lanes, shared, causal, window, tile }: AttentionRowOptions) =>
  wgsl`
#if ${shared}
const STEP = ${lanes}u;
fn row_number(group: u32, lane: u32) -> u32 { return group; }
#else
const STEP = 1u;
fn row_number(group: u32, lane: u32) -> u32 { return group * ${lanes}u + lane; }
#endif
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

/** Zeros in front of and behind the vectors [from, to). */
const clear = (scores: string) =>
  `  for (var c = lane % STEP; c < from_c; c += STEP) { ${scores}[start + c] = vec4f(); }
  for (var c = to_c + lane % STEP; c < end_of(row); c += STEP) { ${scores}[start + c] = vec4f(); }`;

/** `name(value, lane)`: the values of the lanes that share a row, combined. */
function joined(name: string, combine: "sum" | "max", { lanes, shared }: AttentionLanes): string {
  if (shared) return reduction({ lanes, shuffle: false }, { name, type: "f32", combine });
  return `fn ${name}(value: f32, lane: u32) -> f32 { return value; }`;
}

/** mask[B, T] (where there is one), S[M, T, C] → P[M, T, C] in place, for M matrices (sequence by sequence, head by head). */
export function attentionSoftmax(options: AttentionSoftmaxOptions): string {
  const { lanes, window, mask } = options;
  const masked = mask !== "none";
  return wgsl`
${declareBuffers(masked ? [`mask: array<${mask === "vectors" ? "vec4u" : "u32"}>`] : [], ["S: array<vec4f>"])}
${flatWorkgroup()}
${span(options)}
${joined("row_max", "max", options)}
${joined("row_sum", "sum", options)}

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

@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = row_number(flat_workgroup(id, groups), lane);
  if (i >= p.rows) { return; }
  let row = (p.first + i) % p.T;
  let start = i * width();
  let from_c = from_of(row);
  let to_c = to_of(row);
  let sequence = (p.first + i) / p.T / p.H;
  var highest = ${MASKED};
  var sum = 0.0;
  for (var c = from_c + lane % STEP; c < to_c; c += STEP) {
    let x = select(vec4f(${MASKED}), S[start + c], visible(sequence, row, c));
    let next = max(highest, max(max(x.x, x.y), max(x.z, x.w)));
    let e = exp(x - vec4f(next));
    sum = sum * exp(highest - next) + (e.x + e.y) + (e.z + e.w);
    highest = next;
  }
  let top = row_max(highest, lane);
  let total = row_sum(sum * exp(highest - top), lane);
  let share = select(1.0 / total, 0.0, top == ${MASKED});
  for (var c = from_c + lane % STEP; c < to_c; c += STEP) {
    S[start + c] = select(vec4f(), exp(S[start + c] - vec4f(top)) * share, visible(sequence, row, c));
  }
${clear("S")}
}`;
}

/** P[M, T, C], dP[M, T, C] → dS[M, T, C] in the place of dP. */
export function attentionSoftmaxGrad(options: AttentionRowOptions): string {
  const { lanes } = options;
  return wgsl`
${declareBuffers(["P_in: array<vec4f>"], ["G: array<vec4f>"])}
${flatWorkgroup()}
${span(options)}
${joined("row_sum", "sum", options)}

@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = row_number(flat_workgroup(id, groups), lane);
  if (i >= p.rows) { return; }
  let row = (p.first + i) % p.T;
  let start = i * width();
  let from_c = from_of(row);
  let to_c = to_of(row);
  var sum = 0.0;
  for (var c = from_c + lane % STEP; c < to_c; c += STEP) {
    sum += dot(P_in[start + c], select(vec4f(), G[start + c], inside(row, c)));
  }
  let total = row_sum(sum, lane);
  for (var c = from_c + lane % STEP; c < to_c; c += STEP) {
    G[start + c] = select(vec4f(), P_in[start + c] * (G[start + c] - vec4f(total)), inside(row, c));
  }
${clear("G")}
}`;
}
