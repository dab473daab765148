// Memory of a training step, without a device: the program of the largest batch is traced and planned as it will be.
import { type AdapterConfig, buildAdapter } from "../adapters/mod.ts";
import { bytes } from "../core/dims.ts";
import { Graph } from "../graph/graph.ts";
import { plan } from "../graph/plan.ts";
import type { Architecture } from "../models/architecture.ts";
import { fullSequence } from "../nn/full_sequence.ts";
import type { LeafSource } from "../nn/scope.ts";
import { causalLmLoss } from "../objectives/causal_lm.ts";
import { backward } from "../ops/backward.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import { lossScale } from "../train/forward.ts";
import { countElements, type Inventory, recordingLeaves } from "../train/leaves.ts";

/** What training needs on the device, in bytes. */
export interface MemoryEstimate {
  /** Weights of the base, f32. */
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
  readonly inventory: Inventory;
  /** The adapter; without one all weights are trained. */
  readonly adapter: AdapterConfig | undefined;
  readonly optimizer: Optimizer;
  /** Rows of a batch. */
  readonly B: number;
  /** Tokens of the longest row. */
  readonly T: number;
  /** Batches of an update. */
  readonly accumulate: number;
}

/** Estimate the memory of training. */
export function estimateMemory(architecture: Architecture, options: EstimateOptions): MemoryEstimate {
  const { inventory, adapter, optimizer, B, T, accumulate } = options;
  const { leaves, inventory: traced } = recordingLeaves();
  const graph = new Graph();
  const m = {
    graph,
    adapter: adapter ? buildAdapter(adapter, "train") : undefined,
    sequence: fullSequence({ B, T }),
    leaves: adapter ? leaves : trainable(leaves),
  };
  const tokens = graph.leaf("input", "input_ids", [B * T], { dtype: "u32" });
  const labels = graph.leaf("input", "labels", [B * T], { dtype: "u32" });
  const loss = causalLmLoss(m, architecture, { tokens, labels, scale: lossScale(graph) });
  const gradients = backward(graph, loss);
  const { slotBytes } = plan(graph, [...gradients.values()]);
  const sum = (sizes: Iterable<number>) => [...sizes].reduce((a, b) => a + b, 0);

  const base = countElements(inventory.weights.values());
  const added = countElements(traced.params.values());
  const trainedParameters = adapter ? added : base;
  // Gradients are counted as temporaries; a window of several batches adds their total.
  const copies = optimizer.stateNames.length + (accumulate > 1 ? 1 : 0) + (adapter ? 1 : 0);
  const inputs = sum([...graph.leaves.values()].filter((v) => v.role === "input").map(bytes));
  const weights = 4 * base, trained = 4 * trainedParameters * copies, temporaries = sum(slotBytes) + inputs;
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

/** The same source with every weight trained. */
function trainable(leaves: LeafSource): LeafSource {
  return { ...leaves, weight: (graph, name, shape) => graph.leaf("param", name, shape) };
}
