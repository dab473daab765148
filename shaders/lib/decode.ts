// What both kernels of attention over caches share: options, buffers, the place of a position, bent scores.
import { declareBuffers } from "./bindings.ts";
import { flatWorkgroup } from "./index.ts";
import type { LaneGroup } from "./reduce.ts";
import { vectorType, widthOf } from "./vector.ts";
import { wgsl } from "../wgsl.ts";

/** Options of attention over caches. */
export interface DecodeOptions {
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

/** Declarations; a head is `PIECES` vectors, `bent(score)` the score with soft-capping, where there is. */
export function decodePrelude({ H, K, E, Tmax, softcap, packed, bias = false, readers }: DecodeOptions): string {
  const width = widthOf(E), pieces = E / width;
  const vectors = (...names: string[]) => names.map((name) => `${name}: array<${vectorType(width)}>`);
  const reading = readers !== undefined;
  return wgsl`
struct P { first: u32, count: u32, base: u32, scale: f32 }
const H = ${H}u;
const K = ${K}u;
const PIECES = ${pieces}u; // vectors of a head
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
#if ${width === 1}
fn inner(a: f32, b: f32) -> f32 { return a * b; }
#else
fn inner(a: ${vectorType(width)}, b: ${vectorType(width)}) -> f32 { return dot(a, b); }
#endif
${bentScore(softcap)}
fn cache_at(s: u32, t: u32, head: u32) -> u32 {
  return p.base / ${width}u + ((s * (LAST + 1u) + t) * K + head) * PIECES;
}`;
}

/** Names of the buffers of queries, new keys and new values. */
export function decodeBuffers({ packed }: DecodeOptions): readonly [q: string, k: string, v: string] {
  return packed ? ["qkv", "qkv", "qkv"] : ["q", "k", "v"];
}

/**
 * The start of the entry point: the workgroup's sequence and head, `query` where its row of q begins, `now` its position,
 * or where those that it sees end, and `from_t`, the first that it sees. The new key and value enter the cache.
 */
export function decodeOpening(options: DecodeOptions): string {
  const { group: { lanes }, window, position, readers } = options;
  const [, k, v] = decodeBuffers(options);
  return wgsl`
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let item = flat_workgroup(id, groups);
  if (item >= p.count * H) { return; }
  let s = item / H;
  let h = item % H;
  let shared_head = h / (H / K);
  let n = p.first + s;
  let cached = s / READERS;
  let query = n * Q_PITCH + h * PIECES;
#if ${readers !== undefined}
  let now = min(position[n / READERS], LAST + 1u);
#else
  let now = min(position[${position === "each" ? "n" : "0"}], LAST);
  let key = n * K_PITCH + K_COLUMN + shared_head * PIECES;
  let value = n * K_PITCH + V_COLUMN + shared_head * PIECES;
  if (h % (H / K) == 0u) {
    let slot = cache_at(cached, now, shared_head);
    for (var i = lane; i < PIECES; i += ${lanes}u) {
      cache_k[slot + i] = ${k}[key + i];
      cache_v[slot + i] = ${v}[value + i];
    }
  }
#endif
#if ${window !== undefined}
  let from_t = max(now + 1u, ${window ?? 1}u) - ${window ?? 1}u;
#else
  let from_t = 0u;
#endif`;
}

/** `bent(score)`: the score with soft-capping, where there is; tanh is ±1 beyond ±15, where some drivers overflow. */
export function bentScore(softcap: number | undefined): string {
  if (softcap === undefined) return "fn bent(score: f32) -> f32 { return score; }";
  return `fn bent(score: f32) -> f32 { return ${softcap} * tanh(clamp(score * ${1 / softcap}, -15.0, 15.0)); }`;
}
