// How well rows of logits predict their labels:
//
//   scores[slot, first + n] = (-log softmax(x[n])[label[n]], 1 if no logit is above that of the label else 0)
//
// One workgroup per row; its lanes keep a running maximum and a sum of exp(x - maximum), so that a row is read once.
import { declareBuffers } from "./lib/bindings.ts";
import { flatWorkgroup } from "./lib/index.ts";
import { type LaneGroup, reduction } from "./lib/reduce.ts";
import { rowMain } from "./lib/rows.ts";
import { argmaxTrips, eachLogit, loads } from "./sample.ts";
import { wgsl } from "./wgsl.ts";

/** Options of {@linkcode tokenScores}. */
export interface TokenScoresOptions {
  /** Logits of a row. */
  readonly V: number;
  readonly group: LaneGroup;
}

/** Loop iterations of an invocation. */
export function tokenScoresTrips({ V, group }: TokenScoresOptions): number {
  return argmaxTrips(V, group);
}

/**
 * logits[n, V], labels u32 [N], scalars u32 [·] → scores[·, rows, 2], a row each; uniform p: rows n, first of them,
 * place of the first row of `labels`, rows of a slot, word of the slot.
 */
export function tokenScores({ V, group }: TokenScoresOptions): string {
  return wgsl`
struct P { rows: u32, first: u32, place: u32, stride: u32, word: u32 }
${declareBuffers(["logits: array<f32>", "labels: array<u32>", "scalars: array<u32>"], ["scores: array<vec2f>"])}
${flatWorkgroup()}
${loads(V)}
${reduction(group, { name: "max_lanes", type: "f32", combine: "max" })}
${reduction(group, { name: "sum_lanes", type: "f32", combine: "sum" })}

${rowMain(group.lanes)}
  let start = n * V;
  var high = LOW;
  var sum = 0.0;
${eachLogit(V, group, (_, x) => `if (${x} > high) { sum *= exp(high - ${x}); high = ${x}; } sum += exp(${x} - high);`)}
  let highest = max_lanes(high, lane);
  let all = sum_lanes(sum * exp(high - highest), lane);
  let own = load(start, min(labels[p.first + n], V - 1u));
  if (lane == 0u) {
    let at = scalars[p.word] * p.stride + p.place + p.first + n;
    scores[at] = vec2f((highest - own) + log(all), select(0.0, 1.0, own >= highest));
  }
}`;
}
