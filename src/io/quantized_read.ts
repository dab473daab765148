// Quantized weights of a model folder. Matrices in 4 bits are those of bitsandbytes: `x` U8 [codes, 1] with `x.absmax`,
// `x.quant_map`, `x.nested_absmax`, `x.nested_quant_map`, and a JSON text of the rest in
// `x.quant_state.bitsandbytes__nf4`. In 8 bits: `x` I8 with `x.scales` F32, one for 64 elements (our own form), or
// bitsandbytes' `x` I8 with the absmax of every row in `SCB` beside it. Companions are hidden behind their weight.
import { ModelError, printable } from "../core/errors.ts";
import { BLOCK, dequantizeNf4, LEVELS, MAP, NESTED_BLOCK, type Nf4, quantizeMaxima } from "./nf4.ts";
import { dequantizeInt8, type Int8, packInt8, packNf4 } from "./packing.ts";
import { isJsonObject, type Json, parseJson } from "./strict_json.ts";
import { type TensorDType, toF32 } from "./tensor_dtype.ts";
import { decodeUtf8 } from "./utf8.ts";

/** The tensors of a folder, and their bytes. */
export interface StoredTensors {
  readonly path: string;
  /** The content of config.json. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly tensors: ReadonlyMap<string, { readonly dtype: TensorDType; readonly shape: readonly number[] }>;
  read(name: string): Promise<Uint8Array<ArrayBuffer>>;
}

/** A matrix in blocks, as kernels read it. */
export interface PackedWeight {
  readonly dtype: "int8" | "nf4";
  readonly words: Uint32Array<ArrayBuffer>;
}

/** A weight that is stored in several tensors. */
export interface QuantizedTensor {
  /** Sizes of the matrix. */
  readonly shape: readonly number[];
  /** How kernels read it; undefined where its blocks are not ours, and it must be unpacked. */
  readonly dtype: PackedWeight["dtype"] | undefined;
  /** Tensors that belong to it. */
  readonly companions: readonly string[];
  /** Its codes and scales; only where it has a `dtype`. */
  pack(): Promise<PackedWeight>;
  /** Its values. */
  values(): Promise<Float32Array<ArrayBuffer>>;
}

/** What bitsandbytes writes; `config.json` says so, and kernels of other methods are not here. */
const METHODS: readonly unknown[] = ["bitsandbytes", "graft"];

const STATE = ".quant_state.bitsandbytes__nf4";

/**
 * The quantized weights of a folder by name.
 *
 * @throws {ModelError} `model/quantization` for methods and forms that cannot be read.
 */
export async function quantizedTensors(source: StoredTensors): Promise<Map<string, QuantizedTensor>> {
  const settings = source.config.quantization_config;
  const found = new Map<string, QuantizedTensor>();
  if (settings === undefined || settings === null) return found;
  const method = typeof settings === "object" && "quant_method" in settings ? settings.quant_method : undefined;
  if (!METHODS.includes(method)) {
    const name = typeof method === "string" ? printable(method) : `${method}`;
    throw refusal(source, "config.json", `its method is "${name}", known are bitsandbytes and graft`);
  }
  for (const name of source.tensors.keys()) {
    if (/\.quant_state\.bitsandbytes__(?!nf4$)/.test(name)) throw refusal(source, name, "of 4-bit forms, nf4 is known");
    if (name.endsWith(STATE)) found.set(name.slice(0, -STATE.length), await nf4Tensor(source, name));
    if (name.endsWith(".scales")) found.set(name.slice(0, -".scales".length), int8Tensor(source, name));
    if (name.endsWith(".SCB")) found.set(name.replace(/SCB$/, "weight"), rowTensor(source, name));
  }
  return found;
}

function refusal({ path }: StoredTensors, name: string, why: string): ModelError {
  return new ModelError("model/quantization", `Cannot read the quantized weights of "${printable(name)}" as ${why}`, {
    path,
    hint: "Use a copy of the model in F32, F16 or BF16, and --quantize.",
  });
}

function count(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

async function nf4Tensor(source: StoredTensors, stateName: string): Promise<QuantizedTensor> {
  const name = stateName.slice(0, -STATE.length);
  const text = decodeUtf8(await source.read(stateName), { path: source.path });
  const state = parseJson(text, { path: source.path });
  const { shape, nested } = readState(source, name, state);
  const tensor = (suffix: string, dtype: TensorDType, length: number) =>
    requireTensor(source, `${name}${suffix}`, dtype, length);
  const elements = count(shape), blocks = Math.ceil(elements / BLOCK);
  tensor("", "U8", Math.ceil(elements / 2));
  tensor(".quant_map", "F32", LEVELS.length);
  tensor(".absmax", nested ? "U8" : "F32", blocks);
  if (nested) {
    tensor(".nested_absmax", "F32", Math.ceil(blocks / NESTED_BLOCK));
    tensor(".nested_quant_map", "F32", MAP.length);
  }
  const floats = async (suffix: string) => toF32("F32", await source.read(`${name}${suffix}`));
  const check = async (suffix: string, wanted: ArrayLike<number>) => {
    const map = await floats(suffix);
    if (map.some((x, i) => !(Math.abs(x - wanted[i]!) < 1e-6))) throw refusal(source, name, "its map is another one");
  };
  const load = async (): Promise<Nf4> => {
    const codes = await source.read(name);
    await check(".quant_map", LEVELS);
    // Scales that were left in f32 are rounded to 8 bits, as double quantization does.
    if (!nested) return { codes, ...quantizeMaxima(await floats(".absmax")) };
    await check(".nested_quant_map", MAP);
    const absmax = await source.read(`${name}.absmax`);
    return { codes, absmax, nested: await floats(".nested_absmax"), offset: nested.offset };
  };
  return {
    shape,
    dtype: "nf4",
    companions: ["absmax", "quant_map", "nested_absmax", "nested_quant_map", STATE.slice(1)].map((s) => `${name}.${s}`),
    pack: async () => ({ dtype: "nf4", words: packNf4(await load(), elements) }),
    values: async () => dequantizeNf4(await load(), elements),
  };
}

function readState(source: StoredTensors, name: string, state: Json): {
  readonly shape: readonly number[];
  readonly nested: { readonly offset: number } | undefined;
} {
  if (!isJsonObject(state)) throw refusal(source, name, "its state is no object");
  const { quant_type, blocksize, shape, nested_blocksize, nested_offset } = state;
  const isSize = (n: unknown): n is number => typeof n === "number" && Number.isSafeInteger(n) && n > 0;
  if (quant_type !== "nf4" || blocksize !== BLOCK || !Array.isArray(shape) || !shape.every(isSize)) {
    throw refusal(source, name, `its state is not nf4 in blocks of ${BLOCK} with a shape`);
  }
  if (nested_offset === undefined) return { shape, nested: undefined };
  if (typeof nested_offset !== "number" || nested_blocksize !== NESTED_BLOCK) {
    throw refusal(source, name, `its scales are not in blocks of ${NESTED_BLOCK} with an offset`);
  }
  return { shape, nested: { offset: nested_offset } };
}

function requireTensor(source: StoredTensors, name: string, dtype: TensorDType, length: number): void {
  const found = source.tensors.get(name);
  if (found?.dtype === dtype && count(found.shape) === length) return;
  const is = found ? `it is ${found.dtype} [${found.shape}]` : "it is missing";
  throw refusal(source, name, `${is}, and should be ${dtype} with ${length} elements`);
}

function int8Tensor(source: StoredTensors, scalesName: string): QuantizedTensor {
  const name = scalesName.slice(0, -".scales".length);
  const shape = source.tensors.get(name)?.shape ?? [];
  requireTensor(source, name, "I8", count(shape));
  requireTensor(source, scalesName, "F32", Math.ceil(count(shape) / BLOCK));
  const load = async (): Promise<Int8> => {
    const [codes, scales] = [await source.read(name), await source.read(scalesName)];
    return { codes: new Int8Array(codes.buffer, codes.byteOffset, codes.length), scales: toF32("F32", scales) };
  };
  return inBlocks(load, shape, [scalesName]);
}

/** One absmax a row: blocks of 64 have that of their row where rows are whole blocks. */
function rowTensor(source: StoredTensors, rowsName: string): QuantizedTensor {
  const name = rowsName.replace(/SCB$/, "weight");
  const shape = source.tensors.get(name)?.shape ?? [];
  const [Out = 0, In = 0] = shape;
  requireTensor(source, name, "I8", count(shape));
  requireTensor(source, rowsName, "F32", Out);
  const format = `${name}_format`;
  const companions = source.tensors.has(format) ? [rowsName, format] : [rowsName];
  const block = In % BLOCK === 0 ? BLOCK : In;
  const load = async (): Promise<Int8> => {
    const [codes, rows] = [await source.read(name), toF32("F32", await source.read(rowsName))];
    return {
      codes: new Int8Array(codes.buffer, codes.byteOffset, codes.length),
      scales: Float32Array.from({ length: codes.length / block }, (_, b) => rows[Math.floor(b * block / In)]! / 127),
    };
  };
  if (block === BLOCK) return inBlocks(load, shape, companions);
  const values = async () => {
    const { codes, scales } = await load();
    return Float32Array.from(codes, (code, i) => code * scales[Math.floor(i / In)]!);
  };
  return {
    shape,
    dtype: undefined,
    companions,
    values,
    pack: () => Promise.reject(refusal(source, name, "it is odd")),
  };
}

function inBlocks(
  load: () => Promise<Int8>,
  shape: readonly number[],
  companions: readonly string[],
): QuantizedTensor {
  return {
    shape,
    dtype: "int8",
    companions,
    pack: async () => ({ dtype: "int8", words: packInt8(await load()) }),
    values: async () => dequantizeInt8(await load()),
  };
}
