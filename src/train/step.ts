// The programs of one update: micro-steps that leave gradients and losses in flat storage, and the update itself.
//
//   micro, gradientAccumulation times: forward, loss, backward → grads;  total = FIRST ? grads : total + grads
//   update:                            norm, clip, optimizer, ring[slot] = (loss, norm, flag, rate)
import { encodeScalars, RING_SLOTS, type Scalars } from "../core/scalars.ts";
import { write } from "../gpu/executable.ts";
import { observe } from "../gpu/observe.ts";
import { fetch, release } from "../gpu/store.ts";
import { Graph } from "../graph/graph.ts";
import { recomputeLayers } from "../graph/recompute.ts";
import { type Arranged, taskLoss } from "../objectives/task.ts";
import { backward } from "../ops/backward.ts";
import { type FlatLayout, flatPages } from "../optim/flat.ts";
import { type LoraPlus, withLoraPlus } from "../optim/lora_plus.ts";
import { placeGradients } from "../optim/gradients.ts";
import { gradientNorm, scalarsLeaf } from "../optim/norm.ts";
import { type Optimizer, update } from "../optim/optimizer.ts";
import { accumulate as addToTotal, recordLoss, ringLeaf, ringWrite } from "../optim/window.ts";
import { lossBoost, unboosted } from "./boost.ts";
import { type Allocation, appendAllocation } from "./allocation.ts";
import { lossScale, programKey, trainedKind, withPenalty, writeBatch } from "./forward.ts";
import { batchScope, program } from "./programs.ts";
import { activeAdapter, type ModelState, type Program } from "./state.ts";

/** Settings of a run that its programs depend on. */
export interface StepOptions {
  readonly optimizer: Optimizer;
  /** Micro-batches of an update. */
  readonly gradientAccumulation: number;
  readonly smoothing: number;
  /** Apply weight decay to biases and norms too. */
  readonly decayAll: boolean;
  /** Rates of LoRA+ beside the peak that they are relative to. */
  readonly loraPlus?: LoraPlus | undefined;
  readonly learningRate?: number;
  /** How AdaLoRA's ranks are shared out. */
  readonly allocation?: Allocation | undefined;
  /** Compute again in the backward pass what layers have computed, instead of keeping it. */
  readonly recompute: boolean;
}

/** What the ring holds about one update. */
export interface RingRow {
  readonly loss: number;
  readonly gradNorm: number;
  /** Whether a gradient was not finite; the parameters were left alone. */
  readonly nonFinite: boolean;
}

/** Storage of what is trained. */
export function trainedLayout(
  state: ModelState,
  { decayAll, loraPlus, learningRate = 0 }: Pick<StepOptions, "decayAll" | "loraPlus" | "learningRate">,
): FlatLayout {
  const plain = trainedKind(state) === "adapter" ? activeAdapter(state)!.layout : state.full!;
  const layout = loraPlus ? withLoraPlus(plain, loraPlus, learningRate) : plain;
  return decayAll ? { ...layout, ranges: layout.ranges.map((range) => ({ ...range, decay: true })) } : layout;
}

/** The program of a micro-batch with these shapes. */
export function microProgram(state: ModelState, batch: Arranged, options: StepOptions): Promise<Program> {
  const { smoothing, gradientAccumulation, recompute } = options;
  const trained = trainedKind(state);
  const how = `${gradientAccumulation > 1 ? "window" : ""}${recompute ? " recomputed" : ""}`;
  const key = programKey(state, `train ${trained} smoothing ${smoothing} ${how}`, batch);
  return program(state, key, () => {
    const { m, graph, inputs, constants } = batchScope(state, batch, trained);
    const labels = taskLoss(state.task, m, state.architecture, inputs, { scale: lossScale(graph), smoothing });
    const loss = withPenalty(m, labels);
    if (recompute) recomputeLayers(graph);
    const layout = trainedLayout(state, options);
    const gradients = [...backward(graph, loss)].map(([param, gradient]) => [param, unboosted(gradient)] as const);
    placeGradients(graph, new Map(gradients), layout);
    recordLoss(graph, unboosted(loss));
    if (gradientAccumulation > 1) addToTotal(graph, layout);
    return { graph, constants, inputs: { ...inputs, scalars: scalarsLeaf(graph) }, results: {} };
  });
}

/** Queue one micro-batch: its gradients replace or join those of the window. */
export async function microStep(
  state: ModelState,
  batch: Arranged,
  scalars: Scalars,
  options: StepOptions,
): Promise<void> {
  const made = await microProgram(state, batch, options);
  const { lossScale: factor = 1 } = scalars;
  const boost = lossBoost(state.device.target);
  const boosted = { ...scalars, lossScale: factor * boost, penalty: (scalars.penalty ?? 1) * boost };
  writeBatch(made, batch, encodeScalars(boosted));
  await observe(made.executable);
}

/** Queue the update that ends a window. */
export async function updateStep(state: ModelState, scalars: Scalars, options: StepOptions): Promise<void> {
  const { optimizer, gradientAccumulation, decayAll, allocation } = options;
  // One optimizer a run: endTraining frees this program, so its settings need not be in the key.
  const several = gradientAccumulation > 1;
  const key = `update ${activeAdapter(state)?.name ?? "weights"} ${optimizer.name} ${several} ${decayAll}`;
  const made = await program(state, key, () => {
    const graph = new Graph(state.device.target);
    const layout = trainedLayout(state, options);
    const gradients = flatPages(graph, layout, several ? "total" : "grads");
    gradientNorm(graph, gradients);
    update(graph, layout, { optimizer, gradients });
    const constants = allocation ? appendAllocation(graph, layout, { allocation, gradients }) : new Map();
    ringWrite(graph);
    return { graph, constants, inputs: { scalars: scalarsLeaf(graph) }, results: {} };
  });
  write(made.executable, made.inputs.scalars!, encodeScalars(scalars));
  await observe(made.executable);
}

/** Read the whole ring; waits until the GPU is idle. */
export async function readRing(state: ModelState): Promise<RingRow[]> {
  const words = await fetch(state.store, ringLeaf(new Graph()).name, { length: 4 * RING_SLOTS });
  return Array.from({ length: RING_SLOTS }, (_, slot) => {
    const [loss, gradNorm, flag] = words.subarray(4 * slot, 4 * slot + 3);
    return { loss: loss!, gradNorm: gradNorm!, nonFinite: flag !== 0 };
  });
}

/** Free gradients, moments and rings of a run, so that the next one starts from nothing. */
export function endTraining(state: ModelState, { name }: FlatLayout): void {
  const prefix = `${name} `;
  // The whole rest is compared: another adapter's name may begin with this one's.
  const mine = [...state.store.buffers.keys()].filter((key) =>
    key.startsWith(prefix) && /^(?!params\.)\w+\.\d+$/.test(key.slice(prefix.length))
  );
  for (const [key, { executable }] of state.programs) {
    if (!key.startsWith("train ") && !key.startsWith("update ")) continue;
    state.programs.delete(key);
    executable.destroy();
  }
  release(state.store, [...mine, "stats", "ring"]); // "loss" is shared with the programs of evaluation
}
