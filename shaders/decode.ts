// Attention of one new position a sequence, which also enters it in the cache of keys and values.
//
//   o[s, h] = Σ_t softmax_t(scale · q[s, h] · cacheK[s, t]) · cacheV[s, t]        t = 0 … position[s], by query head h
//
// One group of lanes per sequence and query head. Lanes stride over the positions; each keeps its own maximum, sum and
// output, which are joined at the end (arXiv:1805.02867). The new key and value are taken from their own buffers, so
// that no group reads what another one writes in this dispatch: one group of those that share a key head writes it.
import { declareBuffers } from "./lib/bindings.ts";
import { flatWorkgroup } from "./lib/index.ts";
import { type LaneGroup, reduction } from "./lib/reduce.ts";
import { vectorType, widthOf } from "./lib/vector.ts";
import { wgsl } from "./wgsl.ts";

/** Options of {@linkcode attentionDecode}. */
export interface AttentionDecodeOptions {
  readonly group: LaneGroup;
  /** Query heads. */
  readonly H: number;
  /** Heads of keys and values. */
  readonly K: number;
  /** Columns of a head. */
  readonly E: number;
  /** Positions of the cache. */
  readonly Tmax: number;
  /** How many positions a row sees, its own included; all without. */
  readonly window?: number;
  /** q, k and v are columns of one buffer. */
  readonly packed: boolean;
  /** Every sequence has its own position, or all have the first. */
  readonly position: "each" | "one";
}

/** Loop iterations of a lane. */
export function attentionDecodeTrips({ Tmax, E, group: { lanes } }: AttentionDecodeOptions): number {
  return Math.ceil(Tmax / lanes) + Math.ceil(E / lanes);
}

/**
 * q[S, H·E], k[S, K·E], v[S, K·E] (or qkv[S, (H + 2·K)·E]), position[S or 1] → cacheK[S, Tmax, K·E], cacheV (one row
 * each), o[S, H·E]; uniform p: first sequence, sequences, first word of the caches, scale.
 */
export function attentionDecode(options: AttentionDecodeOptions): string {
  const { group, H, K, E, Tmax, window, packed, position } = options;
  const width = widthOf(E);
  const type = vectorType(width);
  const pieces = E / width;
  const [q, k, v] = packed ? ["qkv", "qkv", "qkv"] : ["q", "k", "v"];
  const each = (text: (i: number) => string) => Array.from({ length: pieces }, (_, i) => text(i)).join("\n");
  // Loads first: the software driver spills arithmetic that stands between loads.
  const see = (keys: string, values: string) => `
${each((i) => `    let k${i} = ${keys} + ${i}u];`)}
${each((i) => `    let v${i} = ${values} + ${i}u];`)}
    var score = 0.0;
${each((i) => `    score += inner(q${i}, k${i});`)}
    let next = max(highest, score);
    let keep = exp(highest - next);
    let weight = exp(score - next);
    highest = next;
    total = total * keep + weight;
${each((i) => `    o${i} = o${i} * keep + v${i} * weight;`)}`;
  return wgsl`
struct P { first: u32, count: u32, base: u32, scale: f32 }
const H = ${H}u;
const K = ${K}u;
const LANES = ${group.lanes}u;
const PIECES = ${pieces}u; // vectors of a head
const Q_PITCH = ${(packed ? H + 2 * K : H) * pieces}u;
const K_PITCH = ${(packed ? H + 2 * K : K) * pieces}u;
const K_COLUMN = ${packed ? H * pieces : 0}u;
const V_COLUMN = ${packed ? (H + K) * pieces : 0}u;
const LAST = ${Tmax - 1}u;
${
    declareBuffers(
      [...(packed ? ["qkv"] : ["q", "k", "v"]).map((name) => `${name}: array<${type}>`), "position: array<u32>"],
      ["cache_k", "cache_v", "o"].map((name) => `${name}: array<${type}>`),
    )
  }
${flatWorkgroup()}
${reduction(group, { name: "group_max", type: "f32", combine: "max" })}
${reduction(group, { name: "group_sum", type: "f32", combine: "sum" })}
#if ${width !== 1}
${reduction(group, { name: "group_sum2", type: "vec2f", combine: "sum" })}
fn inner(a: ${type}, b: ${type}) -> f32 { return dot(a, b); }
#else
fn inner(a: f32, b: f32) -> f32 { return a * b; }
#endif
#if ${width === 4}
fn join(x: vec4f, lane: u32) -> vec4f { return vec4f(group_sum2(x.xy, lane), group_sum2(x.zw, lane)); }
#elif ${width === 2}
fn join(x: vec2f, lane: u32) -> vec2f { return group_sum2(x, lane); }
#else
fn join(x: f32, lane: u32) -> f32 { return group_sum(x, lane); }
#endif
fn cache_at(s: u32, t: u32, head: u32) -> u32 {
  return p.base / ${width}u + ((s * (LAST + 1u) + t) * K + head) * PIECES;
}

@compute @workgroup_size(${group.lanes})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let item = flat_workgroup(id, groups);
  if (item >= p.count * H) { return; }
  let s = item / H;
  let h = item % H;
  let shared_head = h / (H / K);
  let n = p.first + s;
  let now = min(position[${position === "each" ? "n" : "0"}], LAST);
  let query = n * Q_PITCH + h * PIECES;
  let key = n * K_PITCH + K_COLUMN + shared_head * PIECES;
  let value = n * K_PITCH + V_COLUMN + shared_head * PIECES;
  if (h % (H / K) == 0u) {
    let slot = cache_at(s, now, shared_head);
    for (var i = lane; i < PIECES; i += LANES) {
      cache_k[slot + i] = ${k}[key + i];
      cache_v[slot + i] = ${v}[value + i];
    }
  }
${each((i) => `  let q${i} = ${q}[query + ${i}u] * p.scale;`)}
${each((i) => `  var o${i} = ${type}();`)}
  var highest = -1e30;
  var total = 0.0;
#if ${window !== undefined}
  let from_t = max(now + 1u, ${window ?? 1}u) - ${window ?? 1}u;
#else
  let from_t = 0u;
#endif
  for (var t = from_t + lane; t < now; t += LANES) {
    let at = cache_at(s, t, shared_head);
${see("cache_k[at", "cache_v[at")}
  }
  if (lane == 0u) {
${see(`${k}[key`, `${v}[value`)}
  }
  let top = group_max(highest, lane);
  let share = exp(highest - top);
  let all = group_sum(total * share, lane);
${each((i) => `  o${i} = join(o${i} * share, lane) / all;`)}
${each((i) => `  if (lane == ${i % group.lanes}u) { o[(n * H + h) * PIECES + ${i}u] = o${i}; }`)}
}`;
}

/** position[S] + by, in place. */
export function advance(by: number): string {
  return wgsl`
struct P { count: u32 }
@group(0) @binding(0) var<storage, read_write> position: array<u32>;
@group(0) @binding(1) var<uniform> p: P;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < p.count) { position[id.x] += ${by}u; }
}`;
}
