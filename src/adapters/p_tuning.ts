// P-tuning (arXiv:2103.10385): P vectors in front of the token vectors, made by three layers as PEFT's MLP has them.
//
//   prompt = relu(relu(e·W0ᵀ + b0)·W2ᵀ + b2)·W4ᵀ + b4      e[P, D] ~ N(0, 1)
import { UsageError } from "../core/errors.ts";
import type { Value } from "../graph/graph.ts";
import type { Adapter } from "../nn/adapter.ts";
import type { AdapterInit, ModelScope } from "../nn/scope.ts";
import { relu } from "../ops/activations.ts";
import { linear } from "../ops/matmul.ts";
import { PROMPT_PREFIX, trainedName } from "./full.ts";
import type { PTuningConfig } from "./p_tuning_config.ts";
import { resolvePrompt } from "./prompt.ts";
import type { Base } from "./resolve.ts";

/**
 * The settings with what the model says.
 *
 * @throws {UsageError} `adapter/base` for a fresh LSTM, which is not trained here.
 */
export function resolvePTuning(config: PTuningConfig, base: Base): PTuningConfig {
  if (config.encoder && config.encoderKind === "LSTM") {
    throw new UsageError("adapter/base", "Cannot train an LSTM that makes the vectors in front: use the kind MLP");
  }
  const resolved = resolvePrompt(config, base);
  return { ...resolved, encoderWidth: resolved.encoderWidth ?? base.D };
}

/** P-tuning as a method. */
export function pTuningAdapter(config: PTuningConfig): Adapter {
  const { virtualTokens: P, modulesToSave, tokenDim, encoder } = config;
  const normal: AdapterInit = { kind: "normal", std: 1 };
  const prompt = (m: ModelScope, D: number): Value =>
    encoder ? encoded(m, config, D) : m.leaves.param(m.graph, "prompt_embeddings", [P, D], normal);
  return {
    type: "P_TUNING",
    adapts: () => false,
    trains: trainedName({ modulesToSave }, () => false, PROMPT_PREFIX),
    virtualTokens: P,
    prompt,
    ...(encoder ? { outputs: (m: ModelScope) => new Map([["prompt_embeddings", prompt(m, tokenDim!)]]) } : {}),
  };
}

function encoded({ leaves, graph }: ModelScope, { virtualTokens: P, encoderWidth }: PTuningConfig, D: number): Value {
  const hidden = encoderWidth!;
  const layer = (n: number, x: Value, Out: number) => {
    const init: AdapterInit = { kind: "uniform", bound: 1 / Math.sqrt(x.shape[1]!) };
    const w = leaves.param(graph, `mlp_head.${n}.weight`, [Out, x.shape[1]!], init);
    return linear(x, w, { bias: leaves.param(graph, `mlp_head.${n}.bias`, [Out], init) });
  };
  const e = leaves.param(graph, "embedding.weight", [P, D], { kind: "normal", std: 1 });
  return layer(4, relu(layer(2, relu(layer(0, e, hidden)), hidden)), D);
}
