// AdaLoRA's allocation of ranks in a run: the word of every step, and what is left at the end.
import { adaloraNames } from "../adapters/adalora.ts";
import type { AdaloraConfig } from "../adapters/adalora_config.ts";
import { UsageError } from "../core/errors.ts";
import { readBack } from "../gpu/buffer.ts";
import type { Graph, Value } from "../graph/graph.ts";
import {
  allocateRanks,
  allocateWord,
  importance,
  keptName,
  type RankBudget,
  tripletsOf,
} from "../optim/rank_allocation.ts";
import type { FlatLayout } from "../optim/flat.ts";
import type { Constants } from "./programs.ts";
import { activeAdapter, type AdapterState, type ModelState } from "./state.ts";
import { adapterTensors, writeAdapter } from "./tensors.ts";

/** How the ranks of a run are shared out. */
export interface Allocation {
  readonly adapter: AdapterState;
  readonly config: AdaloraConfig;
  readonly budget: RankBudget;
}

/**
 * The allocation of a run of `steps` updates; undefined for other methods.
 *
 * @throws {UsageError} `adalora/steps` if the budget has no time to fall.
 */
export function allocationOf(state: ModelState, steps: number): Allocation | undefined {
  const adapter = activeAdapter(state);
  if (adapter?.config.type !== "ADALORA") return undefined;
  const { config, targets } = adapter;
  const { warmupSteps: warmup, finalSteps: final, interval, initialRank, targetRank } = config;
  const total = config.totalSteps ?? steps;
  if (warmup >= total - final) {
    throw new UsageError(
      "adalora/steps",
      `Cannot share out ranks in ${total} updates: tinit ${warmup} and tfinal ${final} leave none between them`,
    );
  }
  const M = targets.length;
  return { adapter, config, budget: { first: M * initialRank, last: M * targetRank, warmup, total, final, interval } };
}

/** The scalars of update `done`, of a window of so many micro-batches. */
export function allocationScalars(
  allocation: Allocation | undefined,
  done: number,
  micros: number,
): { readonly penalty?: number; readonly allocate?: number } {
  if (!allocation) return {};
  return { penalty: 1 / micros, allocate: allocateWord(done, allocation.budget) };
}

/** Append the allocation to the program of the update. */
export function appendAllocation(
  graph: Graph,
  layout: FlatLayout,
  { allocation: { adapter, config }, gradients }: {
    readonly allocation: Allocation;
    readonly gradients: readonly Value[];
  },
): Constants {
  const triplets = tripletsOf(layout, adapter.targets.map(adaloraNames));
  const name = `${layout.name} triplets.0`;
  const table = graph.leaf("weight", name, [triplets.table.length], { dtype: "u32" });
  allocateRanks(graph, layout, { triplets, table, watcher: importance(config), gradients });
  return new Map([[name, () => triplets.table]]);
}

/** Write down which ranks are left: what is saved afterwards is what is computed. */
export async function endAllocation(state: ModelState, { adapter, config, budget }: Allocation): Promise<void> {
  const buffer = state.store.buffers.get(keptName(adapter.layout));
  const next = { ...config, totalSteps: budget.total };
  if (!buffer) return void state.adapters.set(adapter.name, { ...adapter, config: next });
  const [words] = await readBack(state.device, "ranks", [{ buffer, offset: 0, length: budget.first }]);
  if (!words!.some((word) => word !== 0)) return; // no allocation was made
  const R = config.initialRank;
  const rankPattern: Record<string, readonly boolean[]> = {};
  const tensors = await adapterTensors(state, adapter);
  const masked = new Map<string, Float32Array<ArrayBuffer>>();
  adapter.targets.forEach((path, i) => {
    const kept = Array.from({ length: R }, (_, r) => words![i * R + r] !== 0);
    rankPattern[`${path}.lora_E`] = kept;
    const name = adaloraNames(path).e;
    masked.set(name, tensors.get(name)!.map((value, r) => kept[r] ? value : 0) as Float32Array<ArrayBuffer>);
  });
  await writeAdapter(state, adapter, masked);
  state.adapters.set(adapter.name, { ...adapter, config: { ...next, rankPattern } });
}
