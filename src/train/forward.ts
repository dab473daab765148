// One batch through the model: loss and logits, or loss and gradients.
import { size } from "../core/dims.ts";
import { encodeScalars, ScalarWord } from "../core/scalars.ts";
import { UsageError } from "../core/errors.ts";
import { type Batch, checkBatch } from "../data/batch.ts";
import { read, run, write } from "../gpu/executable.ts";
import type { Value } from "../graph/graph.ts";
import { causalLmLogits, causalLmLoss } from "../objectives/causal_lm.ts";
import { backward } from "../ops/backward.ts";
import { crossEntropy } from "../ops/cross_entropy.ts";
import { type BatchInputs, batchInputs } from "./batch_inputs.ts";
import { scalarsLeaf } from "../optim/norm.ts";
import { lossBoost, unboosted } from "./boost.ts";
import { batchScope, program, type Trained } from "./programs.ts";
import { activeAdapter, type ModelState, type Program } from "./state.ts";

/** What {@linkcode Model.forward} returns. */
export interface ForwardResult {
  /** Mean over the labels; undefined without labels. */
  readonly loss: number | undefined;
  /** Row-major [B, T, V]. */
  readonly logits: { readonly shape: readonly [number, number, number]; readonly data: Float32Array };
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

/** What the program of a batch depends on. */
export type ProgramShape = Pick<BatchInputs, "B" | "T" | "mask">;

/** A text that differs between programs of different adapters. */
export function programKey(state: ModelState, what: string, { B, T, mask }: ProgramShape): string {
  return `${what} [${B}, ${T}]${mask ? " masked" : ""} ${activeAdapter(state)?.name ?? ""}${state.full ? " full" : ""}`;
}

/** Write a batch into the inputs of a program. */
export function writeBatch(
  { executable, inputs }: Program,
  batch: BatchInputs,
  scalars: Uint32Array<ArrayBuffer>,
): void {
  if (inputs.tokens) write(executable, inputs.tokens, batch.tokens);
  if (inputs.labels) write(executable, inputs.labels, batch.labels);
  if (inputs.mask) write(executable, inputs.mask, batch.mask!);
  if (inputs.scalars) write(executable, inputs.scalars, scalars);
}

/** Check a batch and arrange it for this model. */
export function prepareBatch(state: ModelState, batch: Batch, multiple = 1): BatchInputs {
  const { V, positions } = state.architecture;
  checkBatch(batch, { vocabSize: V, positions });
  return batchInputs(batch, { multiple, positions });
}

/** See {@linkcode Model.forward}. */
export async function forward(state: ModelState, batch: Batch): Promise<ForwardResult> {
  const arranged = prepareBatch(state, batch);
  const { B, T, items } = arranged;
  const made = await program(state, programKey(state, "forward", arranged), () => {
    const { m, graph, inputs, constants } = batchScope(state, {
      B,
      T,
      masked: arranged.mask !== undefined,
      trained: "nothing",
    });
    const logits = causalLmLogits(m, state.architecture, inputs.tokens);
    const loss = crossEntropy(logits, inputs.labels, { reduction: "mean" });
    return { graph, constants, inputs, results: { loss, logits } };
  });
  writeBatch(made, arranged, encodeScalars({}));
  run(made.executable);
  const { loss, logits } = made.results as Record<"loss" | "logits", Value>;
  const [lossValue, data] = await read(made.executable, [loss, logits]);
  return { loss: items > 0 ? lossValue![0]! : undefined, logits: { shape: [B, T, state.architecture.V], data: data! } };
}

/** See {@linkcode Model.gradients}. */
export async function gradients(state: ModelState, batch: Batch): Promise<GradientResult> {
  const arranged = prepareBatch(state, batch);
  const trained = trainedKind(state);
  const { B, T, items } = arranged;
  if (items === 0) {
    throw new UsageError("data/no-labels", "Cannot compute gradients as no label of the batch is trained");
  }
  const made = await program(state, programKey(state, `gradients of ${trained}`, arranged), () => {
    const { m, graph, inputs, constants } = batchScope(state, { B, T, masked: arranged.mask !== undefined, trained });
    const loss = causalLmLoss(m, state.architecture, { ...inputs, scale: lossScale(graph) });
    const found = backward(graph, loss);
    const entries = [...found].map(([param, gradient]) => [`d ${param.name}`, unboosted(gradient)]);
    const results = { loss: unboosted(loss), ...Object.fromEntries(entries) };
    return { graph, constants, inputs: { ...inputs, scalars: scalarsLeaf(graph) }, results };
  });
  writeBatch(made, arranged, encodeScalars({ lossScale: lossBoost(state.device.target) / items }));
  run(made.executable);
  const entries = Object.entries(made.results);
  const values = await read(made.executable, entries.map(([, v]) => v));
  const named = new Map(entries.map(([name], i) => [name, values[i]!]));
  const layout = activeAdapter(state)?.layout ?? state.full!;
  return {
    loss: named.get("loss")![0]!,
    gradients: new Map(
      [...layout.tensors.values()].map((t) => [t.name, named.get(`d ${t.name}`) ?? new Float32Array(size(t.shape))]),
    ),
  };
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
