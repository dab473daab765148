// Rows of two texts, one to be written from the other: summaries, answers, translations.
import type { DataError } from "../core/errors.ts";
import { field, isObject } from "./json.ts";
import { alpaca } from "./rows.ts";
import { isText, type RowPlace, unusable, wrongFields } from "./task_rows.ts";

/** Two texts. */
export interface PairRow {
  /** What is read, without the prefix of the task. */
  readonly source: string;
  /** What is to be written. */
  readonly target: string;
  /** All right answers, the target first. */
  readonly references: readonly string[];
  /** Its line in the file, counted from 1. */
  readonly line: number;
}

/** Names of the fields of a source and its target, the first that a row has both of. */
const PAIRS: readonly (readonly [string, string])[] = [
  ["document", "summary"],
  ["article", "highlights"],
  ["article", "summary"],
  ["dialogue", "summary"],
  ["text", "summary"],
  ["prompt", "completion"],
  ["source", "target"],
];

const KINDS = '{"document", "summary"}, {"prompt", "completion"}, {"input", "output"}, {"source", "target"}, ' +
  '{"instruction", "input"?, "output"} or {"question", "context"?, "answer"}';

/** A row of two texts, or why it is none. */
export function pairRow(row: unknown, place: RowPlace): PairRow | DataError {
  if (!isObject(row)) return unusable(row, KINDS, place);
  const has = (...names: string[]) => names.every((name) => Object.hasOwn(row, name));
  const names = PAIRS.find((pair) => has(...pair));
  if (names) return pairOf(row, names, ([source]) => source!, place);
  if (has("question", "answer") || has("question", "answers")) return answerRow(row, place);
  if (has("instruction", "output")) {
    const given = has("input") ? ["instruction", "output", "input"] : ["instruction", "output"];
    return pairOf(row, given, ([instruction, , input]) => alpaca(instruction!, input ?? ""), place);
  }
  if (has("input", "output")) return pairOf(row, ["input", "output"], ([source]) => source!, place);
  return unusable(row, KINDS, place);
}

/** The second of the fields is the target. */
function pairOf(
  row: Readonly<Record<string, unknown>>,
  names: readonly string[],
  source: (texts: readonly string[]) => string,
  place: RowPlace,
): PairRow | DataError {
  const texts = names.map((name) => field(row, name));
  if (!texts.every(isText)) return wrongFields(row, names, "texts", place);
  return { source: source(texts), target: texts[1]!, references: [texts[1]!], line: place.line };
}

/** A question in the words of T5's own training (arXiv:1910.10683, appendix D), with SQuAD's answers or one text. */
function answerRow(row: Readonly<Record<string, unknown>>, place: RowPlace): PairRow | DataError {
  const question = field(row, "question"), context = field(row, "context") ?? undefined;
  if (!isText(question) || !(context === undefined || isText(context))) {
    return wrongFields(row, ["question", "context"], "texts", place);
  }
  const given = field(row, "answer") ?? field(row, "answers");
  const list = isObject(given) ? field(given, "text") : typeof given === "string" ? [given] : given;
  if (!Array.isArray(list) || !list.every(isText)) {
    return wrongFields(row, ["answer", "answers"], 'a text, a list of texts, or {"text": […]}', place);
  }
  const source = context === undefined ? `question: ${question}` : `question: ${question} context: ${context}`;
  return { source, target: list[0] ?? "", references: list.length > 0 ? list : [""], line: place.line };
}
