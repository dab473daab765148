// How adapters meet models without either knowing the other: a model calls `linear`, `embed`, `rmsNorm`, `branch` and
// `weight`, each at a site with a path; the method overrides what it does there, and everything else stays as it is. A
// method without `merge` cannot be folded into the base.
import type { Value } from "../graph/graph.ts";
import type { ModelScope, SiteInfo } from "./scope.ts";

/** A linear map of the model while a program is built. */
export interface LinearSite extends SiteInfo {
  readonly m: ModelScope;
  /** W[Out, In], or [In, Out] when transposed. */
  readonly weight: Value;
  /** bias[Out]. */
  readonly bias: Value | undefined;
  /** The map below the method: x[N, In] → [N, Out]. */
  base(x: Value): Value;
  /** Whether `base` is just x·Wᵀ + bias, so that a method may fuse it with its own work. */
  readonly plain: boolean;
}

/** Linear maps that share their input, while a program is built. */
export interface StackedSite {
  readonly m: ModelScope;
  readonly sites: readonly SiteInfo[];
  /** Their W[Out, In] and biases, one below the other; undefined where they do not lie so. */
  base(): { readonly weight: Value; readonly bias: Value | undefined } | undefined;
}

/** A table of token vectors while a program is built; In is the vocabulary, Out the width. */
export interface EmbedSite extends SiteInfo {
  readonly m: ModelScope;
  /** [In, Out]. */
  readonly weight: Value;
  /** The rows below the method: tokens u32[N] → [N, Out]. */
  base(tokens: Value): Value;
}

/** Where a layer may branch off: behind its attention, or behind its feed-forward, before the residual is added. */
export interface BranchSite {
  /** The path of the sublayer, such as `"model.layers.3.mlp"`. */
  readonly path: string;
  readonly kind: "attention" | "mlp";
  readonly m: ModelScope;
  /** Width of input and output. */
  readonly D: number;
}

/** An attention layer, for methods that put keys and values in front. */
export interface AttentionSite {
  /** Such as `"model.layers.3.self_attn"`. */
  readonly path: string;
  readonly m: ModelScope;
  /** Key/value heads. */
  readonly K: number;
  /** Width of a head. */
  readonly E: number;
}

/** What a linear map becomes when a method is folded into it. */
export interface MergedLinear {
  /** Stored like the site's weight. */
  readonly weight: Value;
  /** Where the bias changes too. */
  readonly bias?: Value;
}

/** A fine-tuning method: what it does at each kind of site. */
export interface Adapter {
  /** `peft_type` in adapter_config.json. */
  readonly type: string;
  /** Whether the method changes this linear map or table of token vectors. */
  adapts(site: SiteInfo): boolean;
  /** The adapted output of x[N, In] → [N, Out]. */
  linear?(site: LinearSite, x: Value): Value;
  /** The outputs of several maps side by side, some of them adapted; undefined where it is not one product. */
  stacked?(site: StackedSite, x: Value): Value | undefined;
  /** Weight and bias that make a plain linear map behave like the adapted one; absent: cannot be merged. */
  merge?(site: LinearSite): MergedLinear;
  /** The adapted rows of tokens u32[N] → [N, Out], for a table that it adapts. */
  embed?(site: EmbedSite, tokens: Value): Value;
  /** The table [V, D] that behaves like the adapted one; absent: cannot be merged. */
  mergeTable?(site: EmbedSite): Value;
  /**
   * The name under which PEFT saves the weight `name` of the checkpoint when the method trains all of it (norms,
   * biases, modules_to_save); undefined where it stays frozen.
   */
  trains?(name: string): string | undefined;
  /** What a module reads of the tensor `of`[V, D] that it shares with a table of token vectors; `of` itself without. */
  tied?(m: ModelScope, names: { readonly name: string; readonly of: string }, weight: Value): Value;
  /** What leaves a sublayer whose input was x[N, D] and output h[N, D]. */
  branch?(site: BranchSite, h: Value, x: Value): Value;
  /** Positions that stand in front of every sequence (prompt and prefix tuning). */
  readonly virtualTokens?: number;
  /** Vectors [virtualTokens, D] of those positions, in place of token vectors. */
  prompt?(m: ModelScope, D: number): Value;
  /** Keys and values of those positions in one layer: columns of a table [virtualTokens, W], K·E of keys, then of values. */
  prefix?(site: AttentionSite): { readonly table: Value; readonly at: number };
  /** A term [1] that joins the loss in training, of what was built before. */
  penalty?(m: ModelScope): Value;
  /** What is saved in place of the trained tensors where those only make it; these are kept in a file of their own. */
  outputs?(m: ModelScope): ReadonlyMap<string, Value>;
}
