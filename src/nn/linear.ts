// A linear map: y[N, Out] = x[N, In]·W[Out, In]ᵀ + bias[Out], adapted when the method says so.
import type { Value } from "../graph/graph.ts";
import { linear as linearOp } from "../ops/matmul.ts";
import type { LinearSite } from "./adapter.ts";
import { type Init, type ModelScope, pathOf, type SiteInfo, weight, within } from "./scope.ts";

/** Sizes and storage of a linear map. */
export interface LinearOptions {
  readonly In: number;
  readonly Out: number;
  /** Whether it has a bias. */
  readonly bias?: boolean;
  /** Whether W is stored [In, Out] (GPT-2's Conv1D). */
  readonly transposed?: boolean;
  /** How W starts when nothing is loaded. */
  readonly init?: Init;
}

/** Apply the linear map called `name` to x[N, In]. */
export function linear(m: ModelScope, name: string, x: Value, options: LinearOptions): Value {
  const { In, Out, bias = false, transposed = false, init } = options;
  const info: SiteInfo = { path: pathOf(m, name), In, Out, transposed, output: false };
  return within(m, name, () => {
    const w = weight(m, "weight", transposed ? [In, Out] : [Out, In], init);
    return applySite(m, info, x, w, bias ? weight(m, "bias", [Out], { kind: "zeros" }) : undefined);
  });
}

/** Apply a linear map whose weight is given, such as an output projection tied to the embedding. */
export function applySite(m: ModelScope, info: SiteInfo, x: Value, w: Value, bias?: Value): Value {
  m.leaves.site?.(info);
  const site = linearSite(m, info, w, bias);
  return m.adapter?.linear && m.adapter.adapts(info) ? m.adapter.linear(site, x) : site.base(x);
}

/** A plain linear map as methods see it. */
export function linearSite(m: ModelScope, info: SiteInfo, w: Value, bias: Value | undefined): LinearSite {
  const options = { transposed: info.transposed, ...(bias ? { bias } : {}) };
  return { ...info, m, weight: w, bias, plain: true, base: (x) => linearOp(x, w, options) };
}
