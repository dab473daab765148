// Loss and perplexity of a model on a data set: sums of token losses over all tokens, read a few times in all.
import { encodeScalars } from "../core/scalars.ts";
import { UsageError } from "../core/errors.ts";
import { collate } from "../data/batches.ts";
import { run } from "../gpu/executable.ts";
import { fetch } from "../gpu/store.ts";
import { Graph } from "../graph/graph.ts";
import { LENGTH_MULTIPLE } from "../objectives/arrange.ts";
import { type Arranged, taskLoss } from "../objectives/task.ts";
import { lossLeaf, recordLoss } from "../optim/window.ts";
import { lossScale, prepareBatch, programKey, writeBatch } from "./forward.ts";
import { scalarsLeaf } from "../optim/norm.ts";
import type { Model } from "./model.ts";
import { batchScope, program } from "./programs.ts";
import type { Examples } from "./source.ts";
import { type ModelState, rowOptions } from "./state.ts";

/** Options of {@linkcode evaluate}. */
export interface EvaluateOptions {
  /** Rows of a batch (8). */
  readonly batchSize?: number;
  /** Rows to look at; all by default. */
  readonly limit?: number;
}

/** How well a model predicts a data set. */
export interface Evaluation {
  /** Mean negative log-likelihood, nats per token. */
  readonly loss: number;
  /** e to the loss. */
  readonly perplexity: number;
  /** Tokens that were predicted. */
  readonly tokens: number;
}

/** Batches whose losses are summed on the GPU before they are read: f32 sums of few terms stay exact enough. */
const WINDOW = 16;

/**
 * Evaluate the model, with the adapter in use, on the labels of a data set.
 *
 * @throws {UsageError} `data/empty`.
 */
export async function evaluate(
  model: Model,
  data: Examples,
  { batchSize = 8, limit = Infinity }: EvaluateOptions = {},
): Promise<Evaluation> {
  const { state } = model;
  // The longest first: the largest program sizes the shared scratch memory, and rows of one length sit together.
  const rows = data.examples.slice(0, limit);
  const fixed = rows.map((example, row) => data.prepare?.(example, { seed: 0, epoch: 0, row }) ?? example);
  const examples = fixed.toSorted((a, b) => b.ids.length - a.ids.length);
  if (examples.length === 0) throw new UsageError("data/empty", "Cannot evaluate a data set without examples");
  const batches: Arranged[] = [];
  for (let at = 0; at < examples.length; at += batchSize) {
    const batch = collate(examples.slice(at, at + batchSize), rowOptions(state));
    batches.push(prepareBatch(state, batch, { multiple: LENGTH_MULTIPLE }));
  }
  let sum = 0, tokens = 0;
  for (let at = 0; at < batches.length; at += WINDOW) {
    const window = batches.slice(at, at + WINDOW);
    sum += await model.queue(() => windowLoss(state, window));
    tokens += window.reduce((count, { items }) => count + items, 0);
  }
  const loss = sum / Math.max(1, tokens);
  return { loss, perplexity: Math.exp(loss), tokens };
}

async function windowLoss(state: ModelState, window: readonly Arranged[]): Promise<number> {
  for (const [i, batch] of window.entries()) {
    const made = await program(state, programKey(state, "evaluate", batch), () => {
      const { m, graph, inputs, constants } = batchScope(state, batch, "nothing");
      recordLoss(graph, taskLoss(state.task, m, state.architecture, inputs, { scale: lossScale(graph) }));
      return { graph, constants, inputs: { ...inputs, scalars: scalarsLeaf(graph) }, results: {} };
    });
    writeBatch(made, batch, encodeScalars({ lossScale: 1, first: i === 0 }));
    run(made.executable);
  }
  const [sum] = await fetch(state.store, lossLeaf(new Graph()).name, { length: 1 });
  return sum!;
}
