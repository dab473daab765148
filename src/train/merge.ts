// Folding an adapter into the weights, module by module, on the GPU.
import { buildAdapter } from "../adapters/mod.ts";
import { CheckpointError, NumericError, printable, UsageError } from "../core/errors.ts";
import { compile, read, run, write } from "../gpu/executable.ts";
import { firstNonFinite } from "../gpu/interpret.ts";
import { Graph, type Value } from "../graph/graph.ts";
import { openModelFolder } from "../io/hf.ts";
import { saveModelFolder } from "../io/hf_save.ts";
import type { WeightDType } from "../io/tensor_dtype.ts";
import type { Adapter } from "../nn/adapter.ts";
import { embedSite } from "../nn/embed.ts";
import { fullSequence } from "../nn/full_sequence.ts";
import { linearSite } from "../nn/linear.ts";
import { modelScope } from "./programs.ts";
import { adaptersInUse, type AdapterState, type ModelState, type StoredWeight } from "./state.ts";
import { adapterTensors, readStored, readWeight, requireAdapter, writeStored } from "./tensors.ts";
import { matchWeights } from "./weights.ts";

/** See {@linkcode Model.merge}. */
export async function merge(state: ModelState, names?: readonly string[]): Promise<void> {
  if (state.merged) {
    const already = state.merged.adapters.map((name) => `"${printable(name)}"`).join(" and ");
    throw new CheckpointError("merge/already", `Cannot merge as ${already} is merged already`);
  }
  const adapters = adaptersOf(state, names);
  const merged = await mergedWeights(state, adapters);
  const originals = new Map<string, StoredWeight>();
  for (const weight of merged.keys()) originals.set(weight, await readStored(state, weight));
  for (const [weight, values] of merged) {
    await writeStored(state, weight, { format: undefined, words: new Uint32Array(values.buffer) });
  }
  state.merged = { adapters: adapters.map(({ name }) => name), originals };
}

/** The adapters called so, each once, behind those that they lie on; the one in use by default. */
function adaptersOf(state: ModelState, names?: readonly string[]): AdapterState[] {
  if (names?.length === 0) throw new UsageError("adapter/unknown", "Cannot merge no adapter: give its name");
  const given = names ? names.map((name) => requireAdapter(state, name)) : [requireAdapter(state)];
  return [...new Set(given.flatMap((adapter) => adaptersInUse(state, adapter)))];
}

/** See {@linkcode Model.unmerge}. */
export async function unmerge(state: ModelState): Promise<void> {
  if (!state.merged) throw new CheckpointError("merge/none", "Cannot unmerge as no adapter is merged");
  for (const [weight, stored] of state.merged.originals) await writeStored(state, weight, stored);
  state.merged = undefined;
}

/** Options of {@linkcode Model.saveMerged}. */
export interface SaveMergedOptions {
  /** Element type of the file ("f32"). */
  readonly dtype?: WeightDType;
  /** Names of the adapters to fold in, in this order; the one in use by default. */
  readonly adapters?: readonly string[];
}

/** See {@linkcode Model.saveMerged}. Without an adapter in use the model is saved as it is. */
export async function saveMerged(
  state: ModelState,
  path: string,
  { dtype = "f32", adapters }: SaveMergedOptions,
): Promise<void> {
  const merged = (adapters ?? state.active) !== undefined && !state.merged
    ? await mergedWeights(state, adaptersOf(state, adapters))
    : new Map<string, Float32Array>();
  const { quantization_config: _, ...config } = state.config;
  const base = await openBase(state);
  const saved = saveModelFolder(path, {
    config,
    dtype,
    tensors: [...state.inventory.weights.values()].map(({ name, shape }) => ({
      name,
      shape,
      data: () => merged.get(name) ?? base.read(name),
    })),
    ...(state.path === undefined ? {} : { source: state.path }),
  });
  const { overflowed } = await saved.finally(() => base.close());
  if (overflowed.size > 0) {
    const list = [...overflowed].map(([name, count]) => `${count} of ${name}`).join(", ");
    throw new NumericError("num/overflow", `Saved ${path}, but values became infinite in ${dtype}: ${list}`, {
      hint: "Save again with dtype bf16 or f32 into another folder.",
    });
  }
}

/** The weights as they were before anything was packed: packed ones are read from the folder again. */
async function openBase(
  state: ModelState,
): Promise<{ read(name: string): Promise<Float32Array<ArrayBuffer>>; close(): void }> {
  if (state.formats.size === 0) return { read: (name) => readWeight(state, name), close() {} };
  const folder = await openModelFolder(state.path!);
  const names = matchWeights(folder, state.architecture, state.inventory);
  return {
    read: (name) => state.formats.has(name) ? folder.read(names.get(name)!) : readWeight(state, name),
    close: () => folder.close(),
  };
}

/**
 * The weights that change when the adapters are folded in, one into what the others made.
 *
 * @throws {CheckpointError} `merge/method` where there are no weights that do what the adapter does.
 * @throws {NumericError} `merge/non-finite` naming the weight, before anything is changed.
 */
async function mergedWeights(state: ModelState, adapters: readonly AdapterState[]): Promise<MergedWeights> {
  const methods = adapters.map((adapter) => [adapter, buildAdapter(adapter.config, "eval")] as const);
  for (const [, method] of methods) {
    const reason = mergeProblem(state, method);
    if (reason === undefined) continue;
    throw new CheckpointError("merge/method", `Cannot merge this ${method.type} adapter as ${reason}`, {
      hint: "Use it beside the base instead: --adapter, or loadAdapter().",
    });
  }
  const merged: MergedWeights = new Map();
  const base = await openBase(state);
  try {
    for (const [adapter, method] of methods) {
      const trained = await trainedWeights(state, adapter, method);
      const twice = [...trained.keys()].find((name) => merged.has(name));
      if (twice !== undefined) throw fullTwice(twice, adapter);
      trained.forEach((values, name) => merged.set(name, values));
      for (const target of adapter.targets) await mergeModule(state, { adapter, method, target, base, merged });
    }
  } finally {
    base.close();
  }
  for (const [name, values] of merged) {
    const bad = firstNonFinite(new Uint32Array(values.buffer));
    if (bad < 0) continue;
    throw new NumericError(
      "merge/non-finite",
      `Cannot merge into ${name} as element ${bad} becomes ${values[bad]}; nothing was changed`,
    );
  }
  return merged;
}

/** Why there are no weights that do what a method does; undefined where there are. */
export function mergeProblem(
  { architecture, inventory }: Pick<ModelState, "architecture" | "inventory">,
  method: Adapter,
): string | undefined {
  if (method.virtualTokens !== undefined) return "positions in front of the text are no weights of the model";
  if (method.branch) return "its layers between the model's have an activation, which no weight of the model has";
  const { modules } = inventory;
  const adapted = [...modules.values()].filter((site) =>
    (site.kind === "embedding" ? method.embed : method.linear) && method.adapts(site)
  );
  if (adapted.some(({ kind }) => kind !== "embedding") && !method.merge) return "it is no change of the weights";
  if (adapted.some(({ kind }) => kind === "embedding") && !method.mergeTable) return "it is no change of the table";
  if (!architecture.tied) return undefined;
  // A method that acts on both uses of a shared weight can be merged into it.
  const shared = adapted.find(({ output, kind }) => output || (kind === "embedding" && !method.tied))?.path;
  const trained = [...modules.values()].find(({ output, kind, path }) =>
    (output || kind === "embedding") && method.trains?.(`${path}.weight`) !== undefined
  )?.path;
  const path = shared ?? trained;
  return path === undefined
    ? undefined
    : `it changes ${path}, whose weight is also that of ${
      inventory.modules.get(path)!.output ? "the embedding" : "the output projection"
    }`;
}

function fullTwice(weight: string, { name }: AdapterState): CheckpointError {
  return new CheckpointError(
    "merge/method",
    `Cannot merge "${printable(name)}" too as it has a copy of ${printable(weight)}, which another adapter has changed`,
  );
}

/** Weights that the adapter has copies of. */
async function trainedWeights(state: ModelState, adapter: AdapterState, method: Adapter): Promise<MergedWeights> {
  const merged: MergedWeights = new Map();
  if (!method.trains) return merged;
  const tensors = await adapterTensors(state, adapter);
  for (const name of state.inventory.weights.keys()) {
    const saved = method.trains(name);
    if (saved !== undefined) merged.set(name, tensors.get(saved) as Float32Array<ArrayBuffer>);
  }
  return merged;
}

/** Values of changed weights by name. */
type MergedWeights = Map<string, Float32Array<ArrayBuffer>>;

interface MergeCall {
  readonly adapter: AdapterState;
  readonly method: Adapter;
  /** Path of the module. */
  readonly target: string;
  readonly base: { read(name: string): Promise<Float32Array<ArrayBuffer>> };
  /** Weights by name; those of the module are set. */
  readonly merged: MergedWeights;
}

/** Fold the adapter into one module. */
async function mergeModule(state: ModelState, { adapter, method, target, base, merged }: MergeCall): Promise<void> {
  const graph = new Graph(state.device.target);
  const { m } = modelScope(state, { graph, sequence: fullSequence({ B: 1, T: 1 }), trained: "nothing", adapter });
  const info = state.inventory.modules.get(target)!;
  const given = new Map<string, Value>();
  const weight = (name: string) => {
    const { shape, init } = state.inventory.weights.get(name)!;
    const saved = method.trains?.(name);
    if (saved !== undefined) return m.leaves.param(graph, saved, shape, init);
    if (!state.formats.has(name) && !merged.has(name)) return m.leaves.weight(graph, name, shape, init);
    given.set(name, graph.leaf("input", name, shape));
    return given.get(name)!;
  };
  const w = weight(`${target}.weight`);
  const bias = state.inventory.weights.has(`${target}.bias`) ? weight(`${target}.bias`) : undefined;
  const results = info.kind === "embedding"
    ? { weight: method.mergeTable!(embedSite(m, info, w)) }
    : method.merge!(linearSite(m, info, w, bias));
  const entries = Object.entries(results) as [string, Value][];
  const keep = entries.map(([, value]) => value);
  const executable = await compile(graph, { store: state.store, keep, name: `merge ${target}` });
  for (const [name, leaf] of given) write(executable, leaf, merged.get(name) ?? await base.read(name));
  run(executable);
  const values = await read(executable, keep);
  executable.destroy();
  entries.forEach(([part], i) => merged.set(`${target}.${part}`, values[i]!));
}
