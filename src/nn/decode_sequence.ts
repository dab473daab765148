// One position of every sequence a run, with a key/value cache: generation.
import type { Graph, Value } from "../graph/graph.ts";
import { attentionDecode, attentionDecodePacked } from "../ops/decode.ts";
import { add } from "../ops/elementwise.ts";
import { embedding } from "../ops/embedding.ts";
import { ropeAt } from "../ops/rope.ts";
import { type Heads, seenHeads, type Sequence } from "./sequence.ts";

/** S sequences that grow to at most Tmax positions. */
export interface DecodeSequenceOptions {
  readonly graph: Graph;
  readonly S: number;
  readonly Tmax: number;
  /** Position of this run, a state u32[S]. */
  readonly position: Value;
  /** Put before the names of the caches. */
  readonly prefix: string;
}

/** Options of {@linkcode cacheLeaves}. */
export interface CacheOptions extends Omit<DecodeSequenceOptions, "position"> {
  /** Rows of a sequence, of which only the first is looked at (1). */
  readonly width?: number;
}

/** The caches of the layer that is being built, states [S, width·Tmax, K·E] of the graph. */
export function cacheLeaves(
  { graph, S, Tmax, width = 1, prefix }: CacheOptions,
): (heads: Pick<Heads, "K" | "E">) => { readonly cacheK: Value; readonly cacheV: Value } {
  const cache = (name: string, D: number) => {
    const whole = graph.leaf("state", `${prefix}${name} ${graph.scopePath}`, [S * width, Tmax, D]);
    if (width === 1) return whole;
    const within = { parent: whole, offset: 0 };
    return graph.leaf("state", `first rows of ${whole.name}`, [S, width * Tmax, D], { within });
  };
  return ({ K, E }) => ({ cacheK: cache("keys", K * E), cacheV: cache("values", K * E) });
}

/** The sequence of a program that computes one position a run; the caches are states of the graph. */
export function decodeSequence({ graph, S, Tmax, position, prefix }: DecodeSequenceOptions): Sequence {
  const caches = cacheLeaves({ graph, S, Tmax, prefix });
  return {
    N: S,
    length: Tmax,
    addPositions: (x, table) => add(x, embedding(table, position)),
    lead: (x) => x, // the positions in front were read with the prompt
    rotate: (x, tables, dims) => ropeAt(x, tables, { position, ...dims }),
    attend: (qkv, heads) =>
      attentionDecode({ ...qkv, ...caches(heads), position }, { S, Tmax, ...seenHeads(heads, Tmax) }),
    attendPacked: (qkv, heads) =>
      attentionDecodePacked({ qkv, ...caches(heads), position }, { S, Tmax, ...seenHeads(heads, Tmax) }),
  };
}
