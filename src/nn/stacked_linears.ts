// Linear maps that share their input as one product, where they and what adapts them lie so that one can read them all.
import type { Value } from "../graph/graph.ts";
import { linear } from "../ops/matmul.ts";
import type { LinearOptions } from "./linear.ts";
import { type ModelScope, pathOf, type SiteInfo } from "./scope.ts";

/** A linear map by its name, stored [Out, In]. */
export interface StackedMap extends Pick<LinearOptions, "In" | "Out" | "bias"> {
  readonly name: string;
}

/**
 * The linear maps of x[N, In] side by side, [N, ΣOut]; undefined where they are not one product, so that each is to be
 * applied by itself. All have a bias or none.
 */
export function stackedLinears(m: ModelScope, x: Value, maps: readonly StackedMap[]): Value | undefined {
  const { adapter, leaves, graph } = m;
  const [{ In, bias = false }] = maps as readonly [StackedMap];
  const rows = maps.reduce((sum, { Out }) => sum + Out, 0);
  const sites = maps.map(({ name, Out }): SiteInfo => (
    { path: pathOf(m, name), In, Out, transposed: false, output: false }
  ));
  const names = (part: string) => sites.map(({ path }) => `${path}.${part}`);
  const tensors = [names("weight"), ...bias ? [names("bias")] : []];
  for (const list of tensors) leaves.together?.(list);
  if (4 * x.shape[0]! * rows > graph.target.maxBinding) return undefined; // single outputs are cut less, and fit more
  if (!leaves.stack || tensors.flat().some((name) => adapter?.trains?.(name) !== undefined)) return undefined;
  const base = () => {
    const added = bias ? leaves.stack!(graph, "weight", names("bias"), [rows]) : undefined;
    const weight = bias && !added ? undefined : leaves.stack!(graph, "weight", names("weight"), [rows, In]);
    return weight && { weight, bias: added };
  };
  if (adapter?.linear && sites.some((site) => adapter.adapts(site))) return adapter.stacked?.({ m, sites, base }, x);
  const plain = base();
  return plain && linear(x, plain.weight, plain.bias ? { bias: plain.bias } : {});
}
