// Gradients against central differences of the float64 reference, entry by entry.
import { assert } from "@std/assert";
import { lora, type LoraOptions, type Model } from "../../mod.ts";
import { referenceLoss } from "./reference.ts";

/** Tensors that differences can be taken of. */
export function exact(tensors: ReadonlyMap<string, Float32Array>): Map<string, Float64Array> {
  return new Map([...tensors].map(([key, data]) => [key, Float64Array.from(data)]));
}

/** What is trained, and on what. */
export interface GradientCheck {
  readonly model: Model;
  readonly input_ids: readonly number[][];
  readonly labels: readonly number[][];
  /** Entries to look at, spread over all tensors. */
  readonly entries: number;
  /** LoRA's settings; all weights without. */
  readonly adapter?: Required<Pick<LoraOptions, "targetModules">>;
}

/** Errors of a {@linkcode GradientCheck}. */
export interface GradientErrors {
  readonly loss: number;
  /** The largest error of a gradient, and the largest gradient. */
  readonly worst: number;
  readonly largest: number;
}

/** Train `model` with LoRA of random factors, or all of its weights, for the gradients of one batch. */
export async function gradientErrors(
  { model, input_ids, labels, entries, adapter }: GradientCheck,
): Promise<GradientErrors> {
  const scale = 1 / 2; // larger ones make gradients that f32 cannot hold: noise of 1e-7 moves them by 3e-6
  if (adapter) await model.addAdapter(lora({ rank: 2, alpha: 1, init: false, ...adapter }));
  else await model.unfreeze();
  const { loss, gradients } = await model.gradients({
    input_ids: input_ids.map((row) => [...row]),
    labels: labels.map((row) => [...row]),
  });
  const weights = exact(await model.weights());
  const tensors = adapter ? exact(await model.adapterTensors()) : weights;
  const reference = { config: model.state.config, weights, ...adapter ? { adapter: { tensors, scale } } : {} };
  const value = () => referenceLoss(reference, input_ids, labels);
  const lossError = Math.abs(value() - loss);
  const eps = 2e-5; // the truncation is eps²/6 of the third derivative
  return { loss: lossError, ...compareGradients({ value, tensors, gradients, entries, eps }) };
}

/** What {@linkcode compareGradients} compares. */
export interface GradientComparison {
  /** The loss with the `tensors` as they are. */
  readonly value: () => number;
  readonly tensors: ReadonlyMap<string, Float64Array>;
  readonly gradients: ReadonlyMap<string, Float32Array>;
  /** Entries to look at, spread over all gradients. */
  readonly entries: number;
  /** Half of the difference between two values of an entry. */
  readonly eps: number;
}

/** The largest error of a gradient against differences of `value`, and the largest gradient. */
export function compareGradients(
  { value, tensors, gradients, entries, eps }: GradientComparison,
): Omit<GradientErrors, "loss"> {
  const names = [...gradients.keys()];
  assert(names.length > 0);
  const largest = Math.max(...[...gradients.values()].map((g) => g.reduce((m, x) => Math.max(m, Math.abs(x)), 0)));
  let worst = 0;
  for (let n = 0; n < entries; n++) {
    const name = names[n % names.length]!, data = tensors.get(name)!, i = (n * 7919) % data.length;
    const kept = data[i]!;
    data[i] = kept + eps;
    const above = value();
    data[i] = kept - eps;
    const below = value();
    data[i] = kept;
    worst = Math.max(worst, Math.abs((above - below) / (2 * eps) - gradients.get(name)![i]!));
  }
  return { worst, largest };
}
