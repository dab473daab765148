/**
 * Optimizers, clipping and learning-rate schedules that run on the GPU, over trained tensors in flat storage.
 *
 * A micro-batch leaves its gradients in the pages "grads.<page>" ({@linkcode placeGradients}), adds them to
 * "total.<page>" where a window has several ({@linkcode accumulate}) and its loss to "loss" ({@linkcode recordLoss}).
 * The update takes their norm ({@linkcode gradientNorm}), runs the optimizer ({@linkcode update}) and leaves its figures
 * in a ring ({@linkcode ringWrite}). Numbers that change by step come in through the input of
 * {@linkcode encodeScalars}.
 *
 * @example Usage
 * ```ts
 * import { Graph } from "@graft/graft/ops";
 * import { adamw, flatLayout, flatPages, gradientNorm, ringWrite, update } from "@graft/graft/optim";
 *
 * const layout = flatLayout([{ name: "w", shape: [64, 8] }], { maxWords: 2 ** 25 });
 * const graph = new Graph();
 * const gradients = flatPages(graph, layout, "grads");
 * gradientNorm(graph, gradients);
 * update(graph, layout, { optimizer: adamw({ weightDecay: 0.01 }), gradients });
 * ringWrite(graph);
 * console.log(graph.nodes.length); // 4
 * ```
 *
 * @module
 */
import { adagrad } from "./adagrad.ts";
import { adam, adamw } from "./adam.ts";
import type { Optimizer } from "./optimizer.ts";
import { sgd } from "./sgd.ts";

export { encodeScalars, RING_SLOTS, type ScalarName, type Scalars, ScalarWord } from "../core/scalars.ts";
export { adagrad, type AdagradOptions } from "./adagrad.ts";
export { adam, type AdamOptions, adamw } from "./adam.ts";
export { decays } from "./decay.ts";
export {
  type FlatLayout,
  flatLayout,
  flatLeaves,
  type FlatOptions,
  flatPages,
  type FlatPlace,
  type FlatRange,
  type FlatTensor,
} from "./flat.ts";
export { type PlacedGradients, placeGradients } from "./gradients.ts";
export { gradientNorm, scalarsLeaf, statsLeaf } from "./norm.ts";
export { type Corrections, type Optimizer, update, type UpdateOptions } from "./optimizer.ts";
export {
  constant,
  constantWithWarmup,
  cosine,
  type CosineOptions,
  linear,
  type Schedule,
  type ScheduleName,
  type ScheduleOptions,
  schedules,
  warmupSteps,
} from "./schedule.ts";
export { sgd, type SgdOptions } from "./sgd.ts";
export type { Sweep } from "../../shaders/lib/sweep.ts";
export { accumulate, lossLeaf, recordLoss, ringLeaf, ringWrite } from "./window.ts";

/** Optimizers by name. */
export const optimizers = { adamw, adam, sgd, adagrad } as const satisfies Record<
  string,
  (options?: never) => Optimizer
>;

/** Name of an optimizer. */
export type OptimizerName = keyof typeof optimizers;
