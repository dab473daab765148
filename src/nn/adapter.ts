// How adapters meet models without either knowing the other: a model calls `linear` with a site, the method overrides
// what it does there. A method that has no `merge` cannot be folded into the base.
import type { Value } from "../graph/graph.ts";
import type { ModelScope, SiteInfo } from "./scope.ts";

/** A linear map of the model while a program is built. */
export interface LinearSite extends SiteInfo {
  readonly m: ModelScope;
  /** W[Out, In], or [In, Out] when transposed. */
  readonly weight: Value;
  /** bias[Out]. */
  readonly bias: Value | undefined;
}

/** A fine-tuning method. */
export interface Adapter {
  /** `peft_type` in adapter_config.json. */
  readonly type: string;
  /** Whether the method changes this linear map. */
  adapts(site: SiteInfo): boolean;
  /** The adapted output of x[N, In] → [N, Out]. */
  linear(site: LinearSite, x: Value): Value;
  /** The weight that makes a plain linear map behave like the adapted one, stored like the site's. */
  merge(site: LinearSite): Value;
}
