// Prefix tuning (arXiv:2101.00190): P keys and values in front of every attention layer, as PEFT lays them out.
//
//   column ((2·layer + (0: key, 1: value))·K + head)·E + d of a table [P, 2·layers·K·E]
//   with a projection:  table = tanh(e·W0ᵀ + b0)·W2ᵀ + b2,  e[P, K·E]
import type { Value } from "../graph/graph.ts";
import { UsageError } from "../core/errors.ts";
import type { Adapter } from "../nn/adapter.ts";
import type { AdapterInit, ModelScope } from "../nn/scope.ts";
import { tanh } from "../ops/activations.ts";
import { linear } from "../ops/matmul.ts";
import { PROMPT_PREFIX, trainedName } from "./full.ts";
import type { PrefixTuningConfig } from "./prefix_tuning_config.ts";
import { resolvePrompt } from "./prompt.ts";
import type { Base } from "./resolve.ts";

/** The settings with what the model says; the width is that of its keys. */
export function resolvePrefixTuning(config: PrefixTuningConfig, base: Base): PrefixTuningConfig {
  const { K, E } = base.cache;
  const resolved = resolvePrompt(config, base, { tokenDim: K * E, heads: K });
  return { ...resolved, encoderWidth: resolved.encoderWidth ?? K * E };
}

/** Prefix tuning as a method. */
export function prefixTuningAdapter(config: PrefixTuningConfig): Adapter {
  const { virtualTokens: P, modulesToSave, layers, tokenDim, encoder } = config;
  const table = (m: ModelScope): Value => {
    const width = tokenDim!, W = 2 * layers! * width;
    if (encoder) return projected(m, config, { width, W });
    return m.leaves.param(m.graph, "prompt_embeddings", [P, W], firstValues(config));
  };
  return {
    type: "PREFIX_TUNING",
    adapts: () => false,
    trains: trainedName({ modulesToSave }, () => false, PROMPT_PREFIX),
    virtualTokens: P,
    prefix: ({ path, m, K, E }) => ({ table: table(m), at: 2 * layerOf(path) * K * E }),
    ...(encoder ? { outputs: (m: ModelScope) => new Map([["prompt_embeddings", table(m)]]) } : {}),
  };
}

function firstValues({ init }: PrefixTuningConfig): AdapterInit {
  return init === "zero" ? { kind: "zeros" } : { kind: "normal", std: 1 };
}

function projected(
  { leaves, graph }: ModelScope,
  config: PrefixTuningConfig,
  { width, W }: { readonly width: number; readonly W: number },
): Value {
  const hidden = config.encoderWidth!;
  const layer = (n: number, In: number, Out: number) => ({
    w: leaves.param(graph, `transform.${n}.weight`, [Out, In], { kind: "uniform", bound: 1 / Math.sqrt(In) }),
    b: leaves.param(graph, `transform.${n}.bias`, [Out], { kind: "uniform", bound: 1 / Math.sqrt(In) }),
  });
  const e = leaves.param(graph, "embedding.weight", [config.virtualTokens, width], firstValues(config));
  const first = layer(0, width, hidden), second = layer(2, hidden, W);
  return linear(tanh(linear(e, first.w, { bias: first.b })), second.w, { bias: second.b });
}

/** The number of the layer that a path lies in. */
function layerOf(path: string): number {
  const layer = /\.(\d+)\./.exec(`.${path}.`)?.[1];
  if (layer !== undefined) return Number(layer);
  throw new UsageError("adapter/base", `Cannot put a prefix in front of "${path}" as it lies in no numbered layer`);
}
