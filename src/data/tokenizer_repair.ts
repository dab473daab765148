// Parts of a tokenizer.json that @huggingface/tokenizers 0.2.0 reads otherwise than the Rust library does, rewritten to
// equal parts that it reads alike. Every one ends as {"type": "Split", "behavior": "Removed", "invert": true}, which
// keeps exactly the matches of a pattern. With P the delimiter and n = (?:(?!P)[\s\S]), a character outside of it:
//
//   Isolated           P|n+           Contiguous     (?:P)+|n+
//   MergedWithPrevious n*P|n+         MergedWithNext Pn*|n+
//
// where the library knows only Isolated and Removed. "Punctuation", "Digits", "Whitespace" and "Metaspace" become such.
import { FormatError } from "../core/errors.ts";
import { field, isObject, type JsonObject } from "./json.ts";

/** ASCII punctuation and Unicode's, as Rust's Punctuation tests them. */
const PUNCTUATION = String.raw`[\p{P}\u0021-\u002F\u003A-\u0040\u005B-\u0060\u007B-\u007E]`;

/** The file with its pre-tokenizer rewritten. */
export function repairTokenizer(file: JsonObject): JsonObject {
  const parts = {
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    added_tokens: [],
    ...file,
  };
  return { ...parts, pre_tokenizer: repair(field(file, "pre_tokenizer") ?? null) };
}

function repair(part: unknown): unknown {
  if (!isObject(part)) return part;
  switch (field(part, "type")) {
    case "Sequence": {
      const inner = field(part, "pretokenizers");
      return Array.isArray(inner) ? { ...part, pretokenizers: inner.map(repair) } : part;
    }
    case "Split":
      return split(source(field(part, "pattern")), field(part, "behavior"), field(part, "invert") === true);
    case "Punctuation":
      return split(PUNCTUATION, field(part, "behavior") ?? "Isolated");
    case "Digits":
      return split(String.raw`\p{N}`, field(part, "individual_digits") === true ? "Isolated" : "Contiguous");
    case "Whitespace":
      return keep(String.raw`\w+|[^\w\s]+`);
    case "Metaspace":
      return metaspace(part);
    default:
      return part;
  }
}

/** Old files say `add_prefix_space` where new ones have a scheme; words are split unless `split` is false. */
function metaspace(part: JsonObject): JsonObject {
  const replacement = field(part, "replacement") ?? "▁";
  const scheme = field(part, "add_prefix_space") === false ? "never" : field(part, "prepend_scheme") ?? "always";
  const marked = { ...part, prepend_scheme: scheme };
  if (field(part, "split") === false) return marked;
  return { type: "Sequence", pretokenizers: [marked, split(escape(String(replacement)), "MergedWithNext")] };
}

function split(delimiter: string, behavior: unknown, invert = false): JsonObject {
  const P = `(?:${delimiter})`;
  const n = String.raw`(?:(?!${P})[\s\S])`;
  switch (String(behavior).toLowerCase()) {
    case "removed":
      return invert ? keep(delimiter) : keep(`${n}+`);
    case "isolated": // what lies between the matches is kept as well, so inverting changes nothing
      return { type: "Split", pattern: { Regex: delimiter }, behavior: "Isolated", invert: false };
    case "contiguous":
      return keep(`${P}+|${n}+`);
    case "mergedwithprevious":
      if (!invert) return keep(`${n}*${P}|${n}+`);
      break;
    case "mergedwithnext":
      if (!invert) return keep(`${P}${n}*|${n}+`);
  }
  const what = `${JSON.stringify(behavior)}${invert ? ", inverted" : ""}`;
  throw new FormatError(
    "tokenizer/unsupported",
    `Cannot split text as this behavior is not supported: received ${what}`,
  );
}

function keep(pattern: string): JsonObject {
  return { type: "Split", pattern: { Regex: pattern }, behavior: "Removed", invert: true };
}

function source(pattern: unknown): string {
  const regex = isObject(pattern) ? field(pattern, "Regex") : undefined;
  const text = isObject(pattern) ? field(pattern, "String") : pattern;
  if (typeof regex === "string") return regex;
  if (typeof text === "string") return escape(text);
  throw new FormatError("tokenizer/unsupported", 'Cannot split text as the pattern has neither "Regex" nor "String"');
}

/** A pattern that matches just this text. */
function escape(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
