// Folding an adapter into the weights, module by module, on the GPU.
import { buildAdapter } from "../adapters/mod.ts";
import { CheckpointError, NumericError } from "../core/errors.ts";
import { compile, read, run } from "../gpu/executable.ts";
import { firstNonFinite } from "../gpu/interpret.ts";
import { Graph } from "../graph/graph.ts";
import { saveModelFolder } from "../io/hf_save.ts";
import type { WeightDType } from "../io/tensor_dtype.ts";
import { fullSequence } from "../nn/full_sequence.ts";
import { modelScope } from "./programs.ts";
import type { ModelState } from "./state.ts";
import { readWeight, requireAdapter, writeWeight } from "./tensors.ts";

/** See {@linkcode Model.merge}. */
export async function merge(state: ModelState): Promise<void> {
  if (state.merged) {
    throw new CheckpointError("merge/already", `Cannot merge as "${state.merged.adapter}" is merged already`);
  }
  const { name } = requireAdapter(state);
  const merged = await mergedWeights(state);
  const originals = new Map<string, Float32Array>();
  for (const weight of merged.keys()) originals.set(weight, await readWeight(state, weight));
  for (const [weight, values] of merged) writeWeight(state, weight, values);
  state.merged = { adapter: name, originals };
}

/** See {@linkcode Model.unmerge}. */
export function unmerge(state: ModelState): Promise<void> {
  if (!state.merged) throw new CheckpointError("merge/none", "Cannot unmerge as no adapter is merged");
  for (const [weight, values] of state.merged.originals) {
    writeWeight(state, weight, values as Float32Array<ArrayBuffer>);
  }
  state.merged = undefined;
  return Promise.resolve();
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
  const { overflowed } = await saveModelFolder(path, {
    config: state.config,
    dtype,
    tensors: [...state.inventory.weights.values()].map(({ name, shape }) => ({
      name,
      shape,
      data: () => merged.get(name) ?? readWeight(state, name),
    })),
    ...(state.path === undefined ? {} : { source: state.path }),
  });
  if (overflowed.size > 0) {
    const list = [...overflowed].map(([name, count]) => `${count} of ${name}`).join(", ");
    throw new NumericError("num/overflow", `Saved ${path}, but values became infinite in ${dtype}: ${list}`, {
      hint: "Save again with dtype bf16 or f32 into another folder.",
    });
  }
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
  for (const target of targets) {
    const graph = new Graph(state.device.target);
    const { m } = modelScope(state, { graph, sequence: fullSequence({ B: 1, T: 1 }), trained: "nothing" });
    const site = state.inventory.sites.get(target)!;
    const name = `${target}.weight`;
    const { shape, init } = state.inventory.weights.get(name)!;
    const value = method.merge({ ...site, m, weight: m.leaves.weight(graph, name, shape, init), bias: undefined });
    const executable = await compile(graph, { store: state.store, keep: [value], name: `merge ${target}` });
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
