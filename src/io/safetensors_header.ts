// The header of a safetensors file, checked as the reference implementation does and a little more strictly:
//
//   u64 length (little-endian, at most 10^8) · JSON of that length, starting with "{" · tensor data
//
// Sorted by offset, tensors start at 0, follow each other without hole or overlap, have shape × dtype bytes each, and
// end with the file. Everything is checked before a byte of tensor data is read or memory of a stated size is taken.
import { FormatError, printable } from "../core/errors.ts";
import { isJsonObject, type Json, JsonNumber, parseJson } from "./strict_json.ts";
import { dtypeBits, isTensorDType, TENSOR_DTYPES, type TensorDType } from "./tensor_dtype.ts";
import { decodeUtf8 } from "./utf8.ts";

/** Longest header, in bytes. */
export const MAX_HEADER_BYTES = 100_000_000;

/** Where a tensor lies in a file, and what it is. */
export interface TensorInfo {
  /** Element type. */
  readonly dtype: TensorDType;
  /** Sizes, outermost first; `[]` is a scalar. */
  readonly shape: readonly number[];
  /** First byte, counted from the end of the header. */
  readonly begin: number;
  /** One past the last byte, counted from the end of the header. */
  readonly end: number;
}

/** A checked header. */
export interface SafetensorsHeader {
  /** The strings under `__metadata__`. */
  readonly metadata: ReadonlyMap<string, string>;
  /** Tensors in the order of their data. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** Where the tensor data starts in the file, in bytes. */
  readonly dataStart: number;
}

/** What is known about the file apart from its header. */
export interface HeaderOptions {
  /** Bytes of the whole file. */
  readonly fileBytes: number;
  /** The file, for messages. */
  readonly path?: string;
}

type Fail = (code: string, message: string, hint?: string) => never;

function failing(path: string | undefined): Fail {
  return (code, message, hint) => {
    throw new FormatError(code, `Cannot read safetensors as ${message}`, {
      ...(path === undefined ? {} : { path }),
      ...(hint === undefined ? {} : { hint }),
    });
  };
}

/**
 * Bytes of the JSON header, from the first eight bytes of a file.
 *
 * @throws {FormatError} `st/header-too-small`, `st/header-too-large`, `st/header-past-end`.
 */
export function headerLength(prefix: Uint8Array, { fileBytes, path }: HeaderOptions): number {
  const fail: Fail = failing(path);
  if (fileBytes < 8 || prefix.length < 8) {
    fail("st/header-too-small", `it starts with 8 bytes of header length: received ${fileBytes} bytes`, INCOMPLETE);
  }
  const length = new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES)) {
    fail("st/header-too-large", `its header may have ${MAX_HEADER_BYTES} bytes: received a length of ${length}`);
  }
  if (Number(length) > fileBytes - 8) {
    fail("st/header-past-end", `the header says ${length} bytes, the file has ${fileBytes - 8} behind it`, INCOMPLETE);
  }
  return Number(length);
}

const INCOMPLETE = "Is the download incomplete? Fetch the file again.";

/**
 * Check a JSON header against the size of its file.
 *
 * @throws {FormatError} `st/header-start`, `st/header-utf8`, `st/header-json`, `st/duplicate-key`, `st/metadata`,
 * `st/dtype`, `st/shape`, `st/offset`, `st/size-mismatch`, `st/size`.
 */
export function parseHeader(json: Uint8Array, { fileBytes, path }: HeaderOptions): SafetensorsHeader {
  const fail: Fail = failing(path);
  const place = path === undefined ? {} : { path };
  if (json[0] !== 0x7b) {
    const found = json.length === 0 ? "nothing" : `byte 0x${json[0]!.toString(16).padStart(2, "0")}`;
    fail("st/header-start", `its header must start with "{": received ${found}`);
  }
  const text = decodeUtf8(json, { ...place, code: "st/header-utf8", base: 8 });
  const options = { ...place, code: "st/header-json", duplicate: "st/duplicate-key", base: 8, exact: true };
  const root = parseJson(text, options) as { [key: string]: Json };

  const found: [string, TensorInfo][] = [];
  for (const name of Object.keys(root)) {
    if (name !== "__metadata__") found.push([name, readInfo(name, root[name]!, fail)]);
  }
  found.sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end);

  let next = 0;
  for (const [name, info] of found) next = checkInfo(name, info, next, fail);
  const dataStart = 8 + json.length;
  if (dataStart + next !== fileBytes) {
    const hint = fileBytes < dataStart + next ? INCOMPLETE : "Bytes behind the last tensor are not allowed.";
    fail("st/size", `the file is ${fileBytes} bytes, tensors end at ${dataStart + next}`, hint);
  }
  return { metadata: readMetadata(root["__metadata__"], fail), tensors: new Map(found), dataStart };
}

function readMetadata(value: Json | undefined, fail: Fail): Map<string, string> {
  const metadata = new Map<string, string>();
  if (value === undefined || value === null) return metadata;
  if (!isJsonObject(value)) fail("st/metadata", `__metadata__ must be an object of strings: received ${show(value)}`);
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== "string") {
      fail("st/metadata", `__metadata__ "${quote(key)}" must be a string: received ${show(text)}`);
    }
    metadata.set(key, text);
  }
  return metadata;
}

function readInfo(name: string, value: Json, fail: Fail): TensorInfo {
  const tensor = `"${quote(name)}"`;
  if (!isJsonObject(value)) fail("st/header-json", `tensor ${tensor} must be an object: received ${show(value)}`);
  const { dtype, shape, data_offsets: offsets } = value;
  if (!isTensorDType(dtype)) {
    fail("st/dtype", `the dtype of ${tensor} must be one of ${TENSOR_DTYPES.join(", ")}: received ${show(dtype)}`);
  }
  if (!isSizes(shape)) {
    fail("st/shape", `the shape of ${tensor} must be a list of integers from 0 to 2^53: received ${show(shape)}`);
  }
  if (!isSizes(offsets) || offsets.length !== 2) {
    fail("st/offset", `data_offsets of ${tensor} must be two integers from 0 to 2^53: received ${show(offsets)}`);
  }
  return { dtype, shape, begin: offsets[0]!, end: offsets[1]! };
}

function isSizes(value: Json | undefined): value is number[] {
  return Array.isArray(value) && value.every((v) => typeof v === "number" && v >= 0);
}

/** Check one tensor that should start at `next`; returns where it ends. */
function checkInfo(name: string, { dtype, shape, begin, end }: TensorInfo, next: number, fail: Fail): number {
  const tensor = `"${quote(name)}"`;
  if (begin !== next) fail("st/offset", `${tensor} starts at ${begin}, expected ${next}`);
  if (end < begin) fail("st/offset", `${tensor} ends at ${end}, before its start at ${begin}`);
  const bits = shape.reduce((product, D) => {
    if (product * D > Number.MAX_SAFE_INTEGER) fail("st/shape", `${tensor} [${shape}] has more than 2^53 bits`);
    return product * D;
  }, dtypeBits(dtype));
  const what = `${tensor} ${dtype} [${shape}]`;
  if (bits % 8 !== 0) fail("st/size-mismatch", `${what} needs ${bits} bits, not a whole number of bytes`);
  if (bits / 8 !== end - begin) fail("st/size-mismatch", `${what} needs ${bits / 8} bytes, has ${end - begin}`);
  return end;
}

/** An untrusted name for a message, escaped and cut. */
function quote(name: string): string {
  return printable(name.length > 100 ? `${name.slice(0, 100)}…` : name);
}

function show(value: Json | undefined): string {
  if (value === undefined) return "nothing";
  const text = value instanceof JsonNumber
    ? value.text
    : JSON.stringify(value, (_, v) => v instanceof JsonNumber ? v.text : v);
  return quote(text);
}
