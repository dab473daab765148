// The other sequence of a decoder, in its three forms: read at once with the batch (training, evaluation), read once and
// kept as keys and values of every layer, or taken from there (generation).
import type { Graph, Value } from "../graph/graph.ts";
import { attention } from "../ops/attention.ts";
import { attentionCached } from "../ops/decode.ts";
import { copy } from "../ops/elementwise.ts";
import type { Heads, Source } from "./sequence.ts";

/** The states that an encoder made of B sequences of S positions. */
export interface FullSourceOptions {
  /** [B·S, D]. */
  readonly states: Value;
  readonly B: number;
  /** Rows of a sequence of the decoder. */
  readonly T: number;
  /** mask u32[B, S], 1 for real tokens. */
  readonly mask?: Value | undefined;
}

/** The other sequence of a batch of decoder sequences. */
export function fullSource({ states, B, T, mask }: FullSourceOptions): Source {
  const S = states.shape[0]! / B;
  return {
    attend: (q, project, heads) =>
      attention({ q, ...project(states), ...mask ? { mask } : {} }, { B, T, S, causal: false, ...heads }),
  };
}

/** Where keys and values of B sequences of S positions are kept, as states of the graph. */
export interface SourceCache {
  readonly graph: Graph;
  readonly B: number;
  readonly S: number;
  /** Put before the names. */
  readonly prefix: string;
}

function cacheLeaves(
  { graph, B, S, prefix }: SourceCache,
  { K, E }: Heads,
): { readonly cacheK: Value; readonly cacheV: Value } {
  const leaf = (name: string) => graph.leaf("state", `${prefix}${name} ${graph.scopePath}`, [B, S, K * E]);
  return { cacheK: leaf("keys"), cacheV: leaf("values") };
}

/** The other sequence of a program that enters it in the caches of every layer, and of one decoder row each. */
export function enteredSource(full: Source, cache: SourceCache): Source {
  return {
    attend: (q, project, heads) =>
      full.attend(q, (states) => {
        const { k, v } = project(states), { cacheK, cacheV } = cacheLeaves(cache, heads);
        cache.graph.place(copy(k), { parent: cacheK, offset: 0 });
        cache.graph.place(copy(v), { parent: cacheV, offset: 0 });
        return { k, v };
      }, heads),
  };
}

/** How a decoding program sees the caches. */
export interface CachedSourceOptions extends SourceCache {
  /** Rows of the program for each sequence. */
  readonly readers: number;
  /** How many positions each sequence has, u32[B]. */
  readonly lengths: Value;
}

/** The other sequence as a decoding program sees it. */
export function cachedSource({ readers, lengths, ...cache }: CachedSourceOptions): Source {
  const { B: S, S: Tmax } = cache;
  return {
    attend: (q, _project, heads) =>
      attentionCached({ q, ...cacheLeaves(cache, heads), lengths }, { ...heads, S, Tmax, readers }),
  };
}
