// Attention of one new position a sequence, which also enters it in the cache of keys and values.
//
//   o[s, h] = Σ_t softmax_t(scale · q[s, h] · cacheK[s, t]) · cacheV[s, t]        t = 0 … position[s], by query head h
//
// With softcap, scores are bent to softcap · tanh(score / softcap) before the softmax. With bias, distances count:
// bias[Tmax − 1 + t − position[s], h] is added to the score.
// One group of lanes per sequence and query head: teams of lanes take positions in turn, and share the columns if they
// are a subgroup. Each team keeps its own maximum, sum and output, joined at the end (arXiv:1805.02867). The new key
// and value are taken from their own buffers, so that no group reads what another one writes in this dispatch.
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
  /** Scores are bent to softcap · tanh(score / softcap). */
  readonly softcap?: number;
  /** q, k and v are columns of one buffer. */
  readonly packed: boolean;
  /** Scores get something by distance. */
  readonly bias?: boolean;
  /**
   * So many rows of q see each sequence of the cache, all of its positions below position[sequence], and none is entered:
   * there are no k and v.
   */
  readonly readers?: number;
  /** Every sequence has its own position, or all have the first. */
  readonly position: "each" | "one";
}

/** Positions that a team sees in one iteration, where its lanes share the columns and each holds few. */
const TOGETHER = 4;

/** How lanes are laid over positions and columns. */
function layout({ group: { lanes, shuffle }, E }: AttentionDecodeOptions) {
  const width = widthOf(E);
  const pieces = E / width; // vectors of a head
  let team = 1; // lanes that share the columns of a position
  while (shuffle && team < lanes && pieces % (2 * team) === 0) team *= 2;
  return { width, pieces, team, teams: lanes / team, together: team > 1 ? TOGETHER : 1 };
}

/** Loop iterations of a lane. */
export function attentionDecodeTrips(options: AttentionDecodeOptions): number {
  const { teams, together } = layout(options);
  return Math.ceil(options.Tmax / (teams * together)) + options.E;
}

/**
 * q[S, H·E], k[S, K·E], v[S, K·E] (or qkv[S, (H + 2·K)·E]), position[S or 1] (, bias[2·Tmax − 1, H]) → cacheK[S, Tmax,
 * K·E], cacheV (one row each), o[S, H·E]; with readers: q[S·readers, H·E], position[S], cacheK, cacheV → o. Uniform p:
 * first row of q, rows, first word of the caches, scale.
 */
export function attentionDecode(options: AttentionDecodeOptions): string {
  const { group, H, K, Tmax, window, softcap, packed, bias = false, position, readers } = options;
  const { width, pieces, team, teams, together } = layout(options);
  const type = vectorType(width);
  const [q, k, v] = packed ? ["qkv", "qkv", "qkv"] : ["q", "k", "v"];
  const lines = (count: number, text: (i: number) => string) =>
    Array.from({ length: count }, (_, i) => text(i)).join("\n");
  const reading = readers !== undefined;
  const vectors = (...names: string[]) => names.map((name) => `${name}: array<${type}>`);
  const own = (text: (i: number) => string) => lines(pieces / team, text); // the vectors of this lane
  const at = (start: string, i: number) => `${start} + column + ${i * team}u`;

  /** Take in positions 0 … count − 1: loads first, because the software driver spills arithmetic between loads. */
  const see = (
    count: number,
    { keys, values, valid, distance }: Record<"keys" | "values" | "valid" | "distance", (t: number) => string>,
  ) => `
${lines(count, (t) => own((i) => `    let k${t}_${i} = ${keys(t)} + ${i * team}u];`))}
${lines(count, (t) => own((i) => `    let v${t}_${i} = ${values(t)} + ${i * team}u];`))}
${lines(count, (t) => `    var dot${t} = 0.0;\n${own((i) => `    dot${t} += inner(q${i}, k${t}_${i});`)}`)}
${lines(count, (t) => `    let score${t} = select(-1e30, bent(team_sum(dot${t}))${distance(t)}, ${valid(t)});`)}
    var next = highest;
${lines(count, (t) => `    next = max(next, score${t});`)}
    let keep = exp(highest - next);
    highest = next;
    total *= keep;
${own((i) => `    o${i} *= keep;`)}
${
    lines(count, (t) =>
      `    let weight${t} = exp(score${t} - next);\n    total += weight${t};\n${
        own((i) =>
          `    o${i} += v${t}_${i} * weight${t};`
        )
      }`)
  }`;
  return wgsl`
struct P { first: u32, count: u32, base: u32, scale: f32 }
const H = ${H}u;
const K = ${K}u;
const PIECES = ${pieces}u; // vectors of a head
const TEAM = ${team}u; // lanes that share the columns of a position
const TEAMS = ${teams}u;
const Q_PITCH = ${(packed ? H + 2 * K : H) * pieces}u;
const K_PITCH = ${(packed ? H + 2 * K : K) * pieces}u;
const K_COLUMN = ${packed ? H * pieces : 0}u;
const V_COLUMN = ${packed ? (H + K) * pieces : 0}u;
const LAST = ${Tmax - 1}u;
const READERS = ${readers ?? 1}u; // rows that see one sequence of the cache
${
    declareBuffers(
      [
        ...vectors(...(reading ? ["q"] : packed ? ["qkv"] : ["q", "k", "v"])),
        "position: array<u32>",
        ...(bias ? ["bias: array<f32>"] : []),
        ...vectors(...(reading ? ["cache_k", "cache_v"] : [])),
      ],
      vectors(...(reading ? ["o"] : ["cache_k", "cache_v", "o"])),
    )
  }
${flatWorkgroup()}
${reduction(group, { name: "group_max", type: "f32", combine: "max" })}
${reduction(group, { name: "group_sum", type: "f32", combine: "sum" })}
${joinTeams(options)}
#if ${width === 1}
fn inner(a: f32, b: f32) -> f32 { return a * b; }
#else
fn inner(a: ${type}, b: ${type}) -> f32 { return dot(a, b); }
#endif
fn team_sum(value: f32) -> f32 {
  var sum = value;
${lines(Math.log2(team), (i) => `  sum += subgroupShuffleXor(sum, ${2 ** i}u);`)}
  return sum;
}
${bentScore(softcap)}
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
  let column = lane % TEAM;
  let team = lane / TEAM;
  let n = p.first + s;
  let cached = s / READERS;
  let query = n * Q_PITCH + h * PIECES;
#if ${reading}
  let now = min(position[n / READERS], LAST + 1u);
#else
  let now = min(position[${position === "each" ? "n" : "0"}], LAST);
  let key = n * K_PITCH + K_COLUMN + shared_head * PIECES;
  let value = n * K_PITCH + V_COLUMN + shared_head * PIECES;
  if (h % (H / K) == 0u) {
    let slot = cache_at(cached, now, shared_head);
    for (var i = lane; i < PIECES; i += ${group.lanes}u) {
      cache_k[slot + i] = ${k}[key + i];
      cache_v[slot + i] = ${v}[value + i];
    }
  }
#endif
${own((i) => `  let q${i} = ${q}[${at("query", i)}] * p.scale;`)}
${own((i) => `  var o${i} = ${type}();`)}
  var highest = -1e30;
  var total = 0.0;
#if ${window !== undefined}
  let from_t = max(now + 1u, ${window ?? 1}u) - ${window ?? 1}u;
#else
  let from_t = 0u;
#endif
  for (var start = from_t + team; start < now + team; start += ${together}u * TEAMS) {
${
    lines(together, (t) =>
      `    let at${t} = cache_at(cached, min(start + ${t}u * TEAMS, now - 1u), shared_head) + column;`)
  }
${
    see(together, {
      keys: (t) => `cache_k[at${t}`,
      values: (t) => `cache_v[at${t}`,
      valid: (t) => `start + ${t}u * TEAMS < now`,
      distance: (t) => bias ? ` + bias[(LAST + min(start + ${t}u * TEAMS, now) - now) * H + h]` : "",
    })
  }
  }
#if ${!reading}
  {
${
    see(1, {
      keys: () => `${k}[key + column`,
      values: () => `${v}[value + column`,
      valid: () => "team == 0u",
      distance: () => bias ? " + bias[LAST * H + h]" : "",
    })
  }
  }
#endif
  let top = group_max(highest, lane);
  let share = exp(highest - top);
  let all = group_sum(total * share, lane) / f32(TEAM);
${own((i) => `  o${i} = join_teams(o${i} * share, lane) / all;`)}
${own((i) => `  if (team == ${i % teams}u) { o[${at("(n * H + h) * PIECES", i)}] = o${i}; }`)}
}`;
}

/** `bent(score)`: the score with soft-capping, where there is; tanh is ±1 beyond ±15, where some drivers overflow. */
export function bentScore(softcap: number | undefined): string {
  if (softcap === undefined) return "fn bent(score: f32) -> f32 { return score; }";
  return `fn bent(score: f32) -> f32 { return ${softcap} * tanh(clamp(score * ${1 / softcap}, -15.0, 15.0)); }`;
}

/** `join_teams(value, lane)`: the sum over the lanes that hold the same column. */
function joinTeams(options: AttentionDecodeOptions): string {
  const { group } = options;
  const { width, team, teams } = layout(options);
  const type = vectorType(width);
  const shuffles = Array.from(
    { length: Math.log2(teams) },
    (_, i) => `  sum += subgroupShuffleXor(sum, ${team * 2 ** i}u);`,
  );
  return wgsl`
#if ${group.shuffle}
fn join_teams(value: ${type}, lane: u32) -> ${type} {
  var sum = value;
${shuffles.join("\n")}
  return sum;
}
#elif ${width === 1}
fn join_teams(value: f32, lane: u32) -> f32 { return group_sum(value, lane); }
#else
${reduction(group, { name: "pair_sum", type: "vec2f", combine: "sum" })}
#if ${width === 2}
fn join_teams(value: vec2f, lane: u32) -> vec2f { return pair_sum(value, lane); }
#else
fn join_teams(value: vec4f, lane: u32) -> vec4f { return vec4f(pair_sum(value.xy, lane), pair_sum(value.zw, lane)); }
#endif
#endif`;
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
