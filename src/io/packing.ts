// How frozen matrices lie in memory when they are not f32: rows one behind another, in segments that stand alone, so
// that a kernel needs one binding, and matrices can be cut and stacked at any segment. In four-byte words:
//
//   f16, bf16   2 elements     [the second << 16 | the first]
//   int8      256 elements     [4 scales f32 | 64 words of 4 codes]                        w = code · scale[i / 64]
//   nf4      1024 elements     [nested f32 | offset f32 | 16 codes of absmax in 4 words | 2 unused | 128 words of 8 codes]
//
// 8.5 and 4.25 bits an element; nf4.ts has the equations of nf4. Integer scales are absmax / 127 of a block of 64.
import { type PackedDType, SEGMENTS, wordsOf } from "../core/dims.ts";
import { BLOCK, blockMaxima, dequantizeNf4, NESTED_BLOCK, type Nf4, quantizeNf4 } from "./nf4.ts";
import { fromF32, toF32 } from "./tensor_dtype.ts";

/** A tensor in blocks of 8-bit integers. */
export interface Int8 {
  readonly codes: Int8Array<ArrayBuffer>;
  /** One a block of 64: its absmax / 127. */
  readonly scales: Float32Array<ArrayBuffer>;
}

/** Words of codes start here, in each segment. */
const INT8_CODES = 4, NF4_CODES = 8;

/** Blocks of a segment of nf4. */
const NF4_BLOCKS = SEGMENTS.nf4.elements / BLOCK;

/** f32 values in a packed format, rounded to nearest. */
export function pack(dtype: PackedDType, values: Float32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  if (dtype === "int8") return packInt8(quantizeInt8(values));
  if (dtype === "nf4") return packNf4(quantizeNf4(values), values.length);
  const words = new Uint32Array(wordsOf(dtype, values.length));
  new Uint8Array(words.buffer).set(fromF32(values, dtype).bytes);
  return words;
}

/** The first `count` values of a packed matrix. */
export function unpack(
  dtype: PackedDType,
  words: Uint32Array<ArrayBuffer>,
  count: number,
): Float32Array<ArrayBuffer> {
  if (dtype === "int8") return dequantizeInt8(unpackInt8(words, count));
  if (dtype === "nf4") return dequantizeNf4(unpackNf4(words, count), count);
  return toF32(dtype === "f16" ? "F16" : "BF16", new Uint8Array(words.buffer, words.byteOffset, 2 * count));
}

/** Values as 8-bit integers, symmetric, in blocks of 64. */
export function quantizeInt8(values: Float32Array): Int8 {
  const scales = blockMaxima(values).map((most) => most / 127);
  const codes = Int8Array.from(values, (x, i) => {
    const scale = scales[Math.floor(i / BLOCK)]!;
    return scale === 0 ? 0 : Math.max(-127, Math.min(127, Math.round(x / scale)));
  });
  return { codes, scales };
}

/** The values of {@linkcode quantizeInt8}. */
export function dequantizeInt8({ codes, scales }: Int8): Float32Array<ArrayBuffer> {
  return Float32Array.from(codes, (code, i) => code * scales[Math.floor(i / BLOCK)]!);
}

/** Codes and scales in segments. */
export function packInt8({ codes, scales }: Int8): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(wordsOf("int8", codes.length));
  const floats = new Float32Array(words.buffer), bytes = new Int8Array(words.buffer);
  eachSegment("int8", codes.length, (first, word) => {
    floats.set(scales.subarray(first / BLOCK, first / BLOCK + INT8_CODES), word);
    bytes.set(codes.subarray(first, first + SEGMENTS.int8.elements), 4 * (word + INT8_CODES));
  });
  return words;
}

/** The other way. */
export function unpackInt8(words: Uint32Array<ArrayBuffer>, count: number): Int8 {
  const codes = new Int8Array(count), scales = new Float32Array(Math.ceil(count / BLOCK));
  const floats = new Float32Array(words.buffer, words.byteOffset);
  const bytes = new Int8Array(words.buffer, words.byteOffset);
  eachSegment("int8", count, (first, word) => {
    const length = Math.min(SEGMENTS.int8.elements, count - first);
    scales.set(floats.subarray(word, word + Math.ceil(length / BLOCK)), first / BLOCK);
    codes.set(bytes.subarray(4 * (word + INT8_CODES), 4 * (word + INT8_CODES) + length), first);
  });
  return { codes, scales };
}

/** Codes and scales in segments. */
export function packNf4({ codes, absmax, nested, offset }: Nf4, count: number): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(wordsOf("nf4", count));
  const floats = new Float32Array(words.buffer), bytes = new Uint8Array(words.buffer);
  eachSegment("nf4", count, (first, word) => {
    const block = first / BLOCK;
    floats[word] = nested[Math.floor(block / NESTED_BLOCK)]!;
    floats[word + 1] = offset;
    bytes.set(absmax.subarray(block, block + NF4_BLOCKS), 4 * (word + 2));
    bytes.set(codes.subarray(first / 2, (first + SEGMENTS.nf4.elements) / 2), 4 * (word + NF4_CODES));
  });
  return words;
}

/** The other way: what a file of the model holds. */
export function unpackNf4(words: Uint32Array<ArrayBuffer>, count: number): Nf4 {
  const blocks = Math.ceil(count / BLOCK);
  const codes = new Uint8Array(Math.ceil(count / 2)), absmax = new Uint8Array(blocks);
  const nested = new Float32Array(Math.ceil(blocks / NESTED_BLOCK));
  const floats = new Float32Array(words.buffer, words.byteOffset);
  const bytes = new Uint8Array(words.buffer, words.byteOffset);
  eachSegment("nf4", count, (first, word) => {
    const block = first / BLOCK, length = Math.min(SEGMENTS.nf4.elements, count - first);
    nested[Math.floor(block / NESTED_BLOCK)] = floats[word]!;
    absmax.set(bytes.subarray(4 * (word + 2), 4 * (word + 2) + Math.ceil(length / BLOCK)), block);
    codes.set(bytes.subarray(4 * (word + NF4_CODES), 4 * (word + NF4_CODES) + Math.ceil(length / 2)), first / 2);
  });
  return { codes, absmax, nested, offset: floats[1]! };
}

function eachSegment(dtype: PackedDType, count: number, visit: (first: number, word: number) => void): void {
  const { elements, words } = SEGMENTS[dtype];
  for (let first = 0, word = 0; first < count; first += elements, word += words) visit(first, word);
}
