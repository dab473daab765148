// JSON lines, read as a stream and strictly: a row is a JSON object in valid UTF-8, or an error with its line.
// Memory holds one chunk and one line, whatever the size of the file.
import { DataError, printable } from "../core/errors.ts";
import { isObject, type JsonObject, parseJson } from "./json.ts";

/** A row of a data file. */
export interface JsonRow {
  /** The object on this line. */
  readonly value: JsonObject;
  /** Its line in the file, counted from 1. */
  readonly line: number;
}

/** Options of {@linkcode readJsonl}. */
export interface JsonlOptions {
  /** How many unreadable rows may be left out before the next one is an error. */
  readonly skipBadRows?: number;
  /** Longest line in bytes. */
  readonly maxLineBytes?: number;
  /** Called with the error of each row that was left out. */
  readonly onSkip?: (error: DataError) => void;
}

const MiB = 2 ** 20;

/**
 * Rows of a JSON-lines file, one at a time. A byte order mark, CRLF, blank lines and a missing last newline are accepted.
 *
 * @throws {DataError} `data/missing` where there is no such file; `data/empty` where it has no row; and, once
 * `skipBadRows` rows have been left out, `data/encoding` for bytes that are not UTF-8 (with line and byte),
 * `data/line-too-long` (the rest is not read into memory), `data/json` for broken JSON or a key written twice,
 * `data/field` for a row that is not an object.
 *
 * @example Usage
 * ```ts
 * import { readJsonl } from "@graft/graft";
 *
 * const path = await Deno.makeTempFile({ suffix: ".jsonl" });
 * await Deno.writeTextFile(path, '{"text": "one"}\n{"text": "two"}\n');
 * for await (const { value, line } of readJsonl(path)) console.log(line, value.text);
 * ```
 */
export async function* readJsonl(path: string, options: JsonlOptions = {}): AsyncGenerator<JsonRow, void, void> {
  const { skipBadRows = 0, maxLineBytes = 64 * MiB, onSkip } = options;
  let skipped = 0;
  let rows = 0;
  for await (const { bytes, line } of readLines(await openData(path), maxLineBytes)) {
    try {
      const value = parseLine(bytes, { path, line, maxLineBytes });
      if (value === undefined) continue;
      rows++;
      yield { value, line };
    } catch (error) {
      if (!(error instanceof DataError) || ++skipped > skipBadRows) throw error;
      onSkip?.(error);
    }
  }
  if (rows === 0) throw new DataError("data/empty", `Cannot read rows as the file has none`, { path });
}

/**
 * Open a file of rows for reading.
 *
 * @throws {DataError} `data/missing` where it is not there, `data/not-regular` where it is a folder or a device.
 */
export async function openData(path: string): Promise<Deno.FsFile> {
  try {
    const { isFile } = await Deno.stat(path);
    if (isFile) return await Deno.open(path, { read: true });
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new DataError("data/missing", "Cannot read data as the file does not exist", { path, cause });
  }
  throw new DataError("data/not-regular", "Cannot read data as this is not a regular file", { path });
}

/**
 * `bytes` as text; never U+FFFD in place of a bad byte. A byte order mark in front is left out.
 *
 * @throws {DataError} `data/encoding` with the line and the byte, counted from 1, at which the first bad character starts.
 */
export function decodeUtf8(bytes: Uint8Array, place: { readonly path: string; readonly line?: number }): string {
  try {
    // ignoreBOM keeps the mark, which is one only at the start of a file.
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: (place.line ?? 1) > 1 }).decode(bytes);
  } catch (cause) {
    const byte = firstBadByte(bytes);
    const message = `Cannot read text as UTF-8: byte ${byte + 1} (0x${bytes[byte]!.toString(16)}) of the ${
      place.line === undefined ? "file" : "line"
    } does not start a character`;
    throw new DataError("data/encoding", message, { ...place, hint: "Save the file as UTF-8.", cause });
  }
}

interface Line {
  /** Undefined where the line is too long. */
  readonly bytes: Uint8Array | undefined;
  readonly line: number;
}

async function* readLines(file: Deno.FsFile, maxLineBytes: number): AsyncGenerator<Line, void, void> {
  let parts: Uint8Array[] = [];
  let length = 0;
  let line = 1;
  for await (const chunk of file.readable) {
    for (let start = 0; start <= chunk.length;) {
      const newline = chunk.indexOf(10, start);
      const part = chunk.subarray(start, newline < 0 ? chunk.length : newline);
      const fitted = length <= maxLineBytes;
      length += part.length;
      if (length <= maxLineBytes) parts.push(part);
      else parts = [];
      // A line over the limit is reported when it passes it, so that an endless one ends.
      if (fitted && length > maxLineBytes) yield { bytes: undefined, line };
      if (newline < 0) break;
      if (length <= maxLineBytes) yield { bytes: join(parts, length), line };
      parts = [];
      length = 0;
      line++;
      start = newline + 1;
    }
  }
  if (length > 0 && length <= maxLineBytes) yield { bytes: join(parts, length), line };
}

function parseLine(
  bytes: Uint8Array | undefined,
  { path, line, maxLineBytes }: { readonly path: string; readonly line: number; readonly maxLineBytes: number },
): JsonObject | undefined {
  if (bytes === undefined) {
    throw new DataError("data/line-too-long", `Cannot read a line as it is longer than ${maxLineBytes} bytes`, {
      path,
      line,
      hint: "A JSON-lines file has one object on each line; is this another format?",
    });
  }
  const text = decodeUtf8(bytes, { path, line });
  if (text.trim() === "") return undefined;
  const value = parseText(text, { path, line });
  if (isObject(value)) return value;
  throw new DataError("data/field", `Cannot use a row as it must be an object: received ${excerpt(text)}`, {
    path,
    line,
  });
}

function parseText(text: string, place: { readonly path: string; readonly line: number }): unknown {
  try {
    return parseJson(text).value;
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    const message = `Cannot read a row as JSON: ${printable(cause.message)}; received ${excerpt(text)}`;
    throw new DataError("data/json", message, { ...place, cause });
  }
}

/** The start of a text, safe to print. */
export function excerpt(text: string): string {
  return printable(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}

function join(parts: readonly Uint8Array[], length: number): Uint8Array {
  if (parts.length === 1) return parts[0]!;
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Start of the first character that is not UTF-8. */
function firstBadByte(bytes: Uint8Array): number {
  const accepts = (end: number, stream: boolean): boolean => {
    try {
      new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(0, end), { stream });
      return true;
    } catch {
      return false;
    }
  };
  // By bisection the longest prefix that may go on to be valid, then back to the start of its last, broken character.
  let [good, bad] = [0, bytes.length + 1];
  while (bad - good > 1) {
    const middle = Math.floor((good + bad) / 2);
    if (accepts(middle, true)) good = middle;
    else bad = middle;
  }
  while (!accepts(good, false)) good--;
  return good;
}
