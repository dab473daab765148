// A new adapter on top of a trained one: what can be, and how the file says so.
import { labelled, loneReason, type Part, stacked } from "../adapters/composite.ts";
import { type AdapterConfig, buildAdapter } from "../adapters/mod.ts";
import { printable, UsageError } from "../core/errors.ts";
import { Graph } from "../graph/graph.ts";
import { visitModel } from "../objectives/build.ts";
import { recordingLeaves } from "./leaves.ts";
import { adaptersInUse, type ModelState } from "./state.ts";
import { knownAdapter } from "./tensors.ts";

/** The field of adapter_config.json that names the adapter below. PEFT does not know it. */
export const STACKED_ON = "graft_stacked_on";

/**
 * Check that whoever loads an adapter knows what it lies on.
 *
 * @throws {UsageError} `adapter/stacked` if the file says that it lies on another, and none is given.
 */
export function checkStack(path: string, below: unknown, on: string | undefined): void {
  if (below === undefined || on !== undefined) return;
  const name = printable(JSON.stringify(below));
  throw new UsageError("adapter/stacked", `Cannot use this adapter alone as it was trained on top of ${name}`, {
    path,
    hint: "Load that one first, and give its name as `on`.",
  });
}

/**
 * Build the model once with both.
 *
 * @throws {UsageError} `adapter/stacked` with what does not go together.
 */
export function tryStack(state: ModelState, config: AdapterConfig, on: string): void {
  const below = adaptersInUse(state, knownAdapter(state, on));
  const upper = buildAdapter(config, "train"), weights = state.inventory.weights;
  const refuse = (reason: string) => {
    throw new UsageError("adapter/stacked", `Cannot put an adapter on "${printable(on)}" as ${reason}`);
  };
  const own = loneReason(upper, [], "stacked");
  if (own !== undefined) refuse(`the new one ${own}`);
  if (config.type === "LORA" && config.dora) refuse("DoRA measures the weights of the base alone");
  const { leaves } = recordingLeaves();
  let part: Part | undefined;
  for (const { name, config: lower } of below) {
    const adapter = buildAdapter(lower, "eval");
    const reason = loneReason(adapter, [], "stacked");
    if (reason !== undefined) refuse(`it ${reason}`);
    const both = [...weights.keys()].find((weight) => adapter.trains?.(weight) && upper.trains?.(weight));
    if (both !== undefined) refuse(`both train ${both}`);
    const next = { adapter, leaves: labelled(leaves, `${name}: `) };
    part = part ? stacked(part, next) : next;
  }
  const { adapter, leaves: all } = stacked(part!, { adapter: upper, leaves });
  visitModel(state.architecture, state.task, { graph: new Graph(), adapter, leaves: all });
}
