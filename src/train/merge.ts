// Folding an adapter into the weights, module by module, on the GPU.
import { buildAdapter } from "../adapters/mod.ts";
import { CheckpointError, NumericError } from "../core/errors.ts";
import { compile, read, run, write } from "../gpu/executable.ts";
import { firstNonFinite } from "../gpu/interpret.ts";
import { Graph } from "../graph/graph.ts";
import { openModelFolder } from "../io/hf.ts";
import { saveModelFolder } from "../io/hf_save.ts";
import type { WeightDType } from "../io/tensor_dtype.ts";
import { fullSequence } from "../nn/full_sequence.ts";
import { modelScope } from "./programs.ts";
import type { ModelState, StoredWeight } from "./state.ts";
import { readStored, readWeight, requireAdapter, writeStored } from "./tensors.ts";
import { matchWeights } from "./weights.ts";

/** See {@linkcode Model.merge}. */
export async function merge(state: ModelState): Promise<void> {
  if (state.merged) {
    throw new CheckpointError("merge/already", `Cannot merge as "${state.merged.adapter}" is merged already`);
  }
  const { name } = requireAdapter(state);
  const merged = await mergedWeights(state);
  const originals = new Map<string, StoredWeight>();
  for (const weight of merged.keys()) originals.set(weight, await readStored(state, weight));
  for (const [weight, values] of merged) {
    await writeStored(state, weight, { format: undefined, words: new Uint32Array(values.buffer) });
  }
  state.merged = { adapter: name, originals };
}

/** See {@linkcode Model.unmerge}. */
export async function unmerge(state: ModelState): Promise<void> {
  if (!state.merged) throw new CheckpointError("merge/none", "Cannot unmerge as no adapter is merged");
  for (const [weight, stored] of state.merged.originals) await writeStored(state, weight, stored);
  state.merged = undefined;
}

/** See {@linkcode Model.saveMerged}. Without an adapter in use the model is saved as it is. */
export async function saveMerged(
  state: ModelState,
  path: string,
  { dtype = "f32" }: { readonly dtype?: WeightDType },
): Promise<void> {
  const merged = state.active !== undefined && !state.merged
    ? await mergedWeights(state)
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
 * The weights of the adapted modules with the adapter folded in.
 *
 * @throws {NumericError} `merge/non-finite` naming the weight, before anything is changed.
 */
async function mergedWeights(state: ModelState): Promise<Map<string, Float32Array<ArrayBuffer>>> {
  const { config, targets } = requireAdapter(state);
  const method = buildAdapter(config, "eval");
  const merged = new Map<string, Float32Array<ArrayBuffer>>();
  const base = await openBase(state);
  for (const target of targets) {
    const graph = new Graph(state.device.target);
    const { m } = modelScope(state, { graph, sequence: fullSequence({ B: 1, T: 1 }), trained: "nothing" });
    const site = state.inventory.sites.get(target)!;
    const name = `${target}.weight`;
    const { shape, init } = state.inventory.weights.get(name)!;
    const packed = state.formats.has(name) ? graph.leaf("input", name, shape) : undefined;
    const weight = packed ?? m.leaves.weight(graph, name, shape, init);
    const value = method.merge({ ...site, m, weight, bias: undefined });
    const executable = await compile(graph, { store: state.store, keep: [value], name: `merge ${target}` });
    if (packed) write(executable, packed, await base.read(name));
    run(executable);
    const [values] = await read(executable, [value]);
    executable.destroy();
    const bad = firstNonFinite(new Uint32Array(values!.buffer));
    if (bad >= 0) {
      throw new NumericError(
        "merge/non-finite",
        `Cannot merge into ${name} as element ${bad} becomes ${values![bad]}; nothing was changed`,
      );
    }
    merged.set(name, values!);
  }
  return merged;
}
