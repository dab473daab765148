// The logits of many examples, in batches of similar length that share few programs.
import { encodeScalars } from "../core/scalars.ts";
import { size } from "../core/dims.ts";
import { UsageError } from "../core/errors.ts";
import type { Batch } from "../data/batch.ts";
import { collate } from "../data/batches.ts";
import type { Example } from "../data/labels.ts";
import { read, run } from "../gpu/executable.ts";
import { LENGTH_MULTIPLE } from "../objectives/arrange.ts";
import { scalarsLeaf } from "../optim/norm.ts";
import { prepareBatch, programKey, withoutLead, writeBatch } from "./forward.ts";
import type { Model } from "./model.ts";
import { batchScope, program } from "./programs.ts";
import { methodInUse, type ModelState, rowOptions } from "./state.ts";

/** Options of {@linkcode predictLogits}. */
export interface PredictLogitsOptions {
  /** Rows of a batch (8). */
  readonly batchSize?: number;
}

/**
 * The logits of each example, in their order: [classes] of sequences, [T, classes] of tokens, without padding.
 *
 * @throws {UsageError} `usage/task` for language models: their logits are `forward`'s.
 */
export async function predictLogits(
  model: Model,
  examples: readonly Example[],
  { batchSize = 8 }: PredictLogitsOptions = {},
): Promise<Float32Array[]> {
  const { state } = model;
  const { name, classes } = state.task;
  if (name === "causal-lm" || name === "masked-lm" || name === "seq2seq-lm") {
    throw new UsageError("usage/task", `Cannot predict labels with a model for ${name}`, {
      hint: 'Load it with a task that has labels: loadModel(…, { task: "sequence-classification", labels }).',
    });
  }
  const order = [...examples.keys()].sort((a, b) => examples[b]!.ids.length - examples[a]!.ids.length);
  const results: Float32Array[] = new Array(examples.length);
  for (let at = 0; at < order.length; at += batchSize) {
    const rows = order.slice(at, at + batchSize);
    const batch = withoutTargets(collate(rows.map((row) => examples[row]!), rowOptions(state)));
    const { shape, data } = await model.queue(() => batchLogits(state, batch));
    const stride = size(shape) / rows.length;
    rows.forEach((row, b) => {
      const length = shape.length === 3 ? examples[row]!.ids.length * classes : stride;
      results[row] = data.slice(b * stride, b * stride + length);
    });
  }
  return results;
}

/** Labels are not looked at, so that a program serves rows with and without them. */
function withoutTargets({ input_ids, attention_mask, token_type_ids }: Batch): Batch {
  return {
    input_ids,
    ...(attention_mask ? { attention_mask } : {}),
    ...(token_type_ids ? { token_type_ids } : {}),
  };
}

async function batchLogits(
  state: ModelState,
  batch: Batch,
): Promise<{ readonly shape: readonly number[]; readonly data: Float32Array }> {
  const { task, architecture } = state;
  const arranged = prepareBatch(state, batch, { multiple: LENGTH_MULTIPLE });
  const made = await program(state, programKey(state, "predict", arranged), () => {
    const { m, graph, inputs, constants } = batchScope(state, arranged, "nothing");
    const logits = task.logits(m, architecture, inputs);
    return { graph, constants, inputs: { ...inputs, scalars: scalarsLeaf(graph) }, results: { logits } };
  });
  writeBatch(made, arranged, encodeScalars({}));
  run(made.executable);
  const [data] = await read(made.executable, [made.results.logits!]);
  return withoutLead({ shape: task.shape(arranged), data: data! }, arranged, methodInUse(state)?.virtualTokens ?? 0);
}
