// Many positions of a prompt at once, with the cache of keys and values that decoding goes on with.
//
//   cacheK[s, t] = k[n], cacheV[s, t] = v[n]        row n = s·C + c stands at t = positions[n]; none behind the cache
//   P[s, h, c, t] = softmax_t(S[s, h, c, t])        over the positions t ≤ positions[n] of the window, 0 elsewhere
//                                                   (of softcap · tanh(S / softcap) with softcap)
//
// Entering: one invocation per vector. Softmax: one group of lanes per row of scores, in place.
import { bentScore } from "./lib/decode.ts";
import { declareBuffers } from "./lib/bindings.ts";
import { flatMain, flatWorkgroup } from "./lib/index.ts";
import { type LaneGroup, reduction } from "./lib/reduce.ts";
import { rowMain } from "./lib/rows.ts";
import { vectorType, widthOf } from "./lib/vector.ts";
import { wgsl } from "./wgsl.ts";

/** Invocations of a workgroup of {@linkcode enterCache}. */
export const ENTER_LANES = 64;

/** Options of {@linkcode enterCache}. */
export interface EnterCacheOptions {
  /** Columns of a row of the cache. */
  readonly D: number;
  /** k and v are columns of one buffer, behind so many of the queries: a multiple of D. */
  readonly packed?: number;
}

/**
 * k[N, D], v[N, D] (or qkv[N, packed + 2·D]), positions[N] → cacheK[S, Tmax, D], cacheV; uniform p: rows, first row,
 * first word of the caches, rows of a sequence, Tmax.
 */
export function enterCache({ D, packed }: EnterCacheOptions): string {
  const width = widthOf(D);
  const type = vectorType(width);
  const [k, v] = packed === undefined ? ["k", "v"] : ["qkv", "qkv"];
  const columns = packed ?? 0;
  return wgsl`
struct P { rows: u32, first: u32, base: u32, C: u32, Tmax: u32 }
const D = ${D / width}u; // vectors of a row
const PITCH = ${(packed === undefined ? D : columns + 2 * D) / width}u;
${
    declareBuffers(
      [
        ...(packed === undefined ? ["k", "v"] : ["qkv"]).map((name) => `${name}: array<${type}>`),
        "positions: array<u32>",
      ],
      ["cache_k", "cache_v"].map((name) => `${name}: array<${type}>`),
    )
  }
${flatMain(ENTER_LANES)}
  let row = i / D;
  if (row >= p.rows) { return; }
  let n = p.first + row;
  let t = positions[n];
  if (t >= p.Tmax) { return; }
  let at = p.base / ${width}u + (row / p.C * p.Tmax + t) * D + i % D;
  let from_k = n * PITCH + ${columns / width}u + i % D;
  cache_k[at] = ${k}[from_k];
  cache_v[at] = ${v}[from_k${packed === undefined ? "" : " + D"}];
}`;
}

/** Options of {@linkcode prefillSoftmax}. */
export interface PrefillSoftmaxOptions {
  readonly group: LaneGroup;
  /** How many positions a row sees, its own included; all without. */
  readonly window?: number;
  /** Scores are bent to softcap · tanh(score / softcap). */
  readonly softcap?: number;
}

/** Loop iterations of a lane for rows of `T` scores. */
export function prefillSoftmaxTrips(T: number, { lanes }: LaneGroup): number {
  return 3 * Math.ceil(T / lanes);
}

/** positions[N] → scores[S·H·C, pitch] in place; uniform p: rows, first row, C, H, columns, pitch. */
export function prefillSoftmax({ group, window, softcap }: PrefillSoftmaxOptions): string {
  return wgsl`
struct P { rows: u32, first: u32, C: u32, H: u32, T: u32, pitch: u32 }
${declareBuffers(["positions: array<u32>"], ["scores: array<f32>"])}
${flatWorkgroup()}
${reduction(group, { name: "row_max", type: "f32", combine: "max" })}
${reduction(group, { name: "row_sum", type: "f32", combine: "sum" })}
${bentScore(softcap)}

${rowMain(group.lanes)}
  let row = p.first + n;
  let t = min(positions[row / (p.H * p.C) * p.C + row % p.C], p.T - 1u);
  let start = n * p.pitch;
#if ${window !== undefined}
  let from_t = max(t + 1u, ${window ?? 1}u) - ${window ?? 1}u;
#else
  let from_t = 0u;
#endif
  var high = -1e30;
  for (var i = from_t + lane; i <= t; i += ${group.lanes}u) { high = max(high, bent(scores[start + i])); }
  high = row_max(high, lane);
  var sum = 0.0;
  for (var i = from_t + lane; i <= t; i += ${group.lanes}u) { sum += exp(bent(scores[start + i]) - high); }
  let share = 1.0 / row_sum(sum, lane);
  for (var i = lane; i < p.pitch; i += ${group.lanes}u) {
    let seen = i >= from_t && i <= t;
    scores[start + i] = select(0.0, exp(min(bent(scores[start + i]) - high, 0.0)) * share, seen);
  }
}`;
}
