// The rows of attention scores, in place: A[B·H, T, C] with C = S keys rounded up to vectors of four.
//
//   forward    P = softmax over the keys that a row sees, 0 elsewhere (a row that sees none is all 0)
//   gradient   dA = P · (dP − Σ P·dP), times 1 − (score / cap)² with softcap    dbias = Σ over the sequences of dA
//
// A row sees the keys that are real, not later than itself (causal) and among the last `window`. Scores that products
// left unwritten (above the diagonal, behind column S) are written as 0 up to a multiple of `tile`, where products stop.
// A row belongs to one lane or to a workgroup; maximum and sum of exp are taken in one pass (arXiv:1805.02867).
import { declareBuffers } from "./lib/bindings.ts";
import { flatMain, flatWorkgroup } from "./lib/index.ts";
import { reduction } from "./lib/reduce.ts";
import { vectorsOf } from "./lib/rows.ts";
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
  /** Scores are bent to softcap · tanh(score / softcap); the forward pass then keeps L = log Σ exp(score). */
  readonly softcap?: number;
}

/** How an operand with S numbers a row is read, where there is one: vectors need S to be a multiple of four. */
export type RowOperand = "none" | "vectors" | "words";

/** Options of {@linkcode attentionSoftmax}. */
export interface AttentionSoftmaxOptions extends AttentionRowOptions {
  /** The mask of real keys [B, S]. */
  readonly mask: RowOperand;
  /** What is added to the scores, [H, T, S]. */
  readonly bias: RowOperand;
}

/** What masked scores count as: finite, because the compiler may assume that there are no infinities. */
const MASKED = "-1e30";

/** Loop iterations of a lane for rows of `S` keys. */
export function attentionRowTrips(S: number, { lanes, shared }: AttentionLanes): number {
  return 2 * Math.ceil(Math.ceil(S / 4) / (shared ? lanes : 1)) + 2;
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
struct P { rows: u32, first: u32, T: u32, S: u32, H: u32 }
const COLUMN = vec4u(0u, 1u, 2u, 3u);
fn width() -> u32 { return (p.S + 3u) / 4u; }
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
  return column < vec4u(p.S);
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

/** mask[B, S], bias[H, T, S] (where there are) and A[M, T, C] → P[M, T, C] in place, for M matrices, (L[M, T]). */
export function attentionSoftmax(options: AttentionSoftmaxOptions): string {
  const { lanes, shared, window, mask, bias, softcap } = options;
  const operand = (how: RowOperand, name: string, type: string) =>
    how === "none" ? [] : [`${name}: array<${how === "words" ? type : type === "u32" ? "vec4u" : "vec4f"}>`];
  return wgsl`
${
    declareBuffers(
      [...operand(mask, "mask", "u32"), ...operand(bias, "bias", "f32")],
      ["A: array<vec4f>", ...softcap === undefined ? [] : ["L: array<f32>"]],
    )
  }
${flatWorkgroup()}
${span(options)}
${joined("row_max", "max", options)}
${joined("row_sum", "sum", options)}

fn visible(matrix: u32, row: u32, c: u32) -> vec4<bool> {
  var seen = inside(row, c);
#if ${window !== undefined}
  seen = seen & (vec4u(4u * c + ${window ?? 0}u) + COLUMN > vec4u(row));
#endif
#if ${mask === "vectors"}
  seen = seen & (mask[matrix / p.H * width() + c] != vec4u());
#elif ${mask === "words"}
  let at = vec4u(matrix / p.H * p.S) + min(vec4u(4u * c) + COLUMN, vec4u(p.S - 1u));
  seen = seen & (vec4u(mask[at.x], mask[at.y], mask[at.z], mask[at.w]) != vec4u());
#endif
  return seen;
}
fn score(i: u32, matrix: u32, row: u32, c: u32) -> vec4f {
  var x = A[i];
#if ${softcap !== undefined}
  x = ${softcap ?? 0} * tanh(clamp(x * ${1 / (softcap ?? 1)}, vec4f(-15.0), vec4f(15.0)));
#endif
#if ${bias === "vectors"}
  x += bias[(matrix % p.H * p.T + row) * width() + c];
#elif ${bias === "words"}
  let at = vec4u((matrix % p.H * p.T + row) * p.S) + min(vec4u(4u * c) + COLUMN, vec4u(p.S - 1u));
  x += vec4f(bias[at.x], bias[at.y], bias[at.z], bias[at.w]);
#endif
  return x;
}

@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = row_number(flat_workgroup(id, groups), lane);
  if (i >= p.rows) { return; }
  let row = (p.first + i) % p.T;
  let matrix = (p.first + i) / p.T;
  let start = i * width();
  let from_c = from_of(row);
  let to_c = to_of(row);
  var highest = ${MASKED};
  var sum = 0.0;
  for (var c = from_c + lane % STEP; c < to_c; c += STEP) {
    let x = select(vec4f(${MASKED}), score(start + c, matrix, row, c), visible(matrix, row, c));
    let next = max(highest, max(max(x.x, x.y), max(x.z, x.w)));
    let e = exp(x - vec4f(next));
    sum = sum * exp(highest - next) + (e.x + e.y) + (e.z + e.w);
    highest = next;
  }
  let top = row_max(highest, lane);
  let total = row_sum(sum * exp(highest - top), lane);
  let share = select(1.0 / total, 0.0, top == ${MASKED});
  for (var c = from_c + lane % STEP; c < to_c; c += STEP) {
    let e = exp(score(start + c, matrix, row, c) - vec4f(top)) * share;
    A[start + c] = select(vec4f(), e, visible(matrix, row, c));
  }
#if ${softcap !== undefined}
  if (${shared ? "lane == 0u" : "true"}) { L[i] = top + log(total); }
#endif
${clear("A")}
}`;
}

/** P[M, T, C], (L[M, T]), dP[M, T, C] → dA[M, T, C] in the place of dP. */
export function attentionSoftmaxGrad(options: AttentionRowOptions): string {
  const { lanes, softcap } = options;
  const bent = softcap !== undefined;
  return wgsl`
${declareBuffers(["P_in: array<vec4f>", ...bent ? ["L: array<f32>"] : []], ["G: array<vec4f>"])}
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
    var g = P_in[start + c] * (G[start + c] - vec4f(total));
#if ${bent}
    // The score again, from log P = score − L; where P underflowed, g is 0 already.
    let bend = clamp((log(max(P_in[start + c], vec4f(1e-37))) + L[i]) * ${1 / (softcap ?? 1)}, vec4f(-1.0), vec4f(1.0));
    g *= 1.0 - bend * bend;
#endif
    G[start + c] = select(vec4f(), g, inside(row, c));
  }
${clear("G")}
}`;
}

/** Invocations of a workgroup of {@linkcode attentionBiasGrad}. */
export const ATTENTION_BIAS_LANES = 64;

/** dA[B, H·T, C] → dbias[H·T, S], added to what it holds where `p.added` is not 0; one invocation per vector. */
export function attentionBiasGrad({ S, causal }: { readonly S: number; readonly causal: boolean }): string {
  const { vector, width } = vectorsOf(S);
  return wgsl`
struct P { rows: u32, T: u32, batches: u32, first: u32, added: u32 }
alias Vector = ${vector ? "vec4f" : "f32"};
${declareBuffers(["dA: array<Vector>"], ["dbias: array<Vector>"])}
const WIDTH = ${width}u;
const PITCH = ${vector ? width : 4 * Math.ceil(S / 4)}u;
${flatMain(ATTENTION_BIAS_LANES)}
  let row = i / WIDTH;
  let c = i % WIDTH;
  if (row >= p.rows) { return; }
  var sum = Vector();
  for (var b = 0u; b < p.batches; b++) { sum += dA[p.first / ${vector ? 4 : 1}u + (b * p.rows + row) * PITCH + c]; }
#if ${causal && vector}
  sum = select(sum, Vector(), vec4u(4u * c) + vec4u(0u, 1u, 2u, 3u) > vec4u(row % p.T));
#elif ${causal}
  sum = select(sum, Vector(), c > row % p.T);
#endif
  if (p.added != 0u) { sum += dbias[i]; }
  dbias[i] = sum;
}`;
}
