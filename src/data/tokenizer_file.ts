// What a tokenizer.json must satisfy before it is used: every id in range and used once, every merge made of known
// pieces, no part that the library would ignore. All problems are reported together; the first one gives the code.
import { FormatError, printable, SecurityError } from "../core/errors.ts";
import { field, isObject, type JsonObject } from "./json.ts";

/** Largest id accepted, so that a hostile file cannot ask for a huge table. */
const MAX_ID = 2 ** 24;
/** Problems listed in one message. */
const SHOWN = 10;

/** The vocabulary of a tokenizer.json: a Map, so that "constructor" is a word like any other. */
export type Vocabulary = ReadonlyMap<string, number>;

interface Problem {
  readonly code: string;
  readonly text: string;
}

/**
 * Check a parsed tokenizer.json and return its vocabulary with the added tokens.
 *
 * @param rows Rows of the model's embedding, where known: every id must be below.
 * @throws {FormatError} `tokenizer/model`, `tokenizer/vocab`, `tokenizer/duplicate-id`, `tokenizer/range`,
 * `tokenizer/merge`, `tokenizer/added-token`, `tokenizer/template` or `tokenizer/unsupported`.
 * @throws {SecurityError} `security/regex` for a pattern whose matching time may explode.
 */
export function checkTokenizer(
  file: unknown,
  { path, rows }: { readonly path: string; readonly rows?: number },
): Vocabulary {
  const model = isObject(file) ? field(file, "model") : undefined;
  if (!isObject(file) || !isObject(model)) {
    throw new FormatError("tokenizer/model", 'Cannot use a tokenizer as it needs an object "model"', { path });
  }
  const problems: Problem[] = [];
  const vocab = readVocabulary(model, problems);
  const words = new Map(vocab);
  addTokens(field(file, "added_tokens"), words, problems);
  checkIds(vocab, words, problems, rows);
  checkMerges(model, vocab, problems);
  checkTemplate(field(file, "post_processor"), words, problems);
  checkSupport(model, problems);
  if (problems.length > 0) {
    const lines = problems.slice(0, SHOWN).map(({ text }) => `\n  - ${printable(text)}`);
    const rest = problems.length > SHOWN ? `\n  - and ${problems.length - SHOWN} more` : "";
    throw new FormatError(problems[0]!.code, `Cannot use this tokenizer:${lines.join("")}${rest}`, { path });
  }
  for (const pattern of patterns(file)) {
    if (mayRunAway(pattern)) {
      const message =
        `Cannot use the pattern ${printable(JSON.stringify(pattern))} as it repeats a group that repeats ` +
        "or branches inside: its matching time can grow exponentially";
      throw new SecurityError("security/regex", message, { path });
    }
  }
  return words;
}

/** BPE and WordPiece keep an object of ids; Unigram a list of [piece, score], numbered by position. */
function readVocabulary(model: JsonObject, problems: Problem[]): Map<string, number> {
  const vocab = field(model, "vocab");
  if (isObject(vocab)) return new Map(Object.entries(vocab) as [string, number][]);
  if (
    Array.isArray(vocab) && vocab.every((e) => Array.isArray(e) && typeof e[0] === "string" && Number.isFinite(e[1]))
  ) {
    return new Map(vocab.map(([piece], id) => [piece, id]));
  }
  problems.push({
    code: "tokenizer/vocab",
    text: '"model.vocab" must be an object of ids or a list of [piece, score]',
  });
  return new Map();
}

function addTokens(added: unknown, words: Map<string, number>, problems: Problem[]): void {
  if (added === undefined || added === null) return;
  if (!Array.isArray(added)) {
    problems.push({ code: "tokenizer/added-token", text: '"added_tokens" must be a list' });
    return;
  }
  for (const [i, token] of added.entries()) {
    const content = isObject(token) ? field(token, "content") : undefined;
    const id = isObject(token) ? field(token, "id") : undefined;
    if (typeof content !== "string" || content === "" || typeof id !== "number") {
      problems.push({
        code: "tokenizer/added-token",
        text: `added_tokens[${i}] needs a text "content" and a number "id"`,
      });
      continue;
    }
    const known = words.get(content);
    if (known !== undefined && known !== id) {
      const text = `added token ${JSON.stringify(content)} has id ${id}, and ${known} in the vocabulary`;
      problems.push({ code: "tokenizer/added-token", text });
    }
    if (field(token, "single_word") === true) {
      const text = `added token ${JSON.stringify(content)} is "single_word", which is not supported`;
      problems.push({ code: "tokenizer/unsupported", text });
    }
    words.set(content, id);
  }
}

function checkIds(vocab: Vocabulary, words: Vocabulary, problems: Problem[], rows: number | undefined): void {
  const limit = Math.min(rows ?? MAX_ID, MAX_ID);
  const owner = new Map<number, string>();
  for (const [word, id] of words) {
    const name = JSON.stringify(word);
    if (!Number.isInteger(id) || id < 0 || id >= limit) {
      const what = vocab.has(word) ? name : `added token ${name}`;
      const bound = rows === undefined ? `[0, ${limit})` : `[0, ${limit}), the rows of the model's embedding`;
      problems.push({ code: "tokenizer/range", text: `${what} has id ${id}, which is not an integer in ${bound}` });
    } else if (owner.has(id)) {
      const text = `id ${id} belongs to ${JSON.stringify(owner.get(id))} and to ${name}`;
      problems.push({ code: "tokenizer/duplicate-id", text });
    } else {
      owner.set(id, word);
    }
  }
}

function checkMerges(model: JsonObject, vocab: Vocabulary, problems: Problem[]): void {
  const merges = field(model, "merges");
  if (merges === undefined) {
    if (field(model, "type") === "BPE") problems.push({ code: "tokenizer/merge", text: '"model.merges" is missing' });
    return;
  }
  if (!Array.isArray(merges)) {
    problems.push({ code: "tokenizer/merge", text: '"model.merges" must be a list' });
    return;
  }
  for (const [i, merge] of merges.entries()) {
    const pair: unknown = typeof merge === "string" ? merge.split(" ") : merge;
    if (!Array.isArray(pair) || pair.length !== 2 || !pair.every((p) => typeof p === "string")) {
      problems.push({
        code: "tokenizer/merge",
        text: `merge ${i} must be two pieces: received ${JSON.stringify(merge)}`,
      });
      continue;
    }
    const unknown = [...pair, pair.join("")].find((piece) => !vocab.has(piece));
    if (unknown === undefined) continue;
    const text = `merge ${i}, ${JSON.stringify(pair)}, needs ${
      JSON.stringify(unknown)
    }, which is not in the vocabulary`;
    problems.push({ code: "tokenizer/merge", text });
  }
}

/** The library looks the special tokens of a template up by their text, and would give an unknown one no id. */
function checkTemplate(processor: unknown, words: Vocabulary, problems: Problem[]): void {
  if (!isObject(processor)) return;
  const inner = field(processor, "processors");
  if (Array.isArray(inner)) inner.forEach((p) => checkTemplate(p, words, problems));
  const single = field(processor, "single");
  for (const item of Array.isArray(single) ? single : []) {
    const special = isObject(item) ? field(item, "SpecialToken") : undefined;
    const id = isObject(special) ? field(special, "id") : undefined;
    if (special === undefined || (typeof id === "string" && words.has(id))) continue;
    problems.push({
      code: "tokenizer/template",
      text: `the template's token ${JSON.stringify(id)} is not in the vocabulary`,
    });
  }
}

function checkSupport(model: JsonObject, problems: Problem[]): void {
  const type = field(model, "type");
  if (type !== undefined && !["BPE", "WordPiece", "Unigram", "WordLevel"].includes(type as string)) {
    const text = `model type ${JSON.stringify(type)} is not one of BPE, WordPiece, Unigram, WordLevel`;
    problems.push({ code: "tokenizer/unsupported", text });
  }
  if (type === "BPE" && field(model, "continuing_subword_prefix")) {
    problems.push({ code: "tokenizer/unsupported", text: "BPE with a continuing_subword_prefix is not supported" });
  }
}

/** Every {"Regex": …} of the file outside of its vocabulary. */
function* patterns(value: unknown): Generator<string, void, void> {
  if (Array.isArray(value)) { for (const item of value) yield* patterns(item); }
  if (!isObject(value)) return;
  for (const [name, inner] of Object.entries(value)) {
    if (name === "Regex" && typeof inner === "string") yield inner;
    else if (name !== "model") yield* patterns(inner);
  }
}

/** True where a group that itself repeats or branches is repeated without a bound, as in `(a+)+` or `(a|a)*`. */
export function mayRunAway(pattern: string): boolean {
  const open: { risky: boolean }[] = [{ risky: false }];
  for (let i = 0; i < pattern.length; i++) {
    const c = pattern[i];
    if (c === "\\") i++;
    else if (c === "[") i = endOfClass(pattern, i);
    else if (c === "(") open.push({ risky: false });
    else if (c === "|" || isUnbounded(pattern, i)) open.at(-1)!.risky = true;
    else if (c === ")" && open.length > 1) {
      const { risky } = open.pop()!;
      if (risky && isUnbounded(pattern, i + 1)) return true;
      if (risky) open.at(-1)!.risky = true;
    }
  }
  return false;
}

function isUnbounded(pattern: string, i: number): boolean {
  return pattern[i] === "*" || pattern[i] === "+" || /^\{\d*,(\d{2,})?\}/.test(pattern.slice(i, i + 16));
}

function endOfClass(pattern: string, start: number): number {
  let depth = 1;
  let i = start + 1;
  if (pattern[i] === "^") i++;
  if (pattern[i] === "]") i++; // a bracket in first place is a letter
  for (; i < pattern.length; i++) {
    if (pattern[i] === "\\") i++;
    else if (pattern[i] === "[") depth++;
    else if (pattern[i] === "]" && --depth === 0) break;
  }
  return i;
}
