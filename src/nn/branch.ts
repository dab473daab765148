// The end of a sublayer: what a method makes of its output before the residual is added.
import type { Value } from "../graph/graph.ts";
import { type ModelScope, pathOf } from "./scope.ts";

/**
 * The output h[N, D] of the sublayer called `name` (an attention or a feed-forward) with what the method adds to it;
 * x[N, D] is the sublayer's input.
 */
export function branch(
  m: ModelScope,
  kind: "attention" | "mlp",
  { name, h, x }: { readonly name: string; readonly h: Value; readonly x: Value },
): Value {
  const path = pathOf(m, name);
  return m.adapter?.branch?.({ path, kind, m, D: h.shape[1]! }, h, x) ?? h;
}
