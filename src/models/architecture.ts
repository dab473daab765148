// What every model family provides: a function from tokens to hidden states, and the heads that tasks put on them.
import type { Value } from "../graph/graph.ts";
import type { ModelScope, SiteInfo } from "../nn/scope.ts";

/** What encoders want to know of every token beside its id. */
export interface TokenPlaces {
  /** Which sentence it belongs to, u32[N]. */
  readonly token_type_ids?: Value;
  /** Its position, u32[N]. */
  readonly position_ids?: Value;
}

/** Heads by the task that they are for. */
export type HeadName =
  | "sequence-classification"
  | "token-classification"
  | "question-answering"
  | "masked-lm"
  | "sentence-embedding";

/** What a task puts on the hidden states. */
export interface Head {
  /** Modules (or weights) that a checkpoint of the bare model lacks. */
  readonly modules: readonly string[];
  /** Those of them that are not trained in full where they are new: they share the table of token vectors. */
  readonly shared?: readonly string[];
  /** Which tokens it reads: the first or the last of each sequence, the mean of all, or each. */
  readonly reads: "first" | "last" | "mean" | "each";
  /** The logits [rows, classes] of hidden states [rows, D]. */
  logits(m: ModelScope, hidden: Value, classes: number): Value;
}

/** The half of an encoder-decoder that reads, and how the other half starts to write. */
export interface Encoder {
  /** States [N, D] of tokens u32[N]. */
  states(m: ModelScope, tokens: Value): Value;
  /** Token that stands before the first one of every text that the decoder writes. */
  readonly startId: number;
  /** Token in place of labels that are not trained. */
  readonly padId: number;
}

/** The projection onto the vocabulary. */
export interface OutputHead {
  readonly info: SiteInfo;
  /** [V, D]. */
  readonly weight: Value;
  /** The logits are bent to softcap · tanh(logit / softcap). */
  readonly softcap?: number | undefined;
}

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
  /** Longer texts have other rotary angles from their start; none do by default. */
  readonly firstContext?: number;
  /** Heads of the key/value cache and their width. */
  readonly cache: { readonly K: number; readonly E: number };
  /** Whether the output projection is the embedding. */
  readonly tied: boolean;
  /** Prefix that checkpoints of the bare model leave out, such as `"transformer."`. */
  readonly prefix: string;
  /** Whether a position sees only itself and those before it. */
  readonly causal: boolean;
  /** Sentences that a row may have, each with a vector of its own; none by default. */
  readonly tokenTypes?: number;
  /** The positions of the tokens of a row, where they are not their columns. */
  readonly positionIds?: (ids: readonly number[]) => number[];
  /** Hidden states h[N, D] after the last norm, for tokens u32[N]. */
  hidden(m: ModelScope, tokens: Value, places?: TokenPlaces): Value;
  /** The output projection of a language model that predicts the next token. */
  head?(m: ModelScope): OutputHead;
  /** The other half of an encoder-decoder; {@linkcode hidden} is the decoder, which looks at what this one made. */
  readonly encoder?: Encoder;
  /** Heads for other tasks. */
  readonly heads?: { readonly [K in HeadName]?: Head };
}
