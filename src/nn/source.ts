// The other sequence of a decoder, in its three forms: read at once with the batch (training, evaluation), read once and
// kept as keys and values of every layer, or taken from there (generation).
import type { Graph, Value } from "../graph/graph.ts";
import { attention } from "../ops/attention.ts";
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
  /** mask u32[B, S]. */
  readonly mask: Value;
  /** Put before the names. */
  readonly prefix: string;
}

function cacheLeaves({ graph, B, S, prefix }: SourceCache, { K, E }: Heads): { readonly k: Value; readonly v: Value } {
  const leaf = (name: string) => graph.leaf("state", `${prefix}${name} ${graph.scopePath}`, [B * S, K * E]);
  return { k: leaf("keys"), v: leaf("values") };
}

/** The other sequence of a program that enters it in the caches of every layer, and of one decoder row each. */
export function enteredSource(states: Value, cache: SourceCache): Source {
  const { graph, B, mask } = cache;
  const full = fullSource({ states, B, T: 1, mask });
  return {
    attend: (q, project, heads) =>
      full.attend(q, (x) => {
        const made = project(x), { k, v } = cacheLeaves(cache, heads);
        graph.place(copy(made.k), { parent: k, offset: 0 });
        graph.place(copy(made.v), { parent: v, offset: 0 });
        return made;
      }, heads),
  };
}

/** The other sequence as a decoding program sees it, `width` rows for each. */
export function cachedSource(cache: SourceCache, width: number): Source {
  const { B, S, mask } = cache;
  return {
    attend: (q, _project, heads) =>
      attention({ q, ...cacheLeaves(cache, heads), mask }, { B, T: width, S, causal: false, ...heads }),
  };
}
