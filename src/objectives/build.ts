// From an arranged batch to the leaves and the sequence of a program.
import type { Graph } from "../graph/graph.ts";
import type { Architecture } from "../models/architecture.ts";
import type { Adapter } from "../nn/adapter.ts";
import { fullSequence } from "../nn/full_sequence.ts";
import type { LeafSource } from "../nn/scope.ts";
import type { Sequence } from "../nn/sequence.ts";
import { withPrefixes } from "../nn/prefixed.ts";
import { leadBatch } from "./lead_batch.ts";
import type { Arranged, Inputs, Task } from "./task.ts";

/** The inputs of a batch as leaves of `graph`, under their names. */
export function inputLeaves(graph: Graph, { inputs }: Arranged): Inputs {
  const leaves = Object.entries(inputs).map(([name, { shape, dtype }]) =>
    [name, graph.leaf("input", name, shape, { dtype })] as const
  );
  return Object.fromEntries(leaves) as Inputs; // every task has input_ids
}

/** How the rows of a program map to positions. */
export function taskSequence(
  task: Task,
  architecture: Architecture,
  inputs: Inputs,
  { B, T }: Pick<Arranged, "B" | "T">,
): Sequence {
  const { causal, positionIds } = architecture;
  const positions = positionIds ? undefined : inputs.position_ids; // else the model looks them up itself
  return task.sequence?.(architecture, inputs, { B, T }) ??
    fullSequence({ B, T, mask: inputs.attention_mask, positions, causal });
}

/** What {@linkcode visitModel} builds with. */
export interface VisitOptions {
  readonly graph: Graph;
  readonly adapter: Adapter | undefined;
  readonly leaves: LeafSource;
}

/** Build the model once for one token, so that `leaves` learns what it is made of. */
export function visitModel(architecture: Architecture, task: Task, { graph, adapter, leaves }: VisitOptions): void {
  const arranged = task.arrange(leadBatch(task.specimen({ B: 1, T: 1 }), task, adapter), architecture);
  const inputs = inputLeaves(graph, arranged);
  const sequence = taskSequence(task, architecture, inputs, arranged);
  task.logits(withPrefixes({ graph, adapter, sequence, leaves }), architecture, inputs);
}
