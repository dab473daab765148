// Attention of one new position a sequence, which also enters it in the cache of keys and values, by one subgroup.
//
//   o[s, h] = Σ_t softmax_t(scale · q[s, h] · cacheK[s, t]) · cacheV[s, t]        t = 0 … position[s], by query head h
//
// With softcap, scores are bent to softcap · tanh(score / softcap) before the softmax. With bias, distances count:
// bias[Tmax − 1 + t − position[s], h] is added to the score.
// One subgroup per sequence and query head: teams of lanes share the columns of a position and take positions in turn.
// Each team keeps its own maximum, sum and output, joined at the end (arXiv:1805.02867). The new key and value are taken
// from their own buffers, so that no group reads what another one writes in this dispatch.
import { decodeBuffers, decodeOpening, type DecodeOptions, decodePrelude } from "./lib/decode.ts";
import { reduction } from "./lib/reduce.ts";
import { vectorType, widthOf } from "./lib/vector.ts";
import { unroll } from "./lib/product.ts";
import { wgsl } from "./wgsl.ts";

/** Positions that a team sees in one iteration, where its lanes share the columns and each holds few. */
const TOGETHER = 4;

/** How lanes are laid over positions and columns. */
function layout({ group: { lanes }, E }: DecodeOptions) {
  const width = widthOf(E);
  const pieces = E / width; // vectors of a head
  let team = 1; // lanes that share the columns of a position
  while (team < lanes && pieces % (2 * team) === 0) team *= 2;
  return { width, pieces, team, teams: lanes / team, together: team > 1 ? TOGETHER : 1 };
}

/** Loop iterations of a lane. */
export function attentionDecodeTrips(options: DecodeOptions): number {
  const { teams, together } = layout(options);
  return Math.ceil(options.Tmax / (teams * together)) + options.E;
}

/**
 * q[S, H·E], k[S, K·E], v[S, K·E] (or qkv[S, (H + 2·K)·E]), position[S or 1] (, bias[2·Tmax − 1, H]) → cacheK[S, Tmax,
 * K·E], cacheV (one row each), o[S, H·E]; with readers: q[S·readers, H·E], position[S], cacheK, cacheV → o. Uniform p:
 * first row of q, rows, first word of the caches, scale.
 */
export function attentionDecode(options: DecodeOptions): string {
  const { group, bias = false, readers } = options;
  const { width, pieces, team, teams, together } = layout(options);
  const type = vectorType(width);
  const [q, k, v] = decodeBuffers(options);
  const own = (text: (i: number) => string) => unroll(pieces / team, text); // the vectors of this lane
  const at = (start: string, i: number) => `${start} + column + ${i * team}u`;

  /** Take in positions 0 … count − 1: loads first, because the software driver spills arithmetic between loads. */
  const see = (
    count: number,
    { keys, values, valid, distance }: Record<"keys" | "values" | "valid" | "distance", (t: number) => string>,
  ) => `
${unroll(count, (t) => own((i) => `    let k${t}_${i} = ${keys(t)} + ${i * team}u];`))}
${unroll(count, (t) => own((i) => `    let v${t}_${i} = ${values(t)} + ${i * team}u];`))}
${unroll(count, (t) => `    var dot${t} = 0.0;\n${own((i) => `    dot${t} += inner(q${i}, k${t}_${i});`)}`)}
${unroll(count, (t) => `    let score${t} = select(-1e30, bent(team_sum(dot${t}))${distance(t)}, ${valid(t)});`)}
    var next = highest;
${unroll(count, (t) => `    next = max(next, score${t});`)}
    let keep = exp(highest - next);
    highest = next;
    total *= keep;
${own((i) => `    o${i} *= keep;`)}
${
    unroll(count, (t) =>
      `    let weight${t} = exp(score${t} - next);\n    total += weight${t};\n${
        own((i) =>
          `    o${i} += v${t}_${i} * weight${t};`
        )
      }`)
  }`;
  const shuffled = (lanes: readonly number[]) =>
    unroll(lanes.length, (i) => `  sum += subgroupShuffleXor(sum, ${lanes[i]}u);`);
  const powers = (from: number, below: number): number[] => from < below ? [from, ...powers(2 * from, below)] : [];
  return wgsl`
${decodePrelude(options)}
const TEAM = ${team}u; // lanes that share the columns of a position
const TEAMS = ${teams}u;
${reduction(group, { name: "group_max", type: "f32", combine: "max" })}
${reduction(group, { name: "group_sum", type: "f32", combine: "sum" })}
fn team_sum(value: f32) -> f32 {
  var sum = value;
${shuffled(powers(1, team))}
  return sum;
}
// The sum over the lanes that hold the same column.
fn join_teams(value: ${type}) -> ${type} {
  var sum = value;
${shuffled(powers(team, group.lanes))}
  return sum;
}

${decodeOpening(options)}
  let column = lane % TEAM;
  let team = lane / TEAM;
${own((i) => `  let q${i} = ${q}[${at("query", i)}] * p.scale;`)}
${own((i) => `  var o${i} = ${type}();`)}
  var highest = -1e30;
  var total = 0.0;
  for (var start = from_t + team; start < now + team; start += ${together}u * TEAMS) {
${
    unroll(together, (t) =>
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
#if ${readers === undefined}
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
${own((i) => `  o${i} = join_teams(o${i} * share) / all;`)}
${own((i) => `  if (team == ${i % teams}u) { o[${at("(n * H + h) * PIECES", i)}] = o${i}; }`)}
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
