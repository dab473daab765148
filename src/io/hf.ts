// A Hugging Face model folder: config.json, and weights in model.safetensors or in shards that an index lists. Every
// file name that comes out of the folder is resolved inside it. Headers are read at once, weights one by one.
import { FormatError, ModelError, printable } from "../core/errors.ts";
import { readJson, statOrUndefined, withIoErrors } from "./files.ts";
import { type PackedWeight, quantizedTensors } from "./quantized_read.ts";
import { fileInside } from "./safe_path.ts";
import { openSafetensors, type SafetensorsFile, type TensorInfo } from "./safetensors.ts";
import { isJsonObject } from "./strict_json.ts";
import { toF32 } from "./tensor_dtype.ts";

const WEIGHTS = "model.safetensors";
const INDEX = "model.safetensors.index.json";

/** An open model folder. */
export interface ModelFolder {
  /** The folder. */
  readonly path: string;
  /** The content of config.json, an object without prototype. */
  readonly config: Readonly<Record<string, unknown>>;
  /** The content of generation_config.json, where there is one. */
  readonly generationConfig: Readonly<Record<string, unknown>> | undefined;
  /** Element type and shape of every tensor. */
  readonly tensors: ReadonlyMap<string, Pick<TensorInfo, "dtype" | "shape">>;
  /** Bytes of all stored tensors. */
  readonly bytes: number;
  /** What is odd but usable, one sentence each. */
  readonly warnings: readonly string[];
  /**
   * A tensor as f32, row-major; quantized ones are unpacked.
   *
   * @throws {ModelError} `model/missing-tensor`; `model/dtype` for types without values.
   */
  read(name: string): Promise<Float32Array<ArrayBuffer>>;
  /** Format in which the folder holds a quantized matrix, whose companions are not among the tensors. */
  readonly quantized: ReadonlyMap<string, PackedWeight["dtype"]>;
  /** A quantized matrix as kernels read it. */
  readPacked(name: string): Promise<PackedWeight>;
  /**
   * Path of another file of the folder, such as `"tokenizer.json"`, or `undefined` where there is none.
   *
   * @throws {SecurityError} `path/escape`, `path/not-regular`.
   */
  file(name: string): Promise<string | undefined>;
  /** Close all files. */
  close(): void;
}

/**
 * Open a model folder.
 *
 * @throws {ModelError} `model/not-found`, `model/no-config`, `model/no-weights`, `model/pickle`, `model/shard-missing`,
 * `model/index-mismatch`, `model/quantization`, `config/object`.
 * @throws {FormatError} `json/…`, `st/…`, `index/weight-map`.
 * @throws {SecurityError} `path/escape`, `path/not-regular`.
 * @throws {IoError}
 */
export async function openModelFolder(path: string): Promise<ModelFolder> {
  const info = await statOrUndefined(path);
  if (!info?.isDirectory) {
    const found = info === undefined ? "nothing there" : "a file";
    throw new ModelError("model/not-found", `Cannot open a model as its path must be a folder: received ${found}`, {
      path,
      hint: "Give a folder that holds config.json and model.safetensors.",
    });
  }
  const config = await readObject(path, "config.json");
  if (config === undefined) {
    throw new ModelError("model/no-config", "Cannot open a model as the folder has no config.json", { path });
  }
  const generationConfig = await readObject(path, "generation_config.json");
  const warnings: string[] = [];
  const owners = await openWeights(path, warnings);
  const files = new Set(owners.values());
  const stored = new Map([...owners].map(([name, file]) => [name, file.tensors.get(name)!]));
  const quantized = await quantizedTensors({
    path,
    config,
    tensors: stored,
    read: (name) => owners.get(name)!.read(name),
  })
    .catch((error: unknown) => {
      for (const file of files) file.close();
      throw error;
    });
  const hidden = new Set([...quantized.values()].flatMap(({ companions }) => companions));
  return {
    path,
    config,
    generationConfig,
    tensors: new Map(
      [...stored].filter(([name]) => !hidden.has(name))
        .map(([name, info]) => [name, { ...info, shape: quantized.get(name)?.shape ?? info.shape }]),
    ),
    quantized: new Map([...quantized].flatMap(([name, { dtype }]) => dtype ? [[name, dtype] as const] : [])),
    bytes: [...stored.values()].reduce((sum, { begin, end }) => sum + end - begin, 0),
    warnings,
    async read(name) {
      const file = owners.get(name);
      if (file === undefined) {
        const message = `Cannot read tensor "${printable(name)}" as the model has none of that name`;
        throw new ModelError("model/missing-tensor", message, { path });
      }
      if (quantized.has(name)) return await quantized.get(name)!.values();
      return toF32(file.tensors.get(name)!.dtype, await file.read(name), { name, path });
    },
    readPacked: (name) => quantized.get(name)!.pack(),
    file: (name) => fileInside(path, name),
    close() {
      for (const file of files) file.close();
    },
  };
}

async function readObject(folder: string, name: string): Promise<Record<string, unknown> | undefined> {
  const path = await fileInside(folder, name);
  if (path === undefined) return undefined;
  const value = await readJson(path);
  if (isJsonObject(value)) return value;
  throw new ModelError("config/object", `Cannot use ${name} as it must hold an object: received ${typeName(value)}`, {
    path,
  });
}

function typeName(value: unknown): string {
  return value === null ? "null" : Array.isArray(value) ? "an array" : `a ${typeof value}`;
}

/** The open file of every tensor. */
async function openWeights(folder: string, warnings: string[]): Promise<Map<string, SafetensorsFile>> {
  const [single, index] = [await fileInside(folder, WEIGHTS), await fileInside(folder, INDEX)];
  if (single !== undefined) {
    if (index !== undefined) warnings.push(`${WEIGHTS} and ${INDEX} are both there: the single file is used.`);
    const file = await openSafetensors(single);
    return new Map([...file.tensors.keys()].map((name) => [name, file]));
  }
  if (index === undefined) throw await noWeights(folder);
  const wanted = await readIndex(index);
  const paths = await shardPaths(folder, index, new Set(wanted.values()));
  const shards = new Map<string, SafetensorsFile>();
  try {
    for (const [shard, path] of paths) shards.set(shard, await openSafetensors(path));
    return assign(wanted, shards, index, warnings);
  } catch (error) {
    for (const file of shards.values()) file.close();
    throw error;
  }
}

async function noWeights(folder: string): Promise<ModelError> {
  const entries = await withIoErrors("list this folder", folder, () => Array.fromAsync(Deno.readDir(folder)));
  const names = entries.map(({ name }) => name);
  if (names.some((name) => /^(pytorch_model.*|.*\.(bin|pt|pth|ckpt))(\.index\.json)?$/.test(name))) {
    return new ModelError("model/pickle", "Cannot open a model as its weights are Python pickles, which can run code", {
      path: folder,
      hint: "Convert them to safetensors: AutoModel.from_pretrained(…).save_pretrained(…, safe_serialization=True).",
    });
  }
  const others = names.filter((name) => /\.(safetensors|gguf|h5|msgpack|onnx)$/.test(name)).map(printable);
  return new ModelError("model/no-weights", `Cannot open a model as the folder has no ${WEIGHTS} and no ${INDEX}`, {
    path: folder,
    ...(others.length === 0 ? {} : { hint: `It has ${others.slice(0, 10).join(", ")}.` }),
  });
}

async function readIndex(path: string): Promise<Map<string, string>> {
  const root = await readJson(path);
  const map = isJsonObject(root) ? root["weight_map"] : undefined;
  const fail = (why: string): never => {
    throw new FormatError("index/weight-map", `Cannot use the index as ${why}`, { path });
  };
  if (!isJsonObject(map)) {
    return fail(`"weight_map" must be an object: received ${map === undefined ? "nothing" : typeName(map)}`);
  }
  const entries = Object.entries(map);
  if (entries.length === 0) return fail('"weight_map" is empty');
  return new Map(entries.map(([name, shard]) => {
    if (typeof shard === "string") return [name, shard];
    return fail(`the shard of "${printable(name)}" must be a file name: received ${typeName(shard)}`);
  }));
}

async function shardPaths(folder: string, index: string, shards: ReadonlySet<string>): Promise<Map<string, string>> {
  const paths = new Map<string, string>();
  const missing: string[] = [];
  for (const shard of [...shards].sort()) {
    const path = await fileInside(folder, shard);
    if (path === undefined) missing.push(printable(shard));
    else paths.set(shard, path);
  }
  if (missing.length === 0) return paths;
  const message = `Cannot open a model as ${missing.length} of ${shards.size} shards are missing: ${
    missing.join(", ")
  }`;
  throw new ModelError("model/shard-missing", message, { path: index, hint: "Fetch the missing files again." });
}

/** Check that index and shards say the same. */
function assign(
  wanted: ReadonlyMap<string, string>,
  shards: ReadonlyMap<string, SafetensorsFile>,
  index: string,
  warnings: string[],
): Map<string, SafetensorsFile> {
  const stored = new Map<string, string[]>();
  for (const [shard, file] of shards) {
    for (const name of file.tensors.keys()) stored.set(name, [...stored.get(name) ?? [], shard]);
  }
  const problems: string[] = [];
  for (const [name, shard] of wanted) {
    const places = stored.get(name)?.map(printable) ?? [];
    if (places.length === 1 && stored.get(name)![0] === shard) continue;
    const found = places.length === 0 ? "nowhere" : `in ${places.join(" and ")}`;
    problems.push(`"${printable(name)}" is listed in ${printable(shard)} and stored ${found}`);
  }
  const unlisted = [...stored].filter(([name]) => !wanted.has(name));
  for (const [name, places] of unlisted) {
    if (places.length > 1) {
      problems.push(`"${printable(name)}" is not listed and stored in ${places.map(printable).join(" and ")}`);
    }
  }
  if (problems.length > 0) {
    const more = problems.length > 10 ? `\n  … and ${problems.length - 10} more` : "";
    const list = problems.slice(0, 10).map((p) => `\n  - ${p}`).join("");
    throw new ModelError("model/index-mismatch", `Cannot open a model as index and shards differ:${list}${more}`, {
      path: index,
    });
  }
  if (unlisted.length > 0) {
    const names = unlisted.slice(0, 10).map(([name]) => printable(name)).join(", ");
    warnings.push(`${unlisted.length} tensors are stored and not listed in ${INDEX}: ${names}`);
  }
  return new Map([...stored].map(([name, [shard]]) => [name, shards.get(shard!)!]));
}
