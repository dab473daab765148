// Which frozen weights are packed, and how: chosen from what reads them, what was asked for, and what the folder holds.
import type { PackedDType } from "../core/dims.ts";
import { UsageError } from "../core/errors.ts";
import type { Graph, Value, Values } from "../graph/graph.ts";
import type { ModelFolder } from "../io/hf.ts";
import type { Inventory } from "./leaves.ts";
import { isPartOf } from "./weights.ts";

/** What can be asked for: formats of frozen weights, or none but that of the folder. */
export type Quantize = "none" | PackedDType;

/** The formats by name, for settings. */
export const QUANTIZE: readonly Quantize[] = ["none", "f16", "bf16", "int8", "nf4"];

/** Formats of packed weights by name; the others are f32. */
export type Formats = ReadonlyMap<string, PackedDType>;

/** Names of the weights of `graph` that all of their readers can unpack. */
export function packableLeaves(graph: Graph): string[] {
  const plain = new Set<Value>();
  for (const { op, inputs } of graph.nodes) {
    (inputs as Values).forEach((v, i) => op.packed?.includes(i) ? undefined : plain.add(v));
  }
  return [...graph.leaves.values()].filter((v) => v.role === "weight" && !plain.has(v)).map(({ name }) => name);
}

/** What {@linkcode weightFormats} chooses by. */
export interface FormatOptions {
  /** Name in the folder of every weight. */
  readonly names: ReadonlyMap<string, string>;
  readonly inventory: Inventory;
  readonly quantize: Quantize;
  /** Modules that are kept whole, since they are small and trained with every adapter. */
  readonly heads?: readonly string[];
}

/**
 * The format of every weight that is packed.
 *
 * @throws {UsageError} `model/quantized` if the folder is quantized in another format than is asked for.
 */
export function weightFormats(
  folder: ModelFolder,
  { names, inventory, quantize, heads = [] }: FormatOptions,
): Map<string, PackedDType> {
  const { packable, sites } = inventory;
  const maps = new Set([...sites.values()].filter(({ output }) => !output).map(({ path }) => `${path}.weight`));
  const formats = new Map<string, PackedDType>();
  const held = new Set(folder.quantized.values());
  const kept = quantize === "none" ? [...held][0] ?? quantize : quantize;
  if (quantize !== "none" && held.size > 0 && !(held.size === 1 && held.has(quantize as "int8" | "nf4"))) {
    throw new UsageError(
      "model/quantized",
      `Cannot keep ${folder.path} in ${quantize} as it is quantized in ${[...held].join(" and ")} already`,
      { hint: "Leave `quantize` out, or give the folder of the full model." },
    );
  }
  for (const name of packable) {
    const stored = names.get(name);
    if (stored === undefined || isPartOf(name, heads)) continue;
    const format = maps.has(name) ? folder.quantized.get(stored) ?? quantize : tableFormat(stored);
    if (format !== "none") formats.set(name, format);
  }
  return formats;

  // Tables are read by halves of a word. In blocks of few bits they would lose more than they save: as bitsandbytes.
  function tableFormat(stored: string): Quantize {
    const { shape, dtype } = folder.tensors.get(stored)!;
    if (kept === "none" || shape.at(-1)! % 2 !== 0) return "none";
    if (kept === "f16" || kept === "bf16") return kept;
    const own = dtype.toLowerCase();
    return own === "f16" || own === "bf16" ? own : "none";
  }
}
