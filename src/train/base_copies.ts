// Copies of the base's own tables in adapter files: PEFT saves them beside adapters of tables and of output projections,
// and where the vocabulary was resized.
import { PREFIX } from "../adapters/full.ts";
import { printable } from "../core/errors.ts";
import type { AdapterTensor } from "../io/adapter_file.ts";
import type { ModelState } from "./state.ts";
import { readBase } from "./tensors.ts";

/** Largest difference, as a share of the largest value, that the storage of a copy in bf16 explains. */
const ROUNDING = 2 ** -7;

/** Options of {@linkcode withoutBaseCopies}. */
export interface BaseCopyOptions {
  /** Tensors of the adapter, which are no copies. */
  readonly wanted: ReadonlyMap<string, unknown>;
  /** Told of a copy that is not what the model has. */
  readonly warn: (text: string) => void;
}

/** The tensors of a file without copies of tables that the model has. */
export async function withoutBaseCopies(
  state: ModelState,
  tensors: ReadonlyMap<string, AdapterTensor>,
  { wanted, warn }: BaseCopyOptions,
): Promise<Map<string, AdapterTensor>> {
  const kept = new Map<string, AdapterTensor>();
  for (const [key, tensor] of tensors) {
    const weight = wanted.has(key) ? undefined : copiedTable(state, key);
    const shape = weight && state.inventory.weights.get(weight)!.shape;
    if (!weight || String(shape) !== String(tensor.shape)) {
      kept.set(key, tensor);
      continue;
    }
    const own = await readBase(state, weight);
    let largest = 0, difference = 0;
    for (let i = 0; i < own.length; i++) {
      largest = Math.max(largest, Math.abs(own[i]!));
      difference = Math.max(difference, Math.abs(own[i]! - tensor.data[i]!));
    }
    if (difference > ROUNDING * largest) {
      warn(`The file has a ${printable(key)} that is not the model's: the adapter was trained on another base.`);
    }
  }
  return kept;
}

/** The weight of the model that a tensor called `key` is a copy of. */
function copiedTable({ inventory: { modules, weights } }: ModelState, key: string): string | undefined {
  const path = /^(.*?)(?:\.base_layer)?\.weight$/.exec(key.startsWith(PREFIX) ? key.slice(PREFIX.length) : "")?.[1];
  const module = path === undefined ? undefined : modules.get(path);
  if (!module || !(module.output || module.kind === "embedding")) return undefined;
  if (weights.has(`${path}.weight`)) return `${path}.weight`;
  const table = modules.values().find(({ kind }) => kind === "embedding");
  return table && weights.has(`${table.path}.weight`) ? `${table.path}.weight` : undefined;
}
