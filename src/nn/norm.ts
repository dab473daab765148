// Normalization layers by their checkpoint names.
import type { Value } from "../graph/graph.ts";
import { headNorm } from "../ops/head_norm.ts";
import { layerNorm as layerNormOp } from "../ops/layer_norm.ts";
import { rmsNorm as rmsNormOp } from "../ops/rms_norm.ts";
import { type ModelScope, pathOf, weight, within } from "./scope.ts";

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

/** Sizes of {@linkcode headNorms}. */
export interface HeadNormOptions {
  /** Heads of the queries. */
  readonly H: number;
  /** Heads of the keys, and of the values. */
  readonly K: number;
  /** Columns of a head. */
  readonly E: number;
  readonly eps: number;
}

const HEAD_NORMS = ["q_norm", "k_norm"] as const;

/** Whether the norms of heads stay as they are, so that {@linkcode headNorms} can apply them. */
export function headNormsFrozen(m: ModelScope): boolean {
  return HEAD_NORMS.every((name) => m.adapter?.trains?.(`${pathOf(m, name)}.weight`) === undefined);
}

/** RMS norms q_norm and k_norm of the heads of queries and keys in qkv[N, (H + 2·K)·E], in one dispatch. */
export function headNorms(m: ModelScope, qkv: Value, options: HeadNormOptions): Value {
  const [wq, wk] = HEAD_NORMS.map((name) => weight(m, `${name}.weight`, [options.E], { kind: "ones" }));
  return headNorm(qkv, wq!, wk!, options);
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
