// One batch through the model: loss and logits, or loss and gradients.
import { size } from "../core/dims.ts";
import { encodeScalars, ScalarWord } from "../core/scalars.ts";
import { UsageError } from "../core/errors.ts";
import type { Batch } from "../data/batch.ts";
import { read, run, write } from "../gpu/executable.ts";
import type { Value } from "../graph/graph.ts";
import { leadBatch } from "../objectives/lead_batch.ts";
import { recomputeLayers } from "../graph/recompute.ts";
import { type Arranged, type ArrangeOptions, taskLoss } from "../objectives/task.ts";
import type { ModelScope } from "../nn/scope.ts";
import { add } from "../ops/elementwise.ts";
import { scaleByWord } from "../ops/scale_by.ts";
import { backward } from "../ops/backward.ts";
import { scalarsLeaf } from "../optim/norm.ts";
import { lossBoost, unboosted } from "./boost.ts";
import { batchScope, program, type Trained } from "./programs.ts";
import { type AdapterNames, routeOf, withRoute } from "./route.ts";
import { stackedNames } from "./stacks.ts";
import { activeAdapter, adapterKey, methodInUse, type ModelState, type Program } from "./state.ts";

/** Options of {@linkcode Model.forward}. */
export interface ForwardOptions {
  /** The adapter of each sequence by name, null for the base; by default all are computed with the one in use. */
  readonly adapters?: AdapterNames;
}

/** What {@linkcode Model.forward} returns. */
export interface ForwardResult {
  /** Mean over the labels; undefined without labels. */
  readonly loss: number | undefined;
  /**
   * Row-major, of the shape that the task has: [B, T, V] of language models, [B, classes] of sequences, [B, T, classes]
   * of tokens, [B, T, 2] of answers (start and end).
   */
  readonly logits: { readonly shape: readonly number[]; readonly data: Float32Array };
}

/** Options of {@linkcode Model.gradients}. */
export interface GradientOptions {
  /** Compute again in the backward pass what layers have computed (false). */
  readonly recompute?: boolean;
}

/** What {@linkcode Model.gradients} returns. */
export interface GradientResult {
  /** Mean over the labels. */
  readonly loss: number;
  /** By the names of the trained tensors. */
  readonly gradients: ReadonlyMap<string, Float32Array>;
}

/** The factor of the loss, from the scalars of the step. */
export function lossScale(graph: Value["graph"]): { readonly value: Value; readonly word: number } {
  return { value: scalarsLeaf(graph), word: ScalarWord.LOSS_SCALE };
}

/** The loss with the method's own term, where it has one. */
export function withPenalty(m: ModelScope, loss: Value): Value {
  const penalty = m.adapter?.penalty?.(m);
  return penalty ? add(loss, scaleByWord(penalty, { value: scalarsLeaf(m.graph), word: ScalarWord.PENALTY })) : loss;
}

/** A text that differs between programs of different tasks, shapes and adapters. */
export function programKey(state: ModelState, what: string, { B, T, inputs }: Arranged): string {
  const shapes = Object.entries(inputs).map(([name, { shape, dtype }]) => `${name} ${dtype}[${shape}]`);
  const adapter = `${adapterKey(state)}${state.full ? " full" : ""}`;
  return `${what} ${state.task.name} [${B}, ${T}] ${shapes.join(" ")} ${adapter}`;
}

/** Write a batch into the inputs of a program. */
export function writeBatch(
  { executable, inputs }: Program,
  batch: Arranged,
  scalars: Uint32Array<ArrayBuffer>,
): void {
  for (const [name, { data }] of Object.entries(batch.inputs)) write(executable, inputs[name]!, data);
  write(executable, inputs.scalars!, scalars);
}

/** Check a batch and arrange it for this model and its task. */
export function prepareBatch(state: ModelState, batch: Batch, options?: ArrangeOptions): Arranged {
  const { task, architecture } = state;
  const method = methodInUse(state);
  const prefix = method?.prefix ? method.virtualTokens : undefined;
  return task.arrange(leadBatch(batch, task, method), architecture, { ...options, ...(prefix ? { prefix } : {}) });
}

/** What can be read of the logits: all rows but those of the positions in front. */
export function withoutLead(logits: ForwardResult["logits"], { T }: Arranged, P: number): ForwardResult["logits"] {
  const { shape: [B = 0, rows, width = 0], data } = logits;
  if (P === 0 || logits.shape.length < 3 || rows !== T) return logits;
  const kept = new Float32Array(B * (T - P) * width);
  for (let b = 0; b < B; b++) kept.set(data.subarray((b * T + P) * width, (b + 1) * T * width), b * (T - P) * width);
  return { shape: [B, T - P, width], data: kept };
}

/** See {@linkcode Model.forward}. */
export async function forward(
  state: ModelState,
  batch: Batch,
  { adapters }: ForwardOptions = {},
): Promise<ForwardResult> {
  if (!adapters) return await forwardAll(state, batch);
  const route = routeOf(state, adapters, batch.input_ids.length);
  return await withRoute(state, route, () => forwardAll(state, batch));
}

async function forwardAll(state: ModelState, batch: Batch): Promise<ForwardResult> {
  const { task, architecture } = state;
  const arranged = prepareBatch(state, batch);
  const { items } = arranged;
  const made = await program(state, programKey(state, "forward", arranged), () => {
    const { m, graph, inputs, constants } = batchScope(state, arranged, "nothing");
    const logits = task.logits(m, architecture, inputs);
    const loss = task.criterion(logits, inputs, { scale: lossScale(graph) });
    return { graph, constants, inputs: { ...inputs, scalars: scalarsLeaf(graph) }, results: { loss, logits } };
  });
  writeBatch(made, arranged, encodeScalars({ lossScale: 1 / Math.max(1, items) }));
  run(made.executable);
  const { loss, logits } = made.results as Record<"loss" | "logits", Value>;
  const [lossValue, data] = await read(made.executable, [loss, logits]);
  const all = { shape: task.shape(arranged), data: data! };
  const P = methodInUse(state)?.virtualTokens ?? 0;
  return { loss: items > 0 ? lossValue![0]! : undefined, logits: withoutLead(all, arranged, P) };
}

/** See {@linkcode Model.gradients}. */
export async function gradients(
  state: ModelState,
  batch: Batch,
  { recompute = false }: GradientOptions = {},
): Promise<GradientResult> {
  const arranged = prepareBatch(state, batch);
  const trained = trainedKind(state);
  const { items } = arranged;
  if (items === 0) {
    throw new UsageError("data/no-labels", "Cannot compute gradients as no label of the batch is trained");
  }
  const made = await program(
    state,
    programKey(state, `gradients of ${trained}${recompute ? " recomputed" : ""}`, arranged),
    () => {
      const { m, graph, inputs, constants } = batchScope(state, arranged, trained);
      const loss = withPenalty(m, taskLoss(state.task, m, state.architecture, inputs, { scale: lossScale(graph) }));
      if (recompute) recomputeLayers(graph);
      const found = backward(graph, loss);
      const entries = [...found].map(([param, gradient]) => [`d ${param.name}`, unboosted(gradient)]);
      const results = { loss: unboosted(loss), ...Object.fromEntries(entries) };
      return { graph, constants, inputs: { ...inputs, scalars: scalarsLeaf(graph) }, results };
    },
  );
  const boost = lossBoost(state.device.target);
  writeBatch(made, arranged, encodeScalars({ lossScale: boost / items, penalty: boost }));
  run(made.executable);
  const entries = Object.entries(made.results);
  const values = await read(made.executable, entries.map(([, v]) => v));
  const { tensors } = activeAdapter(state)?.layout ?? state.full!;
  const gradients = new Map([...tensors.values()].map(({ name, shape }) => [name, new Float32Array(size(shape))]));
  let loss = 0;
  for (const [i, [result]] of entries.entries()) {
    if (result === "loss") loss = values[i]![0]!;
    else {
      let at = 0;
      for (const name of stackedNames(result.slice(2))) {
        const gradient = gradients.get(name)!;
        gradient.set(values[i]!.subarray(at, at += gradient.length));
      }
    }
  }
  return { loss, gradients };
}

/**
 * What is trained: the adapter in use, or all weights.
 *
 * @throws {UsageError} `train/frozen` if nothing is.
 */
export function trainedKind(state: ModelState): Exclude<Trained, "nothing"> {
  if (activeAdapter(state)) return "adapter";
  if (state.full) return "weights";
  throw new UsageError(
    "train/frozen",
    "Cannot train as every weight is frozen: add an adapter, or unfreeze() the model",
  );
}
