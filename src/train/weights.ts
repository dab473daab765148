// From a model folder to the GPU: every tensor of the architecture found, with its shape, before anything is uploaded.
import type { PackedDType } from "../core/dims.ts";
import { ConfigError, ModelError, printable } from "../core/errors.ts";
import { put, type Store } from "../gpu/store.ts";
import type { ModelFolder } from "../io/hf.ts";
import { pack } from "../io/packing.ts";
import type { Architecture } from "../models/architecture.ts";
import type { Formats } from "./formats.ts";
import type { Inventory } from "./leaves.ts";
import { putWeight, type Stacks } from "./stacks.ts";

/** Names listed in an error before it says how many more there are. */
const LISTED = 10;

/** Whether a weight is one of these, or belongs to one of these modules. */
export function isPartOf(name: string, modules: readonly string[]): boolean {
  return modules.some((module) => name === module || name.startsWith(`${module}.`));
}

/** Options of {@linkcode matchWeights}. */
export interface MatchOptions {
  /** Modules or weights that may be absent, such as a head. */
  readonly optional?: readonly string[];
  /** Whether they may have other shapes too, which is as good as being absent. */
  readonly resized?: boolean;
}

/**
 * The name in the folder of every weight, but for optional ones that it does not have. Checkpoints of the bare model leave
 * out a prefix such as `"transformer."`.
 *
 * @throws {ConfigError} `model/missing-tensor` or `model/shape`, listing all tensors that are missing or do not fit.
 */
export function matchWeights(
  folder: ModelFolder,
  { prefix }: Architecture,
  { weights }: Inventory,
  { optional = [], resized = false }: MatchOptions = {},
): Map<string, string> {
  const problems: string[] = [];
  let missing = 0;
  const names = new Map<string, string>();
  for (const { name, shape } of weights.values()) {
    const found = storedNames(name, prefix).find((n) => folder.tensors.has(n));
    const stored = found === undefined ? undefined : folder.tensors.get(found)!.shape;
    const misfit = stored === undefined || (resized && String(stored) !== String(shape));
    if (misfit && isPartOf(name, optional)) continue;
    if (found === undefined) {
      missing++;
      problems.push(`${name} [${shape}] is missing`);
      continue;
    }
    names.set(name, found);
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

/** Tensors that may stand for another one: T5 has one table of token vectors in three places. */
const TIED: Readonly<Record<string, readonly string[]>> = {
  "shared.weight": ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"],
};

/** Names under which checkpoints have a weight: without the prefix, and norms as TensorFlow called them. */
function storedNames(name: string, prefix: string): string[] {
  const names = name.startsWith(prefix) ? [name, name.slice(prefix.length)] : [name];
  const old = (n: string) =>
    n.replace(/LayerNorm\.weight$/, "LayerNorm.gamma").replace(/LayerNorm\.bias$/, "LayerNorm.beta");
  return [...names, ...names.map(old).filter((n) => !names.includes(n)), ...TIED[name] ?? []];
}

/** What checkpoints carry beside the weights of a model: buffers, and what is tied to another tensor. */
const LEFTOVERS: readonly RegExp[] = [
  /\.attn\.(?:masked_)?bias$/,
  /rotary_emb\.inv_freq$/,
  /embeddings\.(?:position|token_type)_ids$/,
  /^lm_head\.weight$/,
  /^(?:en|de)coder\.embed_tokens\.weight$/,
  /^decoder\..*EncDecAttention\.relative_attention_bias\.weight$/, // of the first T5s, never used
];

/** Tensors of the folder that the architecture does not use, other than leftovers. */
export function unusedTensors(folder: ModelFolder, names: ReadonlyMap<string, string>): string[] {
  const used = new Set(names.values());
  return [...folder.tensors.keys()].filter((name) => !used.has(name) && !LEFTOVERS.some((one) => one.test(name)));
}

/** Names in the folder and formats on the device, by the names of the weights. */
export interface UploadOptions {
  readonly names: ReadonlyMap<string, string>;
  readonly formats: Formats;
  /** Weights that share a buffer. */
  readonly stacks: Stacks;
}

/**
 * Upload every weight in its format.
 *
 * @throws {ModelError} `model/non-finite` naming a weight that its format cannot hold.
 */
export async function uploadWeights(
  folder: ModelFolder,
  store: Store,
  { names, formats, stacks }: UploadOptions,
): Promise<void> {
  for (const [name, stored] of names) {
    const format = formats.get(name);
    if (format !== undefined && folder.quantized.get(stored) === format) {
      await put(store, name, (await folder.readPacked(stored)).words);
      continue;
    }
    const values = await folder.read(stored);
    if (format) checkRange(name, format, values, folder.path);
    await putWeight(store, stacks, name, format ? pack(format, values) : values);
  }
}

/** The least magnitude that a format rounds to infinity. */
const TOO_LARGE: Readonly<Record<PackedDType, number>> = {
  f16: 65520,
  bf16: (2 - 2 ** -8) * 2 ** 127,
  int8: Infinity,
  nf4: Infinity,
};

/**
 * Check that a format can hold all values.
 *
 * @throws {ModelError} `model/non-finite` naming the first that it cannot.
 */
export function checkRange(name: string, format: PackedDType, values: Float32Array, path: string): void {
  const bad = values.findIndex((x) => !(Math.abs(x) < TOO_LARGE[format]));
  if (bad < 0) return;
  throw new ModelError(
    "model/non-finite",
    `Cannot keep "${printable(name)}" in ${format} as element ${bad} is ${values[bad]}`,
    { path, hint: format === "f16" ? "bf16 has the range of f32." : "Repair the weights first." },
  );
}
