// The next token of each sequence, drawn from softmax(x / temperature) after the filters top-k and top-p.
//
// Both filters keep the logits from a threshold up, and both thresholds are the largest number K for which the weights
// of all logits >= K reach a target: one each and k for top-k, exp((x - max) / temperature) and top_p · sum for top-p.
// K is found among the 2^32 floats, ordered as integers, two bits at a time: exact, no sort, a fixed number of passes.
// The draw walks the weights lane by lane up to u · sum. One workgroup per sequence; loads come in blocks.
import { declareBuffers } from "./lib/bindings.ts";
import { flatMain, flatWorkgroup } from "./lib/index.ts";
import { randomWords } from "./lib/random.ts";
import { type LaneGroup, reduction } from "./lib/reduce.ts";
import { rowMain } from "./lib/rows.ts";
import { wgsl } from "./wgsl.ts";

/** Iterations of one pass over a row, at most: with both filters a draw makes 36 passes. */
const PASS = 1500;

/** Logits that an invocation loads before it looks at any: enough to hide latency on a GPU and to keep loops short. */
function unroll(V: number, { lanes, shuffle }: LaneGroup): number {
  let count = shuffle ? 4 : 16;
  while (V > PASS * lanes * count) count *= 2;
  return count;
}

/** Two bits of a threshold are found in one pass. */
const DIGITS = 16;

/** Options of {@linkcode sample}. */
export interface SampleOptions {
  /** Logits of a sequence. */
  readonly V: number;
  readonly group: LaneGroup;
  /** Whether only the p.k largest logits stay (more if they are equal). */
  readonly topK: boolean;
  /** Whether only the largest ones whose probabilities reach p.top_p stay. */
  readonly topP: boolean;
  /** Every row has its own position. */
  readonly each: boolean;
  /** Every row has a number of its own, which stands for it in the draw. */
  readonly numbered: boolean;
}

/** Loop iterations of an invocation. */
export function sampleTrips({ V, group, topK, topP }: Omit<SampleOptions, "each" | "numbered">): number {
  const pass = argmaxTrips(V, group);
  const searches = (topK ? 1 : 0) + (topP ? 1 : 0);
  return searches * DIGITS * (1 + pass) + (topP ? 4 : 3) * pass + group.lanes;
}

/** Loads as `x0`, `x1`, … and then `body(i, x)` for each; the columns of a lane are visited in rising order. */
export function eachLogit(V: number, group: LaneGroup, body: (column: string, x: string) => string): string {
  const all = Array.from({ length: unroll(V, group) }, (_, k) => k);
  return wgsl`
  for (var i = lane; i < V; i += ${group.lanes * all.length}u) {
${all.map((k) => `    let x${k} = load(start, i + ${k * group.lanes}u);`).join("\n")}
${all.map((k) => `    ${body(`(i + ${k * group.lanes}u)`, `x${k}`)}`).join("\n")}
  }`;
}

/** `load(start, column)` and `key(x)`, whose order as integers is that of floats. */
export function loads(V: number): string {
  return wgsl`
const V = ${V}u;
const LOW = -3.0e38;
fn load(start: u32, column: u32) -> f32 {
  return select(LOW, logits[start + min(column, V - 1u)], column < V);
}
fn key(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}`;
}

/** `name(start, lane, high, from, wanted)`: largest K such that the weights of all keys >= K reach `wanted`. */
function search(name: string, V: number, group: LaneGroup, weight: (x: string) => string): string {
  return wgsl`
fn ${name}(start: u32, lane: u32, high: f32, lowest: u32, wanted: f32) -> u32 {
  var found = 0u;
  for (var digit = 0u; digit < ${DIGITS}u; digit++) {
    let step = 1u << (30u - 2u * digit);
    let one = found + step;
    let two = one + step;
    let three = two + step;
    var sums = vec2f();
    var sum = 0.0;
    ${
    eachLogit(V, group, (_, x) =>
      `{ let k = key(${x}); let w = ${weight(x)};
      sums += select(vec2f(), vec2f(w), vec2u(k) >= vec2u(one, two)); sum += select(0.0, w, k >= three); }`)
  }
    let all = vec3f(sum_pairs(sums, lane), sum_lanes(sum, lane));
    let reached = select(vec3u(), vec3u(1u), all >= vec3f(wanted));
    found += step * (reached.x + reached.y + reached.z);
  }
  return found;
}`;
}

/** `before(value, lane)`: x is the sum of the lanes below this one, y that of all, both added in the order of lanes. */
function prefix({ lanes, shuffle }: LaneGroup): string {
  const step = (value: string) => `    { let v = ${value}; sums += vec2f(select(0.0, v, j < lane), v); }`;
  return wgsl`
#if ${!shuffle}
var<workgroup> lane_sums: array<f32, ${lanes}>;
#endif
fn before(value: f32, lane: u32) -> vec2f {
  var sums = vec2f();
#if ${shuffle}
${
    Array.from({ length: lanes }, (_, j) => step(`subgroupShuffle(value, ${j}u)`).replace("j < lane", `${j}u < lane`))
      .join("\n")
  }
#else
  lane_sums[lane] = value;
  workgroupBarrier();
  for (var j = 0u; j < ${lanes}u; j++) {
${step("lane_sums[j]")}
  }
#endif
  return sums;
}`;
}

/** logits[n, V], scalars u32 [·], position u32 [·] (, numbers u32 [N]) → token u32 [N]; a draw for (seed, position, row). */
export function sample({ V, group, topK, topP, each, numbered }: SampleOptions): string {
  const reads = ["scalars", "position", ...numbered ? ["numbers"] : []].map((name) => `${name}: array<u32>`);
  const kept = (x: string) => `select(0.0, weight(${x}, high), key(${x}) >= lowest)`;
  return wgsl`
struct P {
  rows: u32, first: u32, seed_word: u32, position_word: u32,
  stream: u32, k: f32, top_p: f32, inverse_temperature: f32,
}
${declareBuffers(["logits: array<f32>", ...reads], ["tokens: array<u32>"])}
${flatWorkgroup()}
${randomWords()}
${loads(V)}
fn weight(x: f32, high: f32) -> f32 { return exp(max((x - high) * p.inverse_temperature, -200.0)); }
${reduction(group, { name: "max_lanes", type: "f32", combine: "max" })}
${reduction(group, { name: "sum_lanes", type: "f32", combine: "sum" })}
${reduction(group, { name: "sum_pairs", type: "vec2f", combine: "sum" })}
${prefix(group)}
#if ${topK}
${search("search_count", V, group, () => "1.0")}
#endif
#if ${topP}
${search("search_mass", V, group, kept)}
#endif

${rowMain(group.lanes)}
  let start = n * V;
  var high = LOW;
${eachLogit(V, group, (_, x) => `high = max(high, ${x});`)}
  high = max_lanes(high, lane);
  var lowest = 0u;
#if ${topK}
  lowest = search_count(start, lane, high, 0u, p.k);
#endif
#if ${topP}
  var mass = 0.0;
${eachLogit(V, group, (_, x) => `mass += ${kept(x)};`)}
  lowest = max(lowest, search_mass(start, lane, high, lowest, p.top_p * sum_lanes(mass, lane)));
#endif
  var own = 0.0;
${eachLogit(V, group, (_, x) => `own += ${kept(x)};`)}
  let sums = before(own, lane);
  let draw = random_key(scalars[p.seed_word], position[p.position_word${each ? " + p.first + n" : ""}], p.stream);
  let goal = random_uniform(draw, ${numbered ? "numbers[p.first + n]" : "p.first + n"}) * sums.y;
  // Exactly one lane passes the goal, by the same additions as above; its token plus one, 0.0 elsewhere.
  var chosen = 0.0;
  if (sums.x <= goal && goal < sums.x + own) {
    var walked = 0.0;
${
    eachLogit(V, group, (column, x) =>
      `walked += ${kept(x)}; if (chosen == 0.0 && sums.x + walked > goal) { chosen = f32(${column}) + 1.0; }`)
  }
  }
  let token = u32(max_lanes(chosen, lane));
  if (lane == 0u) { tokens[p.first + n] = max(token, 1u) - 1u; }
}`;
}

/** Loop iterations of an invocation of {@linkcode argmax}. */
export function argmaxTrips(V: number, group: LaneGroup): number {
  return Math.ceil(V / (group.lanes * unroll(V, group)));
}

/** logits[n, V] → token u32 [n]: the first of the largest. */
export function argmax(V: number, group: LaneGroup): string {
  return wgsl`
struct P { rows: u32, first: u32 }
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read_write> tokens: array<u32>;
@group(0) @binding(2) var<uniform> p: P;
${flatWorkgroup()}
${loads(V)}
${reduction(group, { name: "max_lanes", type: "f32", combine: "max" })}

${rowMain(group.lanes)}
  let start = n * V;
  var high = LOW;
  var at = V;
${eachLogit(V, group, (column, x) => `if (${x} > high) { high = ${x}; at = ${column}; }`)}
  let highest = max_lanes(high, lane);
  let first = u32(-max_lanes(-f32(select(V, at, high == highest)), lane));
  if (lane == 0u) { tokens[p.first + n] = select(first, 0u, first >= V); }
}`;
}

/** Invocations of a workgroup of {@linkcode penalizeRepeats}. */
export const PENALIZE_LANES = 64;

/**
 * logits[S, V], tokens u32 [S, T], length u32 [·], one for all or for `each` → y[S, V], which must hold the logits already. One invocation per
 * token; those of equal tokens write the same number.
 */
export function penalizeRepeats({ each }: { readonly each: boolean }): string {
  return wgsl`
struct P { S: u32, T: u32, V: u32, length_word: u32, penalty: f32 }
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> tokens: array<u32>;
@group(0) @binding(2) var<storage, read> lengths: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> p: P;
${flatMain(PENALIZE_LANES)}
  if (i >= p.S * p.T) { return; }
  let token = tokens[i];
  if (i % p.T >= lengths[p.length_word${each ? " + i / p.T" : ""}] || token >= p.V) { return; }
  let at = i / p.T * p.V + token;
  let x = logits[at];
  y[at] = select(x / p.penalty, x * p.penalty, x < 0.0);
}`;
}
