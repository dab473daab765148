// JSON as strict as data needs it: JSON.parse cannot see a key that is written twice, and nests as deep as it is asked.
// The scan runs after JSON.parse has accepted the text, so it needs to know only strings, brackets and commas.

/** A JSON object: only its own fields are data, so read them with {@linkcode field}. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** Deepest nesting of objects and arrays that is accepted. */
const MAX_DEPTH = 256;

/** True for an object that is neither null nor an array. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The object's own field, so that "constructor" and "__proto__" are names like any other. */
export function field(object: JsonObject, name: string): unknown {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

/** A parsed text, with the line (from 1) on which each element of an outer array starts. */
export interface ParsedJson {
  /** What the text holds. */
  readonly value: unknown;
  /** Lines of the elements of the outer array; empty where there is none. */
  readonly lines: readonly number[];
}

/**
 * Parse JSON; duplicate keys and nesting deeper than 256 are refused.
 *
 * @throws {SyntaxError} saying what is wrong.
 */
export function parseJson(text: string): ParsedJson {
  const value: unknown = JSON.parse(text);
  return { value, lines: scan(text) };
}

function scan(text: string): number[] {
  const open: (Set<string> | undefined)[] = []; // the keys so far of each open object; undefined for an array
  const lines: number[] = [];
  let line = 1;
  let first = false; // an array's element may start here
  let key = false; // an object's key may start here
  for (let i = 0; i < text.length; i++) {
    const c = text[i]!;
    if (c === "\n") line++;
    if (c === " " || c === "\n" || c === "\r" || c === "\t") continue;
    if (first && c !== "]") lines.push(line);
    first = false;
    if (c === '"') {
      const end = endOfString(text, i);
      if (key) addKey(open.at(-1)!, JSON.parse(text.slice(i, end + 1)));
      key = false;
      i = end;
    } else if (c === "{" || c === "[") {
      open.push(c === "{" ? new Set() : undefined);
      if (open.length > MAX_DEPTH) throw new SyntaxError(`nested deeper than ${MAX_DEPTH}`);
      key = c === "{";
      first = c === "[" && open.length === 1;
    } else if (c === "}" || c === "]") {
      open.pop();
      key = false;
    } else if (c === ",") {
      key = open.at(-1) !== undefined;
      first = !key && open.length === 1;
    }
  }
  return lines;
}

function addKey(keys: Set<string>, key: string): void {
  if (keys.has(key)) throw new SyntaxError(`the key ${JSON.stringify(key)} is written twice`);
  keys.add(key);
}

/** Position of the quote that closes the string opened at `start`: the first with an even number of backslashes before. */
function endOfString(text: string, start: number): number {
  let end = start;
  let slashes: number;
  do {
    end = text.indexOf('"', end + 1);
    slashes = 0;
    while (text[end - 1 - slashes] === "\\") slashes++;
  } while (slashes % 2 === 1);
  return end;
}
