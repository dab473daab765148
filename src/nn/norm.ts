// Normalization layers by their checkpoint names.
import type { Value } from "../graph/graph.ts";
import { layerNorm as layerNormOp } from "../ops/layer_norm.ts";
import { rmsNorm as rmsNormOp } from "../ops/rms_norm.ts";
import { type ModelScope, weight, within } from "./scope.ts";

/** Width and epsilon of a norm. */
export interface NormOptions {
  readonly D: number;
  readonly eps: number;
}

/** What an RMS norm has beside. */
export interface RmsNormOptions extends NormOptions {
  /** Whether the weight is stored as an offset from one (Gemma). */
  readonly offset?: boolean;
}

/** RMS norm of x[N, D] with the weight `name`.weight[D]; of x[N, heads·D], every head by itself. */
export function rmsNorm(m: ModelScope, name: string, x: Value, { D, eps, offset = false }: RmsNormOptions): Value {
  return within(m, name, () => {
    tell(m, D);
    return rmsNormOp(x, weight(m, "weight", [D], { kind: offset ? "zeros" : "ones" }), { eps, offset });
  });
}

/** Weights [E] of the norms of the heads of queries and keys; undefined where they are trained. */
export function frozenHeadNorms(m: ModelScope, E: number): readonly [wq: Value, wk: Value] | undefined {
  const [wq, wk] = ["q_norm", "k_norm"].map((name) => weight(m, `${name}.weight`, [E], { kind: "ones" }));
  return wq!.role === "param" || wk!.role === "param" ? undefined : [wq!, wk!];
}

/** Layer norm of x[N, D] with `name`.weight[D] and `name`.bias[D]. */
export function layerNorm(m: ModelScope, name: string, x: Value, { D, eps }: NormOptions): Value {
  return within(m, name, () => {
    tell(m, D);
    const bias = weight(m, "bias", [D], { kind: "zeros" });
    return layerNormOp(x, weight(m, "weight", [D], { kind: "ones" }), bias, { eps });
  });
}

function tell({ leaves, graph }: ModelScope, D: number): void {
  leaves.site?.({ path: graph.scopePath, In: D, Out: D, transposed: false, output: false, kind: "norm" });
}
