// Prompt tuning (arXiv:2104.08691): P trained vectors in front of the token vectors of every sequence.
import { UsageError } from "../core/errors.ts";
import { below, randomKey } from "../core/random.ts";
import type { Adapter } from "../nn/adapter.ts";
import type { AdapterInit, MadeFrom } from "../nn/scope.ts";
import { PROMPT_PREFIX, trainedName } from "./full.ts";
import { resolvePrompt, tokenTable } from "./prompt.ts";
import type { PromptTuningConfig } from "./prompt_tuning_config.ts";
import type { Base } from "./resolve.ts";

/** The settings with what the model and its tokenizer say. */
export function resolvePromptTuning(config: PromptTuningConfig, base: Base): PromptTuningConfig {
  const resolved = { ...resolvePrompt(config, base), table: tokenTable(base) };
  if (config.init !== "TEXT" || config.initText === null || !base.encode) return resolved;
  const initTokens = base.encode(config.initText);
  if (initTokens.length > 0) return { ...resolved, initTokens };
  throw new UsageError("adapter/base", "Cannot start from the text of prompt_tuning_init_text as it has no token");
}

/** Prompt tuning as a method. */
export function promptTuningAdapter(config: PromptTuningConfig): Adapter {
  const { virtualTokens: P, modulesToSave } = config;
  return {
    type: "PROMPT_TUNING",
    adapts: () => false,
    trains: trainedName({ modulesToSave }, () => false, PROMPT_PREFIX),
    virtualTokens: P,
    prompt: ({ leaves, graph }, D) => leaves.param(graph, "prompt_embeddings", [P, D], firstVectors(config, D)),
  };
}

function firstVectors({ init, table, initTokens, virtualTokens: P }: PromptTuningConfig, D: number): AdapterInit {
  if (init === "RANDOM" || table === undefined) return { kind: "normal", std: 1 };
  const make = (weight: Float32Array<ArrayBuffer>, { seed }: MadeFrom) => {
    const key = randomKey(seed, "init", "prompt_embeddings"), V = weight.length / D;
    const rows = new Float32Array(P * D);
    for (let p = 0; p < P; p++) {
      const token = init === "SAMPLE_VOCAB" ? below(key, p, V) : tokenOf(p);
      rows.set(weight.subarray(token * D, (token + 1) * D), p * D);
    }
    return rows;
  };
  return { kind: "base", weight: table, make };

  function tokenOf(p: number): number {
    if (initTokens) return initTokens[p % initTokens.length]!;
    throw new UsageError("tokenizer/missing", "Cannot start from a text as the model has no tokenizer", {
      hint: 'Use the init "SAMPLE_VOCAB".',
    });
  }
}
