// The K largest logits of each row, in falling order, the lower token first where two are equal.
//
// One workgroup per row makes K passes; each finds the largest logit that comes after the one found before it. The lanes
// visit their columns in rising order, so that each keeps its first largest one.
import { declareBuffers } from "./lib/bindings.ts";
import { flatWorkgroup } from "./lib/index.ts";
import { type LaneGroup, reduction } from "./lib/reduce.ts";
import { rowMain } from "./lib/rows.ts";
import { argmaxTrips, eachLogit, loads } from "./sample.ts";
import { wgsl } from "./wgsl.ts";

/** Options of {@linkcode continuations}. */
export interface ContinuationOptions {
  /** Logits of a row. */
  readonly V: number;
  /** How many are kept, at most V. */
  readonly K: number;
  readonly group: LaneGroup;
}

/** Loop iterations of an invocation. */
export function continuationTrips({ V, K, group }: ContinuationOptions): number {
  return K * (1 + argmaxTrips(V, group));
}

/** logits[n, V] → scores[N, K], tokens u32 [N, K]; uniform p: rows n, first of them. */
export function continuations({ V, K, group }: ContinuationOptions): string {
  return wgsl`
struct P { rows: u32, first: u32 }
const K = ${K}u;
${declareBuffers(["logits: array<f32>"], ["scores: array<f32>", "tokens: array<u32>"])}
${flatWorkgroup()}
${loads(V)}
${reduction(group, { name: "max_lanes", type: "f32", combine: "max" })}

${rowMain(group.lanes)}
  let start = n * V;
  var last = 3.4e38;
  var last_at = 0u;
  for (var rank = 0u; rank < K; rank++) {
    var high = LOW;
    var at = V;
    ${
    eachLogit(V, group, (column, x) =>
      `if (${x} > high && (${x} < last || (${x} == last && ${column} > last_at))) { high = ${x}; at = ${column}; }`)
  }
    let highest = max_lanes(high, lane);
    let first = u32(-max_lanes(-f32(select(V, at, high == highest)), lane));
    last = highest;
    last_at = min(first, V - 1u);
    if (lane == 0u) {
      scores[(p.first + n) * K + rank] = highest;
      tokens[(p.first + n) * K + rank] = last_at;
    }
  }
}`;
}
