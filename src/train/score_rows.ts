// How well a language model predicts each row of a data set: sums over its tokens, for means with intervals.
//
// Only labelled positions get logits, a chunk at a time. Scores stay on the GPU for a window of batches.
import { encodeScalars } from "../core/scalars.ts";
import { UsageError } from "../core/errors.ts";
import { collate } from "../data/batches.ts";
import { run, write } from "../gpu/executable.ts";
import { fetch } from "../gpu/store.ts";
import type { TokenRow } from "../metrics/perplexity.ts";
import { LENGTH_MULTIPLE, packLabelled } from "../objectives/arrange.ts";
import type { Arranged } from "../objectives/task.ts";
import { gatherRows } from "../ops/embedding.ts";
import { recordTokenScores } from "../ops/token_scores.ts";
import { scalarsLeaf } from "../optim/norm.ts";
import { prepareBatch, programKey, writeBatch } from "./forward.ts";
import type { Model } from "./model.ts";
import { batchScope, program } from "./programs.ts";
import type { Examples } from "./source.ts";
import { type ModelState, rowOptions } from "./state.ts";

/** Batches that are scored before a look. */
const WINDOW = 16;

/** Options of {@linkcode scoreRows}. */
export interface ScoreRowsOptions {
  /** Rows of a batch (8). */
  readonly batchSize?: number;
  /** Bytes of logits that are held at once (32 MiB). */
  readonly chunkBytes?: number;
}

/** A batch, and which rows of the data it has. */
interface Scored {
  readonly batch: Arranged;
  readonly rows: readonly number[];
  /** Labelled positions and their labels, padded to a power of two. */
  readonly labelled: ReturnType<typeof packLabelled>;
}

/**
 * Loss, labels and hits of every example, in their order, with the adapter in use.
 *
 * @throws {UsageError} `data/empty`; `usage/task` if the labels of the task are no tokens.
 *
 * @example Usage
 * ```ts no-eval
 * import { loadDataset, loadModel, openDevice, scoreRows } from "@graft/graft";
 *
 * const model = await loadModel(await openDevice(), "models/smollm2");
 * const rows = await scoreRows(model, await loadDataset("test.jsonl", { tokenizer: model.tokenizer }));
 * console.log(rows.map(({ loss, tokens }) => Math.exp(loss / tokens))); // perplexity of each row
 * ```
 */
export async function scoreRows(
  model: Model,
  data: Examples,
  { batchSize = 8, chunkBytes = 32 * 2 ** 20 }: ScoreRowsOptions = {},
): Promise<TokenRow[]> {
  const { state } = model;
  if (!state.task.tokens) {
    throw new UsageError("usage/task", `Cannot score tokens: the model is loaded for ${state.task.name}`);
  }
  const examples = data.examples.map((example, row) => data.prepare?.(example, { seed: 0, epoch: 0, row }) ?? example);
  if (examples.length === 0) throw new UsageError("data/empty", "Cannot evaluate a data set without examples");
  // The longest first: the largest program sizes the shared scratch memory, and rows of one length sit together.
  const order = examples.map((_, i) => i).sort((a, b) => examples[b]!.ids.length - examples[a]!.ids.length);
  const batches: Scored[] = [];
  for (let at = 0; at < order.length; at += batchSize) {
    const rows = order.slice(at, at + batchSize);
    const batch = prepareBatch(state, collate(rows.map((i) => examples[i]!), rowOptions(state)), {
      multiple: LENGTH_MULTIPLE,
    });
    batches.push({ batch, rows, labelled: packLabelled(batch.inputs.labels!.data as Int32Array, batch.items) });
  }
  const chunk = 2 ** Math.max(4, Math.floor(Math.log2(chunkBytes / 4 / state.architecture.V)));
  const results: TokenRow[] = examples.map(() => ({ loss: 0, tokens: 0, correct: 0 }));
  const stride = 2 ** Math.ceil(Math.log2(Math.max(...batches.map(({ labelled }) => labelled.rows.length))));
  for (let at = 0; at < batches.length; at += WINDOW) {
    const window = batches.slice(at, at + WINDOW);
    const scores = await model.queue(() => scoreWindow(state, window, { stride, chunk }));
    for (const [slot, { batch, rows, labelled }] of window.entries()) {
      for (let i = 0; i < batch.items; i++) {
        const row = rows[Math.floor(labelled.rows[i]! / batch.T)]!;
        const [loss, hit] = scores.subarray(2 * (slot * stride + i)) as unknown as [number, number];
        const { loss: sum, tokens, correct } = results[row]!;
        results[row] = { loss: sum + loss, tokens: tokens + 1, correct: correct + hit };
      }
    }
  }
  return results;
}

interface Sizes {
  /** Scores of a slot. */
  readonly stride: number;
  /** Rows of logits that are held at once. */
  readonly chunk: number;
}

/** [slots, stride, 2]: loss and hit of every labelled position. */
async function scoreWindow(
  state: ModelState,
  window: readonly Scored[],
  { stride, chunk }: Sizes,
): Promise<Float32Array> {
  const name = `token scores ${stride}`;
  const { task, architecture } = state;
  for (const [slot, { batch, labelled }] of window.entries()) {
    const R = labelled.rows.length;
    const places = Array.from({ length: Math.ceil(R / chunk) }, (_, i) => i * chunk);
    const made = await program(state, programKey(state, `score ${R} of ${stride} by ${chunk}`, batch), () => {
      const { m, graph, inputs, constants } = batchScope(state, batch, "nothing");
      const scores = graph.leaf("state", name, [WINDOW, stride, 2]);
      const hidden = task.tokens!.hidden(m, architecture, inputs);
      const scalars = scalarsLeaf(graph);
      const leaves = places.flatMap((place) => {
        const C = Math.min(chunk, R - place);
        const leaf = (what: string) => graph.leaf("input", `${what} from ${place}`, [C], { dtype: "u32" });
        const [rows, labels] = [leaf("rows"), leaf("their labels")];
        const logits = task.tokens!.logits(m, architecture, gatherRows(hidden, rows));
        recordTokenScores({ logits, labels, scalars, scores }, { place });
        return [rows, labels];
      });
      const named = Object.fromEntries(leaves.map((leaf) => [leaf.name, leaf]));
      return { graph, constants, inputs: { ...inputs, ...named, scalars }, results: {} };
    });
    writeBatch(made, batch, encodeScalars({ slot }));
    for (const place of places) {
      const part = (data: Uint32Array<ArrayBuffer> | Int32Array<ArrayBuffer>) => data.slice(place, place + chunk);
      write(made.executable, made.inputs[`rows from ${place}`]!, part(labelled.rows));
      write(made.executable, made.inputs[`their labels from ${place}`]!, part(labelled.labels));
    }
    run(made.executable);
  }
  return await fetch(state.store, name, { length: 2 * stride * window.length });
}
