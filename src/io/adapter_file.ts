// The adapter folder of PEFT: adapter_config.json, adapter_model.safetensors and a README.md model card; folders of
// mlx-lm come in the same form. Adapters that are not called "default" lie in folders of their names. What the config means and which tensor names belong to it is known to the adapter's own code, not here.
import { CheckpointError, printable } from "../core/errors.ts";
import { type FileContent, writeFiles, type WriteOptions } from "./atomic_write.ts";
import { encodeJson, readJson, statOrUndefined, withIoErrors } from "./files.ts";
import { fromMlx, isMlxConfig, MLX_WEIGHTS } from "./mlx_adapter.ts";
import { fileInside } from "./safe_path.ts";
import { openSafetensors } from "./safetensors.ts";
import { encodeSafetensors, type TensorBytes } from "./safetensors_write.ts";
import { isJsonObject } from "./strict_json.ts";
import { asBytes, toF32 } from "./tensor_dtype.ts";

const CONFIG = "adapter_config.json";
const WEIGHTS = "adapter_model.safetensors";
const CARD = "README.md";
/** Layers that make what PEFT saves: PEFT has no file for them. */
const ENCODER = "graft_encoder.safetensors";
const MODEL = "config.json";

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
  /** The layers that made them (P-tuning, projected prefixes), where Graft saved the folder. */
  readonly encoder?: ReadonlyMap<string, AdapterTensor>;
  /** What is odd but usable, one sentence each. */
  readonly warnings: readonly string[];
}

/** What {@linkcode writeAdapterFolder} writes. */
export interface WriteAdapterOptions extends WriteOptions {
  /** The content of adapter_config.json; `inference_mode` is set here. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Tensors under PEFT's saved names. */
  readonly tensors: ReadonlyMap<string, AdapterTensor>;
  /** The layers that made them, in a file of their own. */
  readonly encoder?: ReadonlyMap<string, AdapterTensor>;
  /** The content of config.json: the labels of a head, which PEFT's files do not hold. */
  readonly model?: Readonly<Record<string, unknown>>;
  /** Text of README.md. Without it a short card is written where there is none yet. */
  readonly readme?: string;
}

/**
 * Read an adapter folder of PEFT, Graft or mlx-lm, whose adapters come as PEFT would have saved them. Tensors come as f32 whatever their storage. Their names are not checked.
 *
 * @throws {CheckpointError} `adapter/not-found`, `adapter/no-config`, `adapter/no-weights`, `adapter/pickle`,
 * `adapter/peft-type`, `adapter/config`; {@linkcode ConfigError} `adapter/mlx-lm`.
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
  const isMlx = !("peft_type" in config);
  const name = isMlx ? MLX_WEIGHTS : WEIGHTS;
  const weights = await fileInside(path, name);
  if (weights === undefined) throw await noWeights(path, name);
  const warnings: string[] = [];
  const tensors = await readTensors(weights);
  if (tensors.size === 0) warnings.push(`${name} holds no tensor.`);
  const encoder = await fileInside(path, ENCODER);
  const read = { config, tensors, warnings, ...(isMlx ? fromMlx(config, tensors, path) : {}) };
  return { ...read, ...(encoder === undefined ? {} : { encoder: await readTensors(encoder) }) };
}

async function readTensors(path: string): Promise<Map<string, AdapterTensor>> {
  const file = await openSafetensors(path);
  try {
    const tensors = new Map<string, AdapterTensor>();
    for (const [name, { dtype, shape }] of file.tensors) {
      tensors.set(name, { shape, data: toF32(dtype, await file.read(name), { name, path }) });
    }
    return tensors;
  } finally {
    file.close();
  }
}

async function readConfig(folder: string): Promise<Record<string, unknown>> {
  const path = await fileInside(folder, CONFIG);
  if (path === undefined) {
    const message = `Cannot open an adapter as the folder has no ${CONFIG}`;
    const names = await namedAdapters(folder);
    throw new CheckpointError("adapter/no-config", message, {
      path: folder,
      ...(names.length > 0 ? { hint: `It has adapters called ${names.map(printable).join(", ")}: give one.` } : {}),
    });
  }
  const config = await readJson(path);
  if (!isJsonObject(config)) {
    throw new CheckpointError("adapter/config", "Cannot open an adapter as its config must be an object", { path });
  }
  if ("peft_type" in config || isMlxConfig(config)) return config;
  throw new CheckpointError("adapter/peft-type", 'Cannot open an adapter as its config has no "peft_type"', {
    path,
    hint: 'PEFT writes one, such as "LORA".',
  });
}

/** Names of the folders below `folder` that hold an adapter each, as PEFT saves those not called "default". */
export async function namedAdapters(folder: string): Promise<string[]> {
  const names: string[] = [];
  await withIoErrors("list the adapters of", folder, async () => {
    for await (const { name, isDirectory } of Deno.readDir(folder)) {
      if (!isDirectory || !isAdapterName(name) || /^checkpoint-\d+$/.test(name)) continue;
      if ((await statOrUndefined(`${folder}/${name}/${CONFIG}`))?.isFile) names.push(name);
    }
  });
  return names.sort();
}

/** Whether an adapter of this name can have a folder of its own. */
export function isAdapterName(name: string): boolean {
  // deno-lint-ignore no-control-regex
  return !/^\.{0,2}$|[/\\:\u0000-\u001f]/.test(name) && name.length <= 255 && name.isWellFormed();
}

/** Where an adapter called `name` lies in `folder`, as PEFT places it. */
export async function adapterPath(folder: string, name: string): Promise<string> {
  const own = `${folder}/${name}`;
  if (!isAdapterName(name) || await statOrUndefined(`${folder}/${CONFIG}`) !== undefined) return folder;
  return await statOrUndefined(`${own}/${CONFIG}`) === undefined ? folder : own;
}

async function noWeights(folder: string, name: string): Promise<CheckpointError> {
  if (await statOrUndefined(`${folder}/adapter_model.bin`) === undefined) {
    return new CheckpointError("adapter/no-weights", `Cannot open an adapter as the folder has no ${name}`, {
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
  const { config, tensors, encoder, model, readme, fs = Deno } = options;
  if (typeof config["peft_type"] !== "string") {
    throw new CheckpointError("adapter/peft-type", 'Cannot write an adapter as its config has no "peft_type"', {
      path,
    });
  }
  const encode = (list: ReadonlyMap<string, AdapterTensor>) =>
    encodeSafetensors([...list].map((entry) => stored(entry, path)), { metadata: { format: "pt" } });
  const files = new Map<string, FileContent>([
    [WEIGHTS, encode(tensors)],
    ...(encoder ? [[ENCODER, encode(encoder)] as const] : []),
    [CONFIG, encodeJson({ ...config, inference_mode: true })],
  ]);
  if (model) files.set(MODEL, encodeJson(model));
  if (readme !== undefined) files.set(CARD, readme);
  else if (await statOrUndefined(`${path}/${CARD}`) === undefined) files.set(CARD, modelCard(config));
  await writeFiles(path, files, { fs, last: CONFIG });
  // Layers of an older adapter would be taken for those of this one.
  if (!encoder && await statOrUndefined(`${path}/${ENCODER}`) !== undefined) await Deno.remove(`${path}/${ENCODER}`);
}

function stored([name, { shape, data }]: readonly [string, AdapterTensor], path: string): TensorBytes {
  if (data.length !== shape.reduce((a, b) => a * b, 1)) {
    const message = `Cannot write "${printable(name)}" as it must be [${shape}]: received ${data.length} elements`;
    throw new CheckpointError("adapter/shape", message, { path });
  }
  return { name, dtype: "F32", shape, data: asBytes(data) };
}

/** What the Hub calls PEFT's tasks. */
const PIPELINES: ReadonlyMap<unknown, string> = new Map([
  ["CAUSAL_LM", "text-generation"],
  ["SEQ_2_SEQ_LM", "text2text-generation"],
  ["SEQ_CLS", "text-classification"],
  ["TOKEN_CLS", "token-classification"],
  ["QUESTION_ANS", "question-answering"],
  ["FEATURE_EXTRACTION", "feature-extraction"],
]);

/** A model card with the header that the Hugging Face Hub reads. */
function modelCard(config: Readonly<Record<string, unknown>>): string {
  const base = config["base_model_name_or_path"];
  const method = String(config["peft_type"]).toLowerCase();
  // A path of this machine means nothing elsewhere; a name of the Hub links the two.
  const known = typeof base === "string" && /^[\w.-]+(\/[\w.-]+)?$/.test(base) ? base : undefined;
  const task = PIPELINES.get(config["task_type"]);
  const pipeline = task === undefined ? [] : [`pipeline_tag: ${task}`];
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
