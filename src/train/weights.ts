// From a model folder to the GPU: every tensor of the architecture found, with its shape, before anything is uploaded.
import { ConfigError, printable } from "../core/errors.ts";
import { put, type Store } from "../gpu/store.ts";
import type { ModelFolder } from "../io/hf.ts";
import type { Architecture } from "../models/architecture.ts";
import type { Inventory } from "./leaves.ts";

/** Names listed in an error before it says how many more there are. */
const LISTED = 10;

/**
 * The name in the folder of every weight. Checkpoints of the bare model leave out a prefix such as `"transformer."`.
 *
 * @throws {ConfigError} `model/missing-tensor` or `model/shape`, listing all tensors that are missing or do not fit.
 */
export function matchWeights(
  folder: ModelFolder,
  { prefix }: Architecture,
  { weights }: Inventory,
): Map<string, string> {
  const problems: string[] = [];
  let missing = 0;
  const names = new Map<string, string>();
  for (const { name, shape } of weights.values()) {
    const found = [name, name.startsWith(prefix) ? name.slice(prefix.length) : name].find((n) => folder.tensors.has(n));
    if (found === undefined) {
      missing++;
      problems.push(`${name} [${shape}] is missing`);
      continue;
    }
    names.set(name, found);
    const stored = folder.tensors.get(found)!.shape;
    if (String(stored) !== String(shape)) {
      problems.push(`${printable(found)} is [${stored}], config.json says [${shape}]`);
    }
  }
  if (problems.length > 0) {
    const more = problems.length > LISTED ? [`and ${problems.length - LISTED} more`] : [];
    throw new ConfigError(
      missing > 0 ? "model/missing-tensor" : "model/shape",
      "these weights",
      [...problems.slice(0, LISTED), ...more],
      { path: folder.path },
    );
  }
  return names;
}

/** Tensors of the folder that the architecture does not use, other than buffers that old checkpoints carry. */
export function unusedTensors(folder: ModelFolder, names: ReadonlyMap<string, string>): string[] {
  const used = new Set(names.values());
  const buffers = /(?:\.attn\.(?:masked_)?bias|rotary_emb\.inv_freq|^lm_head\.weight)$/;
  return [...folder.tensors.keys()].filter((name) => !used.has(name) && !buffers.test(name));
}

/** Upload every weight. */
export async function uploadWeights(
  folder: ModelFolder,
  store: Store,
  names: ReadonlyMap<string, string>,
): Promise<void> {
  for (const [name, stored] of names) await put(store, name, await folder.read(stored));
}
