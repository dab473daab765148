// The program of a training step without a device: for estimates of memory, and for tests of plans.
import { type AdapterConfig, buildAdapter } from "../adapters/mod.ts";
import { Graph, type Value } from "../graph/graph.ts";
import { recomputeLayers } from "../graph/recompute.ts";
import type { Target } from "../graph/target.ts";
import type { Architecture } from "../models/architecture.ts";
import { withPrefixes } from "../nn/prefixed.ts";
import type { LeafSource } from "../nn/scope.ts";
import { inputLeaves, taskSequence } from "../objectives/build.ts";
import { leadBatch } from "../objectives/lead_batch.ts";
import { type Task, taskLoss } from "../objectives/task.ts";
import { backward } from "../ops/backward.ts";
import { flatLayout } from "../optim/flat.ts";
import { placeGradients } from "../optim/gradients.ts";
import { recordLoss } from "../optim/window.ts";
import type { Formats } from "./formats.ts";
import { lossScale } from "./forward.ts";
import { flatTensors, type Inventory, recordingLeaves } from "./leaves.ts";
import { joinedPlace, neighbours, stackedLeaf, stackName, stacksMaps, stackWeights } from "./stacks.ts";

/** What the program depends on. */
export interface TraceOptions {
  readonly task: Task;
  /** The adapter; without one all weights are trained. */
  readonly adapter: AdapterConfig | undefined;
  /** Rows of a batch. */
  readonly B: number;
  /** Tokens of a row. */
  readonly T: number;
  /** Compute again in the backward pass what layers have computed (false). */
  readonly recompute?: boolean;
  /** The device; any by default. */
  readonly target?: Target;
  /** Formats of packed weights; none by default. */
  readonly formats?: Formats;
}

/** A program, and the tensors that it asked for. */
interface Traced {
  readonly graph: Graph;
  readonly inventory: Inventory;
}

/** The program of one micro-batch as training compiles it, and the tensors that it asked for. */
export function traceStep(architecture: Architecture, options: TraceOptions): Traced {
  const { leaves, inventory } = recordingLeaves(options.adapter ? "weight" : "param");
  const recorded = traceLoss(architecture, options, leaves);
  const { target } = recorded.graph;
  // Only now it is known which tensors lie one below the other.
  const { graph, loss } = stacksMaps(target)
    ? traceLoss(architecture, options, { ...leaves, stack: neighboursOf(inventory, options, target) })
    : recorded;
  if (options.recompute) recomputeLayers(graph);
  const gradients = backward(graph, loss);
  const trained = [...gradients.keys()].map(({ name, shape }) => ({ name, shape }));
  placeGradients(graph, gradients, flatLayout(trained, { maxWords: target.maxBinding / 4 }));
  recordLoss(graph, loss);
  return { graph, inventory };
}

function traceLoss(
  architecture: Architecture,
  { task, adapter, B, T, target }: TraceOptions,
  leaves: LeafSource,
): { readonly graph: Graph; readonly loss: Value } {
  const graph = new Graph(target);
  const method = adapter ? buildAdapter(adapter, "train") : undefined;
  const specimen = leadBatch(task.specimen({ B, T }), task, method);
  const arranged = task.arrange(specimen, architecture);
  const inputs = inputLeaves(graph, arranged);
  const sequence = taskSequence(task, architecture, inputs, arranged);
  const m = withPrefixes({ graph, adapter: method, sequence, leaves });
  return { graph, loss: taskLoss(task, m, architecture, inputs, { scale: lossScale(graph) }) };
}

/** The neighbours among the weights, and among the trained tensors. */
function neighboursOf(
  inventory: Inventory,
  { adapter, formats = new Map() }: Pick<TraceOptions, "adapter" | "formats">,
  target: Target,
): NonNullable<LeafSource["stack"]> {
  const trained = adapter
    ? neighbours([...inventory.params.values()].filter(({ frozen }) => !frozen), inventory)
    : [...inventory.weights.values()];
  const layout = flatLayout(flatTensors(trained), { maxWords: target.maxBinding / 4 });
  const stacks = stackWeights(inventory, formats, target);
  return (graph, kind, names, shape) => {
    const name = stackName(names);
    if (kind === "param" || !adapter) return joinedPlace(layout, names) && graph.leaf("param", name, shape);
    const place = stacks.get(names[0]!);
    return place && stackedLeaf(graph, place, name, shape);
  };
}
