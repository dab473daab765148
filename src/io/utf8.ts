// Strict UTF-8: what is not valid is refused with its place, never replaced by U+FFFD.
import { FormatError } from "../core/errors.ts";

/** Options of {@linkcode decodeUtf8}. */
export interface DecodeOptions {
  /** The file, for messages. */
  readonly path?: string;
  /** Code of the error. */
  readonly code?: string;
  /** Where in the file `bytes` starts, in bytes. */
  readonly base?: number;
  /** Keep a byte order mark as U+FEFF instead of dropping it. */
  readonly keepMark?: boolean;
}

/**
 * Text of UTF-8 bytes.
 *
 * @throws {FormatError} `text/utf8` (or `code`) with the byte offset of the first invalid byte.
 */
export function decodeUtf8(bytes: Uint8Array, options: DecodeOptions = {}): string {
  const { path, code = "text/utf8", base = 0, keepMark = false } = options;
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: keepMark }).decode(bytes);
  } catch (cause) {
    if (!(cause instanceof TypeError)) throw cause;
    const at = firstInvalid(bytes);
    const found = at < bytes.length ? `byte 0x${bytes[at]!.toString(16).padStart(2, "0")}` : "an unfinished character";
    throw new FormatError(code, `Cannot read text as it is not valid UTF-8: received ${found} at byte ${base + at}`, {
      ...(path === undefined ? {} : { path }),
      cause,
    });
  }
}

// A streaming decoder accepts a prefix up to the first byte that cannot continue, so that byte is found by bisection.
function firstInvalid(bytes: Uint8Array): number {
  let good = 0;
  let bad = bytes.length + 1;
  while (bad - good > 1) {
    const middle = (good + bad) >>> 1;
    try {
      new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(0, middle), { stream: true });
      good = middle;
    } catch {
      bad = middle;
    }
  }
  return good;
}

/** Order of two strings by code points, which is the order of their UTF-8 bytes (JavaScript's own is by UTF-16 units). */
export function compareCodePoints(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    if (a.charCodeAt(i) === b.charCodeAt(i)) continue;
    // Equal so far, so both sides stand on the same half of a pair; a first half decides by its whole code point.
    return surrogatesLast(a.charCodeAt(i)) - surrogatesLast(b.charCodeAt(i));
  }
  return a.length - b.length;
}

// Units of pairs (code points from U+10000) sort behind U+E000 to U+FFFF.
function surrogatesLast(unit: number): number {
  return unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit;
}
