// A JSON reader for files of strangers. Unlike JSON.parse it refuses duplicate keys, lone surrogates, numbers beyond
// f64 and nesting deeper than 128 (as serde_json does), and it tells the byte. Objects have no prototype, so that a
// key such as "constructor" or "__proto__" is a plain key. With `exact`, a number that is not a plain integer below
// 2^53 arrives as JsonNumber, so that 2.0 and 2^53 + 1 are not taken for integers.
import { FormatError, printable } from "../core/errors.ts";

/** What {@linkcode parseJson} returns. */
export type Json = null | boolean | number | string | JsonNumber | Json[] | { [key: string]: Json };

/** A number in the `exact` mode that is not an integer literal below 2^53. */
export class JsonNumber {
  /** Keep the literal. */
  constructor(/** As written in the file. */ readonly text: string) {}
}

/** Options of {@linkcode parseJson}. */
export interface ParseJsonOptions {
  /** The file, for messages. */
  readonly path?: string;
  /** Code of a syntax error. */
  readonly code?: string;
  /** Code of a duplicate key. */
  readonly duplicate?: string;
  /** Where in the file the text starts, in bytes. */
  readonly base?: number;
  /** Return {@linkcode JsonNumber} for everything but integer literals below 2^53. */
  readonly exact?: boolean;
}

const MAX_DEPTH = 128;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const ESCAPES = new Map([...'"\\/bfnrt'].map((c, i) => [c, '"\\/\b\f\n\r\t'[i]!]));

/**
 * Value of a JSON text.
 *
 * @throws {FormatError} `json/syntax` with the byte offset, or `json/duplicate-key` naming the key (codes can be given).
 */
export function parseJson(text: string, options: ParseJsonOptions = {}): Json {
  const { path, code = "json/syntax", duplicate = "json/duplicate-key", base = 0, exact = false } = options;
  let at = 0;

  function fail(problem: string, kind = code): never {
    const before = text.slice(0, at);
    const place = base + new TextEncoder().encode(before).length;
    throw new FormatError(kind, `Cannot read JSON: ${problem} at byte ${place}`, {
      ...(path === undefined ? {} : { path }),
      ...(path !== undefined && base === 0 ? { line: before.split("\n").length } : {}),
    });
  }

  function unexpected(wanted: string): never {
    if (at >= text.length) fail(`the text ends where ${wanted} is expected`);
    fail(`expected ${wanted}, received "${printable(String.fromCodePoint(text.codePointAt(at)!))}"`);
  }

  function space(): void {
    for (let c = text.charCodeAt(at); c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09;) c = text.charCodeAt(++at);
  }

  function value(depth: number): Json {
    const c = text[at];
    if (c === '"') return string();
    if (c === "{" || c === "[") {
      if (depth === MAX_DEPTH) fail(`too deep (more than ${MAX_DEPTH} levels)`);
      return c === "{" ? object(depth + 1) : array(depth + 1);
    }
    if (c === "t") return word("true", true);
    if (c === "f") return word("false", false);
    if (c === "n") return word("null", null);
    return number();
  }

  function word<T>(name: string, result: T): T {
    if (!text.startsWith(name, at)) unexpected("a value");
    at += name.length;
    return result;
  }

  function number(): number | JsonNumber {
    const literal = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
    literal.lastIndex = at;
    const match = literal.exec(text);
    if (match === null) unexpected("a value");
    const result = Number(match[0]);
    const integer = match[1] === undefined && match[2] === undefined && Number.isSafeInteger(result);
    if (!Number.isFinite(result)) fail(`the number ${match[0].slice(0, 40)} is out of range`);
    if (exact && !(integer && match[0] !== "-0")) {
      at += match[0].length;
      return new JsonNumber(match[0]);
    }
    at += match[0].length;
    return result;
  }

  function string(): string {
    let out = "";
    let from = ++at;
    for (;;) {
      const c = text.charCodeAt(at);
      if (c === QUOTE) {
        out += text.slice(from, at++);
        return out;
      }
      if (c === BACKSLASH) {
        out += text.slice(from, at) + escape();
        from = at;
      } else if (c >= 0x20) at++;
      else fail(at >= text.length ? "unfinished string" : `raw control character in a string`);
    }
  }

  function escape(): string {
    const simple = ESCAPES.get(text[at + 1] ?? "");
    if (simple !== undefined) {
      at += 2;
      return simple;
    }
    const high = unit();
    if (high < 0xd800 || high > 0xdfff) return String.fromCharCode(high);
    if (high > 0xdbff || text[at] !== "\\") fail("lone surrogate in a string");
    const low = unit();
    if (low < 0xdc00 || low > 0xdfff) fail("lone surrogate in a string");
    return String.fromCharCode(high, low);
  }

  function unit(): number {
    const digits = text.slice(at + 2, at + 6);
    if (text[at + 1] !== "u" || !/^[0-9a-fA-F]{4}$/.test(digits)) fail("unknown escape in a string");
    at += 6;
    return parseInt(digits, 16);
  }

  function array(depth: number): Json[] {
    const out: Json[] = [];
    at++;
    space();
    if (text[at] === "]") return at++, out;
    for (;;) {
      out.push(value(depth));
      space();
      if (text[at] === "]") return at++, out;
      if (text[at] !== ",") unexpected('"," or "]"');
      at++;
      space();
    }
  }

  function object(depth: number): { [key: string]: Json } {
    const out: { [key: string]: Json } = Object.create(null);
    at++;
    space();
    if (text[at] === "}") return at++, out;
    for (;;) {
      if (text[at] !== '"') unexpected("a key in double quotes");
      const start = at;
      const key = string();
      if (key in out) {
        at = start;
        fail(`the key "${printable(key.slice(0, 200))}" is there twice,`, duplicate);
      }
      space();
      if (text[at] !== ":") unexpected('":"');
      at++;
      space();
      out[key] = value(depth);
      space();
      if (text[at] === "}") return at++, out;
      if (text[at] !== ",") unexpected('"," or "}"');
      at++;
      space();
    }
  }

  space();
  const result = value(0);
  space();
  if (at < text.length) unexpected("the end");
  return result;
}

/** Whether a JSON value is an object (not null, not an array). */
export function isJsonObject(value: unknown): value is { [key: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof JsonNumber);
}
