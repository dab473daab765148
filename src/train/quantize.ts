// A model folder quantized on disk, without a device: linear maps in blocks, everything else as it is stored.
import { UsageError } from "../core/errors.ts";
import { requireEmpty } from "../io/atomic_write.ts";
import { openModelFolder } from "../io/hf.ts";
import { saveModelFolder } from "../io/hf_save.ts";
import { quantizationConfig, quantizedWeight } from "../io/quantized_save.ts";
import type { LazyTensor } from "../io/safetensors_write.ts";
import type { WeightDType } from "../io/tensor_dtype.ts";
import { architectureOf } from "../models/mod.ts";
import { taskOf } from "../objectives/tasks.ts";
import { weightFormats } from "./formats.ts";
import { headModules, takeInventory } from "./load.ts";
import { checkRange, matchWeights } from "./weights.ts";

/** Options of {@linkcode quantizeFolder}. */
export interface QuantizeFolderOptions {
  /** nf4 is written as bitsandbytes does, so that transformers reads it. */
  readonly format: "int8" | "nf4";
}

/** What {@linkcode quantizeFolder} did. */
export interface QuantizedFolder {
  /** Linear maps that were quantized. */
  readonly maps: number;
  /** Bytes of all weights before. */
  readonly before: number;
  /** Bytes of all weights after. */
  readonly after: number;
}

/** Names of element types in config.json. */
const NAMES: Readonly<Record<WeightDType, string>> = { f32: "float32", f16: "float16", bf16: "bfloat16" };

/**
 * Quantize the linear maps of a model folder and save it as another one.
 *
 * @throws {UsageError} `out/not-empty`; `model/quantized` if it is quantized already.
 * @throws {ModelError} `model/…` as `loadModel`, before anything is written.
 *
 * @example Usage
 * ```ts no-eval
 * import { quantizeFolder } from "@graft/graft";
 *
 * await quantizeFolder("models/smollm2", "models/smollm2-nf4", { format: "nf4" });
 * ```
 */
export async function quantizeFolder(
  path: string,
  output: string,
  { format }: QuantizeFolderOptions,
): Promise<QuantizedFolder> {
  await requireEmpty(output);
  const folder = await openModelFolder(path);
  try {
    if (folder.quantized.size > 0) {
      throw new UsageError("model/quantized", `Cannot quantize ${path} as it is quantized already`);
    }
    const architecture = architectureOf(folder.config);
    const task = taskOf(folder.config, architecture);
    const inventory = takeInventory(architecture, task);
    const names = matchWeights(folder, architecture, inventory);
    const formats = weightFormats(folder, {
      names,
      inventory,
      quantize: format,
      heads: headModules(task, architecture),
    });
    const weights = [...inventory.weights.values()].map((weight) => ({ ...weight, stored: names.get(weight.name)! }));
    const whole = weights.filter(({ name }) => formats.get(name) !== format);
    const dtype = commonType(whole.map(({ stored }) => folder.tensors.get(stored)!.dtype));
    const computeDType = NAMES[dtype];
    const raw: LazyTensor[] = [];
    for (const { name, shape, stored } of weights) {
      if (formats.get(name) !== format) continue;
      const data = await folder.read(stored);
      checkRange(name, format, data, path);
      raw.push(...quantizedWeight({ name, shape, data }, { format, computeDType }));
    }
    const transposed = [...inventory.sites.values()].some((site) => site.transposed);
    const { bytes } = await saveModelFolder(output, {
      config: { ...folder.config, quantization_config: quantizationConfig({ format, computeDType, transposed }) },
      tensors: whole.map(({ name, shape, stored }) => ({ name, shape, data: () => folder.read(stored) })),
      raw,
      dtype,
      source: path,
    });
    return { maps: weights.length - whole.length, before: folder.bytes, after: bytes };
  } finally {
    folder.close();
  }
}

/** A type that holds all of these exactly. */
function commonType(stored: readonly string[]): WeightDType {
  const only = new Set(stored);
  return only.size > 1 ? "f32" : only.has("F16") ? "f16" : only.has("BF16") ? "bf16" : "f32";
}
