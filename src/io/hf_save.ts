// Saving a model as a Hugging Face folder: weights (sharded above a size, as transformers does), tokenizer files of
// the source, and config.json last, so that a folder which a crash left unfinished does not open.
import { type FileContent, requireEmpty, writeFiles, type WriteOptions } from "./atomic_write.ts";
import { encodeJson, withIoErrors } from "./files.ts";
import { fileInside } from "./safe_path.ts";
import { type LazyTensor, safetensorsContent, tensorBytes } from "./safetensors_write.ts";
import { fromF32, type TensorDType, type WeightDType } from "./tensor_dtype.ts";

/** Files that are copied from the source folder where they exist. */
const COPIED = [
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "tokenizer.model",
  "vocab.json",
  "vocab.txt",
  "merges.txt",
  "chat_template.jinja",
  "generation_config.json",
];

const DTYPES: Readonly<Record<WeightDType, readonly [TensorDType, string]>> = {
  f32: ["F32", "float32"],
  f16: ["F16", "float16"],
  bf16: ["BF16", "bfloat16"],
};

/** A weight to save. */
export interface Weight {
  /** Its name in the checkpoint. */
  readonly name: string;
  /** Sizes, outermost first. */
  readonly shape: readonly number[];
  /** The elements, row-major, or a function that makes them when it is their turn. */
  readonly data: Float32Array | (() => Float32Array | Promise<Float32Array>);
}

/** What {@linkcode saveModelFolder} saves. */
export interface SaveModelOptions extends WriteOptions {
  /** The content of config.json; the element type is set here. */
  readonly config: Readonly<Record<string, unknown>>;
  /** All weights. Their data is asked for once, in the order of the files. */
  readonly tensors: Iterable<Weight>;
  /** Tensors that are written as they are, such as quantized weights. */
  readonly raw?: Iterable<LazyTensor>;
  /** Storage of the weights; f32. */
  readonly dtype?: WeightDType;
  /** Folder to copy tokenizer files and generation_config.json from. */
  readonly source?: string;
  /** More files by name; they win over those of `source`. */
  readonly extraFiles?: Readonly<Record<string, Uint8Array | string>>;
  /** Largest shard in bytes of weights; 5e9. */
  readonly maxShardBytes?: number;
}

/** What {@linkcode saveModelFolder} did. */
export interface SavedModel {
  /** Names of the files. */
  readonly files: readonly string[];
  /** Bytes of all weights. */
  readonly bytes: number;
  /** Finite values that became infinite in `dtype`, for each tensor that has some. */
  readonly overflowed: ReadonlyMap<string, number>;
}

/**
 * Save a model folder.
 *
 * @throws {UsageError} `out/not-empty` where the folder exists and is not empty.
 * @throws {FormatError} `st/…` for tensors that cannot be written, such as a name that is there twice.
 * @throws {SecurityError} for files of `source` that lead out of it.
 * @throws {IoError}
 */
export async function saveModelFolder(path: string, options: SaveModelOptions): Promise<SavedModel> {
  const { config, tensors, raw = [], dtype = "f32", source, extraFiles = {}, maxShardBytes = 5e9, fs = Deno } = options;
  await requireEmpty(path, { fs });
  const overflowed = new Map<string, number>();
  const weights = [...Array.from(tensors, (weight) => lazyTensor(weight, dtype, overflowed)), ...raw];
  const files = new Map<string, FileContent>(shardFiles(weights, maxShardBytes));
  for (const name of source === undefined ? [] : COPIED) {
    const from = await fileInside(source!, name);
    if (from !== undefined) files.set(name, copyOf(from));
  }
  for (const [name, content] of Object.entries(extraFiles)) files.set(name, content);
  const keys = ["dtype", "torch_dtype"].filter((key) => key in config);
  const types = (keys.length === 0 ? ["torch_dtype"] : keys).map((key) => [key, DTYPES[dtype][1]]);
  files.set("config.json", encodeJson({ ...config, ...Object.fromEntries(types) }));
  await writeFiles(path, files, { fs, last: "config.json" });
  return { files: [...files.keys()], bytes: total(weights), overflowed };
}

function lazyTensor({ name, shape, data }: Weight, dtype: WeightDType, overflowed: Map<string, number>): LazyTensor {
  return {
    name,
    shape,
    dtype: DTYPES[dtype][0],
    async data() {
      const encoded = fromF32(typeof data === "function" ? await data() : data, dtype);
      if (encoded.overflowed > 0) overflowed.set(name, encoded.overflowed);
      return encoded.bytes;
    },
  };
}

function total(tensors: readonly LazyTensor[]): number {
  return tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
}

function* shardFiles(weights: readonly LazyTensor[], maxShardBytes: number): Generator<[string, FileContent]> {
  const options = { metadata: { format: "pt" } };
  const whole = safetensorsContent(weights, options); // checks all names, also those of different shards
  const shards = split(weights, maxShardBytes);
  if (shards.length <= 1) return yield ["model.safetensors", whole];
  const number = (n: number) => `${n}`.padStart(5, "0");
  const weightMap: Record<string, string> = Object.create(null);
  for (const [i, shard] of shards.entries()) {
    const file = `model-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
    for (const { name } of shard) weightMap[name] = file;
    yield [file, safetensorsContent(shard, options)];
  }
  const index = { metadata: { total_size: total(weights) }, weight_map: weightMap };
  yield ["model.safetensors.index.json", encodeJson(index)];
}

/** Fill shards in the order given; a tensor above the limit gets a shard of its own. */
function split(weights: readonly LazyTensor[], limit: number): LazyTensor[][] {
  const shards: LazyTensor[][] = [];
  let room = 0;
  for (const tensor of weights) {
    const bytes = tensorBytes(tensor);
    if (shards.length === 0 || bytes > room) {
      shards.push([]);
      room = limit;
    }
    shards.at(-1)!.push(tensor);
    room -= bytes;
  }
  return shards;
}

function copyOf(path: string): FileContent {
  return async (sink) => {
    const file = await withIoErrors("read this file", path, () => Deno.open(path));
    for await (const chunk of file.readable) await sink.write(chunk);
  };
}
