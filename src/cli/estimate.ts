// Memory of a training step before anything is allocated: the program of the largest batch is traced and planned as it
// will be.
import type { AdapterConfig } from "../adapters/mod.ts";
import { bytes } from "../core/dims.ts";
import { fuse } from "../graph/fuse.ts";
import { plan } from "../graph/plan.ts";
import { recompute } from "../graph/recompute.ts";
import type { Target } from "../graph/target.ts";
import type { Architecture } from "../models/architecture.ts";
import type { Task } from "../objectives/task.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import type { Formats } from "../train/formats.ts";
import { countElements, type Inventory, savedTensors } from "../train/leaves.ts";
import { traceStep } from "../train/trace.ts";

/** What training needs on the device, in bytes. */
export interface MemoryEstimate {
  /** Weights of the base, in their formats. */
  readonly weights: number;
  /** Trained tensors with their gradients and the optimizer's states. */
  readonly trained: number;
  /** Temporaries of the step. */
  readonly temporaries: number;
  readonly total: number;
  /** Elements of the trained tensors. */
  readonly trainedParameters: number;
  /** Elements of all tensors. */
  readonly parameters: number;
  /** Parameters of the model alone. */
  readonly baseParameters: number;
}

/** What decides about the memory. */
export interface EstimateOptions {
  readonly task: Task;
  readonly inventory: Inventory;
  /** Formats of packed weights. */
  readonly formats: Formats;
  /** The adapter; without one all weights are trained. */
  readonly adapter: AdapterConfig | undefined;
  readonly optimizer: Optimizer;
  /** Rows of a batch. */
  readonly B: number;
  /** Tokens of the longest row. */
  readonly T: number;
  /** Batches of an update. */
  readonly gradientAccumulation: number;
  /** Whether the backward pass computes layers again. */
  readonly recompute: boolean;
  /** The device, as kernels of each class keep other things; any by default. */
  readonly target?: Target | undefined;
}

/** Estimate the memory of training. */
export function estimateMemory(architecture: Architecture, options: EstimateOptions): MemoryEstimate {
  const { inventory, formats, adapter, optimizer, gradientAccumulation, target, ...step } = options;
  const traced = traceStep(architecture, { ...step, adapter, formats, ...(target ? { target } : {}) });
  const { graph } = traced;
  const sum = (sizes: Iterable<number>) => [...sizes].reduce((a, b) => a + b, 0);

  const base = countElements(inventory.weights.values());
  const tensors = [...savedTensors(traced.inventory.params).values()];
  const added = countElements(tensors);
  const trainedParameters = adapter ? countElements(tensors.filter(({ frozen }) => !frozen)) : base;
  // Gradients and states; a window of several batches adds a total, and an adapter has parameters of its own.
  const copies = 1 + optimizer.stateNames.length + (gradientAccumulation > 1 ? 1 : 0) + (adapter ? 1 : 0);
  const inputs = sum([...graph.leaves.values()].filter((v) => v.role === "input").map(bytes));
  const weights = weightBytes(inventory, formats) + 4 * (adapter ? added - trainedParameters : 0),
    trained = 4 * trainedParameters * copies,
    temporaries = sum(plan(recompute(fuse(graph))).bufferBytes) + inputs;
  return {
    weights,
    trained,
    temporaries,
    total: weights + trained + temporaries,
    trainedParameters,
    baseParameters: base,
    parameters: base + added,
  };
}

/** Bytes of all weights on the device. */
export function weightBytes({ weights }: Inventory, formats: Formats): number {
  let sum = 0;
  for (const { name, shape } of weights.values()) sum += bytes({ shape, dtype: formats.get(name) ?? "f32" });
  return sum;
}
