// What the folder of a model says, for a task, before anything is loaded.
import { openModelFolder } from "../io/hf.ts";
import type { Architecture } from "../models/architecture.ts";
import type { Json } from "../models/config.ts";
import { architectureOf } from "../models/mod.ts";
import { chooseTask, type TaskOptions } from "../objectives/choose_task.ts";
import type { Task } from "../objectives/task.ts";
import { taskOf } from "../objectives/tasks.ts";
import { type Formats, type Quantize, weightFormats } from "../train/formats.ts";
import type { Inventory } from "../train/leaves.ts";
import { freshModules, headModules, takeInventory } from "../train/load.ts";
import { matchWeights } from "../train/weights.ts";

/** A model that fits the task. */
export interface Inspected {
  /** config.json as it is, and as it will be. */
  readonly stored: Json;
  readonly config: Json;
  readonly architecture: Architecture;
  readonly task: Task;
  readonly inventory: Inventory;
  /** Modules that the folder does not have. */
  readonly fresh: readonly string[];
  readonly formats: Formats;
  readonly warnings: readonly string[];
}

/**
 * Look at a model folder.
 *
 * @throws {ConfigError} as `loadModel`.
 */
export async function inspectModel(
  path: string,
  { quantize, ...choice }: TaskOptions & { readonly quantize: Quantize },
): Promise<Inspected> {
  const folder = await openModelFolder(path);
  try {
    const config = chooseTask(folder.config, choice);
    const architecture = architectureOf(config);
    const task = taskOf(config, architecture);
    const inventory = takeInventory(architecture, task);
    const heads = headModules(task, architecture);
    const resized = choice.labels !== undefined || choice.task !== undefined;
    const names = matchWeights(folder, architecture, inventory, { optional: heads, resized });
    const missing = [...inventory.weights.keys()].filter((name) => !names.has(name));
    const fresh = freshModules(task, architecture, { missing }).trained;
    const formats = weightFormats(folder, { names, inventory, quantize, heads });
    return {
      ...{ config, architecture, task, inventory, fresh, formats },
      stored: folder.config,
      warnings: [...folder.warnings],
    };
  } finally {
    folder.close();
  }
}
