// Writing safetensors byte for byte as the reference implementation does: tensors sorted by element type (wide ones
// first, so that all are aligned) and then by name, a compact JSON header padded with spaces to a multiple of 8.
import { FormatError, printable } from "../core/errors.ts";
import { type FileContent, type Sink, writeFile } from "./atomic_write.ts";
import { MAX_HEADER_BYTES } from "./safetensors_header.ts";
import { compareDTypes, dtypeBits, type TensorDType } from "./tensor_dtype.ts";
import { compareCodePoints } from "./utf8.ts";

/** A tensor to write. */
export interface TensorEntry {
  /** Its name in the file. */
  readonly name: string;
  /** Element type. */
  readonly dtype: TensorDType;
  /** Sizes, outermost first. */
  readonly shape: readonly number[];
}

/** A tensor with its bytes, little-endian and row-major. */
export interface TensorBytes extends TensorEntry {
  /** The elements. */
  readonly data: Uint8Array;
}

/** A tensor whose bytes are asked for when it is its turn. */
export interface LazyTensor extends TensorEntry {
  /** Make the elements, little-endian and row-major. */
  readonly data: () => Uint8Array | Promise<Uint8Array>;
}

/** Options of the writers. */
export interface EncodeOptions {
  /** Strings under `__metadata__`; Hugging Face wants `{ format: "pt" }`. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/**
 * A whole file in memory.
 *
 * @throws {FormatError} `st/duplicate-key`, `st/name`, `st/size-mismatch`, `st/header-too-large`.
 */
export function encodeSafetensors(
  tensors: Iterable<TensorBytes>,
  options: EncodeOptions = {},
): Uint8Array<ArrayBuffer> {
  const { header, order, dataBytes } = layout(tensors, options);
  const file = new Uint8Array(header.length + dataBytes);
  file.set(header);
  let at = header.length;
  for (const tensor of order) {
    file.set(checked(tensor, tensor.data), at);
    at += tensor.data.length;
  }
  return file;
}

/**
 * Content for {@linkcode writeFile} and {@linkcode writeFiles} that holds one tensor in memory at a time.
 *
 * @throws {FormatError} as {@linkcode encodeSafetensors}, a wrong size when its tensor is written.
 */
export function safetensorsContent(tensors: Iterable<LazyTensor>, options: EncodeOptions = {}): FileContent {
  const { header, order } = layout(tensors, options);
  return async (sink: Sink) => {
    await sink.write(header);
    for (const tensor of order) await sink.write(checked(tensor, await tensor.data()));
  };
}

/**
 * Write a file atomically, one tensor in memory at a time.
 *
 * @throws {FormatError} as {@linkcode encodeSafetensors}.
 * @throws {IoError}
 */
export async function writeSafetensors(
  path: string,
  tensors: Iterable<LazyTensor>,
  options: EncodeOptions = {},
): Promise<void> {
  await writeFile(path, safetensorsContent(tensors, options));
}

/** Bytes of a tensor. */
export function tensorBytes({ dtype, shape }: Pick<TensorEntry, "dtype" | "shape">): number {
  return shape.reduce((a, b) => a * b, dtypeBits(dtype)) / 8;
}

interface Layout<T> {
  /** Length and JSON. */
  readonly header: Uint8Array;
  readonly order: readonly T[];
  readonly dataBytes: number;
}

function layout<T extends TensorEntry>(tensors: Iterable<T>, { metadata }: EncodeOptions): Layout<T> {
  const order = [...tensors].sort((a, b) => compareDTypes(a.dtype, b.dtype) || compareCodePoints(a.name, b.name));
  const entries: string[] = [];
  if (metadata !== undefined) entries.push(`"__metadata__":${JSON.stringify(metadata)}`);
  const names = new Set<string>();
  let end = 0;
  for (const tensor of order) {
    const { name, dtype, shape } = tensor;
    if (names.has(name)) refuse("st/duplicate-key", name, "the name is there twice");
    if (name === "__metadata__" || !name.isWellFormed()) refuse("st/name", name, "the name is not allowed");
    if (!Number.isSafeInteger(tensorBytes(tensor))) refuse("st/size-mismatch", name, `[${shape}] has no whole size`);
    names.add(name);
    const begin = end;
    end += tensorBytes(tensor);
    entries.push(`${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape}],"data_offsets":[${begin},${end}]}`);
  }
  const json = new TextEncoder().encode(`{${entries.join(",")}}`);
  const length = 8 * Math.ceil(json.length / 8);
  if (length > MAX_HEADER_BYTES) {
    throw new FormatError(
      "st/header-too-large",
      `Cannot write safetensors as the header may have ${MAX_HEADER_BYTES} bytes: received ${length}`,
    );
  }
  const header = new Uint8Array(8 + length).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(json, 8);
  return { header, order, dataBytes: end };
}

function checked(tensor: TensorEntry, data: Uint8Array): Uint8Array {
  if (data.length === tensorBytes(tensor)) return data;
  const { dtype, shape } = tensor;
  return refuse(
    "st/size-mismatch",
    tensor.name,
    `${dtype} [${shape}] needs ${tensorBytes(tensor)} bytes, has ${data.length}`,
  );
}

function refuse(code: string, name: string, why: string): never {
  throw new FormatError(code, `Cannot write tensor "${printable(name)}" as ${why}`);
}
