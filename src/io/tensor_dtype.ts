// Element types of safetensors files and their exact conversion from and to f32 (round to nearest, ties to even).
// Bytes are little-endian in the file and on every platform that Deno runs on, so typed arrays read them directly.
import { ModelError, printable } from "../core/errors.ts";

/** Element type of a tensor in a safetensors file. */
export type TensorDType =
  | "BOOL"
  | "F4"
  | "F6_E2M3"
  | "F6_E3M2"
  | "U8"
  | "I8"
  | "F8_E5M2"
  | "F8_E4M3"
  | "F8_E8M0"
  | "F8_E4M3FNUZ"
  | "F8_E5M2FNUZ"
  | "I16"
  | "U16"
  | "F16"
  | "BF16"
  | "I32"
  | "U32"
  | "F32"
  | "C64"
  | "F64"
  | "I64"
  | "U64";

// In the order of the reference implementation's enum: its writer sorts by it, descending.
const BITS: Readonly<Record<TensorDType, number>> = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
};

/** Element types in which Graft writes weights. */
export type WeightDType = "f32" | "f16" | "bf16";

/** All element types, in increasing alignment order. */
export const TENSOR_DTYPES: readonly TensorDType[] = Object.keys(BITS) as TensorDType[];

const RANKS: ReadonlyMap<string, number> = new Map(TENSOR_DTYPES.map((dtype, rank) => [dtype, rank]));

/** Whether `value` names an element type. */
export function isTensorDType(value: unknown): value is TensorDType {
  return typeof value === "string" && RANKS.has(value);
}

/** Bits of one element. */
export function dtypeBits(dtype: TensorDType): number {
  return BITS[dtype];
}

/** Order of two element types as the reference's writer has it: wide ones first. */
export function compareDTypes(a: TensorDType, b: TensorDType): number {
  return RANKS.get(b)! - RANKS.get(a)!;
}

/** Options of {@linkcode toF32}. */
export interface ToF32Options {
  /** The tensor, for messages. */
  readonly name?: string;
  /** The file, for messages. */
  readonly path?: string;
}

/**
 * Elements as f32: exact from F32, F16, BF16, BOOL and integers up to 16 bits; rounded to nearest even from F64 and
 * wider integers. The result of an aligned F32 tensor shares memory with `bytes`.
 *
 * @throws {ModelError} `model/dtype` for quantized and complex types, and for integers above 2^53.
 */
export function toF32(
  dtype: TensorDType,
  bytes: Uint8Array,
  options: ToF32Options = {},
): Float32Array<ArrayBuffer> {
  const { buffer, byteOffset, byteLength } = aligned(bytes, BITS[dtype] / 8);
  const count = Math.floor(byteLength * 8 / BITS[dtype]);
  switch (dtype) {
    case "F32":
      return new Float32Array(buffer, byteOffset, count);
    case "F16":
      return new Float32Array(new Float16Array(buffer, byteOffset, count));
    case "BF16": {
      const halves = new Uint16Array(buffer, byteOffset, count);
      const words = new Uint32Array(count);
      for (let i = 0; i < count; i++) words[i] = halves[i]! << 16;
      return new Float32Array(words.buffer);
    }
    case "F64":
      return new Float32Array(new Float64Array(buffer, byteOffset, count));
    case "BOOL":
    case "U8":
      return new Float32Array(new Uint8Array(buffer, byteOffset, count));
    case "I8":
      return new Float32Array(new Int8Array(buffer, byteOffset, count));
    case "I16":
      return new Float32Array(new Int16Array(buffer, byteOffset, count));
    case "U16":
      return new Float32Array(new Uint16Array(buffer, byteOffset, count));
    case "I32":
      return new Float32Array(new Int32Array(buffer, byteOffset, count));
    case "U32":
      return new Float32Array(new Uint32Array(buffer, byteOffset, count));
    case "I64":
      return fromBigInts(new BigInt64Array(buffer, byteOffset, count), dtype, options);
    case "U64":
      return fromBigInts(new BigUint64Array(buffer, byteOffset, count), dtype, options);
    default:
      throw unsupported(dtype, `quantized weights are not supported: received ${dtype}`, options);
  }
}

// A number of up to 53 bits is exact as f64, so there is one rounding only.
function fromBigInts(
  values: BigInt64Array | BigUint64Array,
  dtype: TensorDType,
  options: ToF32Options,
): Float32Array<ArrayBuffer> {
  return Float32Array.from(values as ArrayLike<bigint>, (value) => {
    const number = Number(value);
    if (!Number.isSafeInteger(number)) {
      throw unsupported(dtype, `an ${dtype} weight must be below 2^53: received ${value}`, options);
    }
    return number;
  });
}

function unsupported(dtype: TensorDType, why: string, { name, path }: ToF32Options): ModelError {
  const what = name === undefined ? dtype : `"${printable(name)}"`;
  return new ModelError("model/dtype", `Cannot use ${what} as weights as ${why}`, {
    ...(path === undefined ? {} : { path }),
    hint: "Use a copy of the model in F32, F16 or BF16.",
  });
}

/** Bytes of weights, and how many finite ones are infinite in the new type. */
export interface EncodedWeights {
  /** Little-endian elements. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Finite values that became infinite. */
  readonly overflowed: number;
}

/** Weights in another element type, rounded to nearest even. The bytes of `"f32"` share memory with `values`. */
export function fromF32(values: Float32Array, dtype: WeightDType): EncodedWeights {
  if (dtype === "f32") return { bytes: asBytes(values), overflowed: 0 };
  let overflowed = 0;
  if (dtype === "f16") {
    const halves = new Float16Array(values);
    // 65,520 lies half way between the largest f16, 65,504, and the next step, and rounds up.
    for (let i = 0; i < values.length; i++) {
      if (Math.abs(values[i]!) >= 65520 && Number.isFinite(values[i])) overflowed++;
    }
    return { bytes: asBytes(halves), overflowed };
  }
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(values.length);
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if ((word & 0x7fffffff) > 0x7f800000) {
      halves[i] = (word >>> 16) | 0x40; // a NaN stays one even where only low bits of it are set
      continue;
    }
    const half = (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
    halves[i] = half;
    if ((half & 0x7fff) === 0x7f80 && (word & 0x7fffffff) !== 0x7f800000) overflowed++;
  }
  return { bytes: asBytes(halves), overflowed };
}

/** The bytes of an array, shared with it where that is possible. */
export function asBytes(array: ArrayBufferView): Uint8Array<ArrayBuffer> {
  const { buffer, byteOffset, byteLength } = array;
  if (buffer instanceof ArrayBuffer) return new Uint8Array(buffer, byteOffset, byteLength);
  return new Uint8Array(new Uint8Array(buffer, byteOffset, byteLength)); // shared memory: take a copy
}

// Typed arrays start at multiples of their element size; tensors of odd files do not.
function aligned(bytes: Uint8Array, unit: number): Uint8Array<ArrayBuffer> {
  return bytes.byteOffset % unit === 0 ? asBytes(bytes) : new Uint8Array(bytes);
}
