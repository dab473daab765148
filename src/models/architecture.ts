// What every model family provides: a function from tokens to hidden states, and the projection onto the vocabulary.
import type { Value } from "../graph/graph.ts";
import type { ModelScope, SiteInfo } from "../nn/scope.ts";

/** A family, configured by one config.json. */
export interface Architecture {
  /** `model_type` in config.json. */
  readonly type: string;
  /** Vocabulary. */
  readonly V: number;
  /** Width of the hidden states. */
  readonly D: number;
  readonly layers: number;
  /** Positions that the model knows. */
  readonly positions: number;
  /** Heads of the key/value cache and their width. */
  readonly cache: { readonly K: number; readonly E: number };
  /** Whether the output projection is the embedding. */
  readonly tied: boolean;
  /** Prefix that checkpoints of the bare model leave out, such as `"transformer."`. */
  readonly prefix: string;
  /** Hidden states h[N, D] after the last norm, for tokens u32[N]. */
  hidden(m: ModelScope, tokens: Value): Value;
  /** The output projection: its site and its weight[V, D]. */
  head(m: ModelScope): { readonly info: SiteInfo; readonly weight: Value };
}
