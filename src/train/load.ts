// From a folder to a model: everything is checked before anything is uploaded.
import { bytes } from "../core/dims.ts";
import { ModelError, OutOfMemoryError } from "../core/errors.ts";
import { loadTokenizer, type Tokenizer } from "../data/tokenizer.ts";
import type { GraftDevice } from "../gpu/device.ts";
import { createStore } from "../gpu/store.ts";
import { Graph } from "../graph/graph.ts";
import { openModelFolder } from "../io/hf.ts";
import { resolveModelFolder } from "../io/hub_cache.ts";
import type { Architecture, Head, HeadName } from "../models/architecture.ts";
import type { Json } from "../models/config.ts";
import { architectureOf } from "../models/mod.ts";
import { chooseTask, type TaskOptions } from "../objectives/choose_task.ts";
import { visitModel } from "../objectives/build.ts";
import type { Task } from "../objectives/task.ts";
import { taskOf } from "../objectives/tasks.ts";
import { packableLeaves, type Quantize, weightFormats } from "./formats.ts";
import { initialValues } from "./init.ts";
import { type Inventory, recordingLeaves, type TensorSpec } from "./leaves.ts";
import { Model } from "./model.ts";
import { putWeight, stackWeights } from "./stacks.ts";
import type { ModelState } from "./state.ts";
import { isPartOf, matchWeights, unusedTensors, uploadWeights } from "./weights.ts";

/** Seed of heads that a checkpoint does not have. */
const HEAD_SEED = 42;

/** Options of {@linkcode loadModel}. */
export interface LoadModelOptions extends TaskOptions {
  /** Told what is odd but usable. */
  readonly warn?: (text: string) => void;
  /**
   * Format in which frozen weights are kept on the device ("none": f32, or that of a quantized folder): all matrices in
   * `"f16"` or `"bf16"`, or the linear maps in blocks of `"int8"` or `"nf4"` (QLoRA) and the embedding and the output
   * projection as they are stored. Adapters train over it; merging takes the weights of the folder.
   */
  readonly quantize?: Quantize;
}

/**
 * Load a Hugging Face model folder: config.json, weights in safetensors (f32, f16, bf16, and bitsandbytes' nf4 and int8;
 * sharded or not) and, where there is one, the tokenizer. Weights are kept as f32 unless `quantize` says otherwise. The task
 * is that of config.json's `architectures`, unless `task` and `labels` say otherwise: a head that the folder does not have,
 * or has for another number of labels, starts at random.
 *
 * @throws {ConfigError} `config/…`, `model/missing-tensor`, `model/shape` listing all that is wrong, before anything is
 * allocated; `config/architectures` if the family has no such task.
 * @throws {UsageError} `model/quantized` if the folder is quantized and `quantize` asks for another format.
 * @throws {ModelError} `model/…`, `config/model_type` for folders that cannot be opened.
 * @throws {OutOfMemoryError} `mem/device` if the weights do not fit.
 *
 * @example Usage
 * ```ts no-eval
 * import { loadModel, openDevice } from "@graft/graft";
 *
 * const model = await loadModel(await openDevice(), "models/smollm2");
 * console.log(model.parameters.total);
 * ```
 */
export async function loadModel(
  device: GraftDevice,
  path: string,
  { warn = () => {}, quantize = "none", ...choice }: LoadModelOptions = {},
): Promise<Model> {
  const folder = await openModelFolder(await resolveModelFolder(path));
  try {
    folder.warnings.forEach(warn);
    const config = chooseTask(folder.config, choice);
    const architecture = architectureOf(config);
    const task = taskOf(config, architecture);
    const inventory = takeInventory(architecture, task);
    const heads = headModules(task, architecture);
    const names = matchWeights(folder, architecture, inventory, {
      optional: heads,
      resized: choice.labels !== undefined || choice.task !== undefined,
    });
    const missing = [...inventory.weights.keys()].filter((name) => !names.has(name));
    const fresh = freshModules(task, architecture, { missing });
    if (fresh.all.length > 0) {
      const list = fresh.all.join(" and ");
      warn(`${path} has no weights for ${list}: they start at random, and say nothing before they are trained`);
    }
    const unused = unusedTensors(folder, names);
    if (unused.length > 0) warn(`${unused.length} tensors of ${path} are not used: ${unused.slice(0, 5).join(", ")}`);
    const formats = weightFormats(folder, { names, inventory, quantize, heads });
    const largest = Math.max(
      ...[...inventory.weights.values()].map(({ name, shape }) => bytes({ shape, dtype: formats.get(name) ?? "f32" })),
    );
    if (largest > device.target.maxBuffer) {
      throw new OutOfMemoryError(
        "mem/buffer",
        `Cannot load ${path} as one of its weights takes ${largest} bytes and a buffer at most ${device.target.maxBuffer}`,
      );
    }
    const tokenizer = await folder.file("tokenizer.json")
      ? await loadTokenizer(folder.path, { rows: architecture.V })
      : undefined;
    const state = createState(device, architecture, inventory, {
      task,
      fresh: fresh.trained,
      config,
      path: folder.path,
      tokenizerOrNone: tokenizer,
      formats,
    });
    try {
      const { store, stacks } = state;
      await uploadWeights(folder, store, { names, formats, stacks });
      for (const name of missing) {
        await putWeight(store, stacks, name, initialValues(inventory.weights.get(name)!, HEAD_SEED));
      }
    } catch (error) {
      new Model(state).destroy();
      throw error;
    }
    return new Model(state);
  } finally {
    folder.close();
  }
}

/** What of a head is new: all of it that the names lack, and those modules that are trained in full for that. */
export function freshModules(
  task: Task,
  architecture: Architecture,
  { missing }: { readonly missing: readonly string[] },
): { readonly all: readonly string[]; readonly trained: readonly string[] } {
  const { modules, shared = [] } = headOrNone(task, architecture);
  const all = modules.filter((module) => missing.some((name) => isPartOf(name, [module])));
  return { all, trained: all.filter((module) => !shared.includes(module)) };
}

/** Modules of the head of a task, which a checkpoint may lack. */
export function headModules(task: Task, architecture: Architecture): readonly string[] {
  return headOrNone(task, architecture).modules;
}

function headOrNone({ name }: Task, { heads = {} }: Architecture): Pick<Head, "modules" | "shared"> {
  return Object.hasOwn(heads, name) ? heads[name as HeadName]! : { modules: [] };
}

/** Options of {@linkcode createModel}. */
export interface CreateModelOptions extends TaskOptions {
  /** Seed of the weights (42). */
  readonly seed?: number;
  /** What `model.tokenizer` gives; none by default. */
  readonly tokenizer?: Tokenizer;
  /** The first values of a tensor; those that the architecture says, from `seed`, where it gives none. */
  readonly initial?: (tensor: TensorSpec) => Float32Array<ArrayBuffer> | undefined;
}

/**
 * A model with random weights, for pre-training and benchmarks.
 *
 * @param given The content of a config.json.
 * @param options `seed` of the weights (42), and `initial`: the values of tensors that are known.
 */
export async function createModel(
  device: GraftDevice,
  given: Json,
  { seed = 42, tokenizer, initial, ...choice }: CreateModelOptions = {},
): Promise<Model> {
  const config = chooseTask(given, choice);
  const architecture = architectureOf(config);
  const task = taskOf(config, architecture);
  const inventory = takeInventory(architecture, task);
  const state = createState(device, architecture, inventory, {
    task,
    fresh: [],
    ...{ config, path: undefined, tokenizerOrNone: tokenizer, formats: new Map() },
  });
  for (const tensor of inventory.weights.values()) {
    await putWeight(state.store, state.stacks, tensor.name, initial?.(tensor) ?? initialValues(tensor, seed));
  }
  return new Model(state);
}

/** Weights and linear maps of an architecture with the head of a task, found by building it once for one token. */
export function takeInventory(architecture: Architecture, task: Task): Inventory {
  const { leaves, inventory } = recordingLeaves();
  const graph = new Graph();
  visitModel(architecture, task, { graph, adapter: undefined, leaves });
  for (const name of packableLeaves(graph)) inventory.packable.add(name);
  return inventory;
}

function createState(
  device: GraftDevice,
  architecture: Architecture,
  inventory: Inventory,
  rest: Pick<ModelState, "task" | "fresh" | "config" | "path" | "tokenizerOrNone" | "formats">,
): ModelState {
  return {
    device,
    store: createStore(device),
    architecture,
    inventory,
    ...rest,
    stacks: stackWeights(inventory, rest.formats, device.target),
    tokenizer: () => rest.tokenizerOrNone ?? missingTokenizer(rest.path ?? "this model"),
    adapters: new Map(),
    active: undefined,
    disabled: undefined,
    route: undefined,
    full: undefined,
    merged: undefined,
    training: false,
    programs: new Map(),
  };
}

function missingTokenizer(path: string): never {
  throw new ModelError("tokenizer/missing", `Cannot turn text into tokens as ${path} has no tokenizer.json`);
}
