// Regular expressions from adapter files: Python's `re` forms that PEFT writes, refused when they could run for ever.
//
// Matching is a backtracking search, so a repeated group that itself repeats (`(a+)+`) takes exponential time, and many
// unbounded repeats in a row take a high power of the length. Module paths are short; both are refused beforehand.
import { printable, SecurityError, UsageError } from "../core/errors.ts";

/** Unbounded repeats in one pattern. */
const MOST_REPEATS = 6;

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
  const text = pattern.replace(/\\./g, "_").replace(/\[[^\]]*\]/g, "_");
  const repeats = text.match(/[*+]|\{\d+,\}/g)?.length ?? 0;
  const open: number[] = [];
  let nested = false;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === "(") open.push(i);
    if (text[i] !== ")") continue;
    const body = text.slice((open.pop() ?? 0) + 1, i);
    if (/^(?:[*+]|\{)/.test(text.slice(i + 1)) && /[*+|]|\{/.test(body)) nested = true;
  }
  if (nested || repeats > MOST_REPEATS) {
    throw new SecurityError(
      "security/regex",
      `Cannot use "${printable(pattern)}" as a pattern: ${
        nested ? "a repeated group repeats inside" : `${repeats} unbounded repeats`
      } could take for ever`,
      { hint: "Give a list of module names instead." },
    );
  }
}
