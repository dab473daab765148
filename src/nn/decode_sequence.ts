// One position of every sequence a run, with a key/value cache: generation.
import type { Graph, Value } from "../graph/graph.ts";
import { attentionDecode, attentionDecodePacked } from "../ops/decode.ts";
import { add } from "../ops/elementwise.ts";
import { embedding } from "../ops/embedding.ts";
import { ropeAt } from "../ops/rope.ts";
import type { Heads, Sequence } from "./sequence.ts";

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

/** The caches of the layer that is being built, states of the graph. */
export function cacheLeaves(
  { graph, S, Tmax, prefix }: Omit<DecodeSequenceOptions, "position">,
): (heads: Pick<Heads, "K" | "E">) => { readonly cacheK: Value; readonly cacheV: Value } {
  return ({ K, E }) => ({
    cacheK: graph.leaf("state", `${prefix}keys ${graph.scopePath}`, [S, Tmax, K * E]),
    cacheV: graph.leaf("state", `${prefix}values ${graph.scopePath}`, [S, Tmax, K * E]),
  });
}

/** The sequence of a program that computes one position a run; the caches are states of the graph. */
export function decodeSequence({ graph, S, Tmax, position, prefix }: DecodeSequenceOptions): Sequence {
  const caches = cacheLeaves({ graph, S, Tmax, prefix });
  return {
    N: S,
    length: Tmax,
    addPositions: (x, table) => add(x, embedding(table, position)),
    lead: (x) => x, // the positions in front were read with the prompt
    rotate: (x, tables, { heads, E }) => ropeAt(x, tables, { position, heads, E }),
    attend: (qkv, heads) => attentionDecode({ ...qkv, ...caches(heads), position }, { S, Tmax, ...heads }),
    attendPacked: (qkv, heads) => attentionDecodePacked({ qkv, ...caches(heads), position }, { S, Tmax, ...heads }),
  };
}
