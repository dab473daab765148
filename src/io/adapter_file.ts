// The adapter folder of PEFT: adapter_config.json, adapter_model.safetensors and a README.md model card. What the
// config means and which tensor names belong to it is known to the adapter's own code, not here.
import { CheckpointError, printable } from "../core/errors.ts";
import { type FileContent, writeFiles, type WriteOptions } from "./atomic_write.ts";
import { encodeJson, readJson, statOrUndefined } from "./files.ts";
import { fileInside } from "./safe_path.ts";
import { openSafetensors } from "./safetensors.ts";
import { encodeSafetensors } from "./safetensors_write.ts";
import { isJsonObject } from "./strict_json.ts";
import { asBytes, toF32 } from "./tensor_dtype.ts";

const CONFIG = "adapter_config.json";
const WEIGHTS = "adapter_model.safetensors";
const CARD = "README.md";

/** A tensor of an adapter. */
export interface AdapterTensor {
  /** Sizes, outermost first. */
  readonly shape: readonly number[];
  /** The elements, row-major. */
  readonly data: Float32Array;
}

/** What an adapter folder holds. */
export interface AdapterFile {
  /** The content of adapter_config.json, an object without prototype that has a `peft_type`. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Tensors under the names of the file. */
  readonly tensors: ReadonlyMap<string, AdapterTensor>;
  /** What is odd but usable, one sentence each. */
  readonly warnings: readonly string[];
}

/** What {@linkcode writeAdapterFolder} writes. */
export interface WriteAdapterOptions extends WriteOptions {
  /** The content of adapter_config.json; `inference_mode` is set here. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Tensors under PEFT's saved names. */
  readonly tensors: ReadonlyMap<string, AdapterTensor>;
  /** Text of README.md. Without it a short card is written where there is none yet. */
  readonly readme?: string;
}

/**
 * Read an adapter folder of PEFT or Graft. Tensors come as f32 whatever their storage. Their names are not checked.
 *
 * @throws {CheckpointError} `adapter/not-found`, `adapter/no-config`, `adapter/no-weights`, `adapter/pickle`,
 * `adapter/mlx-lm`, `adapter/peft-type`, `adapter/config`.
 * @throws {FormatError} `json/…`, `st/…`.
 * @throws {SecurityError} `path/escape`, `path/not-regular`.
 * @throws {ModelError} `model/dtype` for quantized tensors.
 * @throws {IoError}
 */
export async function readAdapterFolder(path: string): Promise<AdapterFile> {
  if (!(await statOrUndefined(path))?.isDirectory) {
    throw new CheckpointError("adapter/not-found", "Cannot open an adapter as there is no such folder", { path });
  }
  const config = await readConfig(path);
  const weights = await fileInside(path, WEIGHTS);
  if (weights === undefined) throw await noWeights(path);
  const warnings: string[] = [];
  const file = await openSafetensors(weights);
  try {
    if (file.tensors.size === 0) warnings.push(`${WEIGHTS} holds no tensor.`);
    const tensors = new Map<string, AdapterTensor>();
    for (const [name, { dtype, shape }] of file.tensors) {
      tensors.set(name, { shape, data: toF32(dtype, await file.read(name), { name, path: weights }) });
    }
    return { config, tensors, warnings };
  } finally {
    file.close();
  }
}

async function readConfig(folder: string): Promise<Record<string, unknown>> {
  const path = await fileInside(folder, CONFIG);
  if (path === undefined) {
    const message = `Cannot open an adapter as the folder has no ${CONFIG}`;
    throw new CheckpointError("adapter/no-config", message, { path: folder });
  }
  const config = await readJson(path);
  if (!isJsonObject(config)) {
    throw new CheckpointError("adapter/config", "Cannot open an adapter as its config must be an object", { path });
  }
  if ("peft_type" in config) return config;
  if ("lora_parameters" in config || "fine_tune_type" in config) {
    throw new CheckpointError("adapter/mlx-lm", "Cannot open an adapter as its config is one of mlx-lm, not of PEFT", {
      path,
      hint: "Convert it first: mlx-lm stores lora_a and lora_b transposed, under other names.",
    });
  }
  throw new CheckpointError("adapter/peft-type", 'Cannot open an adapter as its config has no "peft_type"', {
    path,
    hint: 'PEFT writes one, such as "LORA".',
  });
}

async function noWeights(folder: string): Promise<CheckpointError> {
  if (await statOrUndefined(`${folder}/adapter_model.bin`) === undefined) {
    return new CheckpointError("adapter/no-weights", `Cannot open an adapter as the folder has no ${WEIGHTS}`, {
      path: folder,
    });
  }
  const message = "Cannot open an adapter as adapter_model.bin is a Python pickle, which can run code";
  const hint = "Convert it to safetensors: PeftModel.from_pretrained(…).save_pretrained(…) with a recent PEFT.";
  return new CheckpointError("adapter/pickle", message, { path: folder, hint });
}

/**
 * Write an adapter folder that PEFT reads. Files of an older adapter stay until the new ones are complete.
 *
 * @throws {CheckpointError} `adapter/peft-type`; `adapter/shape` where a tensor's data does not fit its shape.
 * @throws {FormatError} `json/not-finite`, `st/name`.
 * @throws {IoError}
 */
export async function writeAdapterFolder(path: string, options: WriteAdapterOptions): Promise<void> {
  const { config, tensors, readme, fs = Deno } = options;
  if (typeof config["peft_type"] !== "string") {
    throw new CheckpointError("adapter/peft-type", 'Cannot write an adapter as its config has no "peft_type"', {
      path,
    });
  }
  const entries = Array.from(tensors, ([name, { shape, data }]) => {
    if (data.length !== shape.reduce((a, b) => a * b, 1)) {
      const message = `Cannot write "${printable(name)}" as it must be [${shape}]: received ${data.length} elements`;
      throw new CheckpointError("adapter/shape", message, { path });
    }
    return { name, dtype: "F32" as const, shape, data: asBytes(data) };
  });
  const files = new Map<string, FileContent>([
    [WEIGHTS, encodeSafetensors(entries, { metadata: { format: "pt" } })],
    [CONFIG, encodeJson({ ...config, inference_mode: true })],
  ]);
  if (readme !== undefined) files.set(CARD, readme);
  else if (await statOrUndefined(`${path}/${CARD}`) === undefined) files.set(CARD, modelCard(config));
  await writeFiles(path, files, { fs, last: CONFIG });
}

/** A model card with the header that the Hugging Face Hub reads. */
function modelCard(config: Readonly<Record<string, unknown>>): string {
  const base = config["base_model_name_or_path"];
  const method = String(config["peft_type"]).toLowerCase();
  // A path of this machine means nothing elsewhere; a name of the Hub links the two.
  const known = typeof base === "string" && /^[\w.-]+(\/[\w.-]+)?$/.test(base) ? base : undefined;
  const pipeline = config["task_type"] === "CAUSAL_LM" ? ["pipeline_tag: text-generation"] : [];
  return [
    "---",
    ...(known === undefined ? [] : [`base_model: ${JSON.stringify(known)}`]),
    "library_name: peft",
    ...pipeline,
    "tags:",
    ...(known === undefined ? [] : [`- ${JSON.stringify(`base_model:adapter:${known}`)}`]),
    `- ${JSON.stringify(method)}`,
    "- transformers",
    "---",
    "",
    `# ${method.toUpperCase()} adapter${known === undefined ? "" : ` for ${known}`}`,
    "",
    "Trained with Graft. Load it with Graft, or in Python:",
    "",
    "```python",
    "from peft import PeftModel",
    'model = PeftModel.from_pretrained(base_model, "path/to/this/folder")',
    "```",
    "",
  ].join("\n");
}
