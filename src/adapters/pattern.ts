// Regular expressions from adapter files: Python's `re` forms that PEFT writes, refused when they could run for ever.
//
// Matching is a backtracking search. Its steps are at most the product of the choices that a pattern leaves open: an
// unbounded repeat may end at any of about 64 characters of a path, an optional atom or an ambiguous alternative doubles
// the search, and a repeat of something that itself has choices is exponential. The product is limited beforehand.
import { printable, SecurityError, UsageError } from "../core/errors.ts";

/** Bits of one unbounded repeat: paths have about 64 characters. */
const REPEAT_BITS = 6;

/** Most bits of a pattern: four repeats and some alternatives, as fine-tuning tools write them. */
const MOST_BITS = 28;

/**
 * A function that tells whether the whole of a path matches `pattern`.
 *
 * @throws {UsageError} `lora/pattern` if it is no regular expression.
 * @throws {SecurityError} `security/regex` if matching could take exponential time.
 */
export function fullMatch(pattern: string): (path: string) => boolean {
  return matcher(pattern, `^(?:${pattern})$`);
}

/** As PEFT's rank_pattern keys: `(.*\.)?(key)$` from the start of the path. */
export function suffixMatch(pattern: string): (path: string) => boolean {
  return matcher(pattern, `^(?:.*\\.)?(?:${pattern})$`);
}

function matcher(pattern: string, source: string): (path: string) => boolean {
  assertCheap(pattern);
  let regex: RegExp;
  try {
    regex = new RegExp(source.replaceAll("(?P<", "(?<").replaceAll("\\Z", "$"));
  } catch (cause) {
    throw new UsageError(
      "lora/pattern",
      `Cannot use "${printable(pattern)}" as a pattern: ${(cause as Error).message}`,
      { cause },
    );
  }
  return (path) => regex.test(path);
}

function assertCheap(pattern: string): void {
  const bits = choiceBits(pattern.replace(/\\./g, "_").replace(/\[[^\]]*\]/g, "."));
  if (bits <= MOST_BITS) return;
  const why = bits === Infinity ? "a repeated group has choices inside" : "it leaves too many choices open";
  throw new SecurityError("security/regex", `Cannot use "${printable(pattern)}" as a pattern as ${why}`, {
    hint: "Give a list of module names instead.",
  });
}

/** Base-2 logarithm of the ways in which `text`, without escapes and classes, can be matched at one position. */
function choiceBits(text: string): number {
  const branches = splitBranches(text);
  if (branches.length === 1) return sequenceBits(text);
  const literal = branches.every((branch) => /^\w+$/.test(branch));
  const rivals = (a: string) => branches.filter((b) => a.startsWith(b) || b.startsWith(a)).length;
  const ways = literal ? Math.max(...branches.map(rivals)) : branches.length;
  return Math.log2(ways) + Math.max(...branches.map(sequenceBits));
}

/** The alternatives of `text`: it is cut at every `|` outside of groups. */
function splitBranches(text: string): string[] {
  const branches = [""];
  let depth = 0;
  for (const c of text) {
    if (c === "(") depth++;
    if (c === ")") depth--;
    if (c === "|" && depth === 0) branches.push("");
    else branches[branches.length - 1] += c;
  }
  return branches;
}

function sequenceBits(text: string): number {
  let bits = 0;
  for (let at = 0; at < text.length;) {
    const end = text[at] === "(" ? groupEnd(text, at) : at + 1;
    const inner = end > at + 1 ? choiceBits(text.slice(at + 1, end - 1).replace(/^\?(?:P?<\w+>|[:=!]|<[=!])/, "")) : 0;
    const quantifier = /^(?:[*+?]|\{(\d+)(,\d*)?\})[?+]?/.exec(text.slice(end));
    bits += quantifiedBits(inner, quantifier);
    at = end + (quantifier?.[0].length ?? 0);
  }
  return bits;
}

function quantifiedBits(inner: number, quantifier: RegExpExecArray | null): number {
  if (!quantifier) return inner;
  const [text, count, range] = quantifier;
  if (text.startsWith("?")) return inner + 1;
  if (count !== undefined && range === undefined) return inner * Number(count);
  return inner > 0 ? Infinity : REPEAT_BITS;
}

/** Behind the group that opens at `start`; a group that never closes ends with the text. */
function groupEnd(text: string, start: number): number {
  let depth = 0;
  for (let i = start; i < text.length; i++) {
    if (text[i] === "(") depth++;
    if (text[i] === ")" && --depth === 0) return i + 1;
  }
  return text.length;
}
