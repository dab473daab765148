// What the rows of a task say: a text or two with labels, words with tags, a question about a text.
import { DataError } from "../core/errors.ts";
import { field, isObject } from "./json.ts";
import { excerpt } from "./jsonl.ts";

/** A label as it is written: a name, a number, or several. */
export type RawLabel = string | number | readonly (string | number)[];

/** One text or two, to be classified. */
export interface TextRow {
  readonly text: string;
  readonly pair?: string;
  readonly label?: RawLabel;
  readonly line: number;
}

/** Words, each with a tag. */
export interface TagRow {
  readonly words: readonly string[];
  readonly tags?: readonly (string | number)[];
  readonly line: number;
}

/** A question whose answer stands in a text. */
export interface QuestionRow {
  readonly question: string;
  readonly context: string;
  /** All right answers; empty where the text has none. */
  readonly answers?: readonly string[];
  /** First UTF-16 unit of the first answer. */
  readonly answerStart?: number;
  readonly line: number;
}

/** Where a row stands. */
export interface RowPlace {
  readonly path: string;
  readonly line: number;
}

/** Names of the fields of texts, the first that a row has all of. */
const TEXTS: readonly (readonly [string, string?])[] = [
  ["premise", "hypothesis"],
  ["sentence1", "sentence2"],
  ["text", "text_pair"],
  ["question", "sentence"],
  ["text"],
  ["sentence"],
];

/** A row to classify, or why it is none. */
export function textRow(row: unknown, place: RowPlace): TextRow | DataError {
  const names = isObject(row) ? TEXTS.find((names) => names.every((name) => Object.hasOwn(row, name!))) : undefined;
  if (!isObject(row) || !names) return unusable(row, '{"text", "label"}, {"premise", "hypothesis", "label"} …', place);
  const texts = names.map((name) => field(row, name!));
  if (!texts.every(isText)) return wrongFields(row, [...names] as string[], "texts", place);
  const raw = field(row, "label") ?? field(row, "labels");
  if (raw !== undefined && !isLabel(raw)) {
    return wrongFields(row, ["label"], "a name, a number, or a list of them", place);
  }
  const [text, pair] = texts as [string, string?];
  return {
    text,
    ...(pair === undefined ? {} : { pair }),
    ...(raw === undefined ? {} : { label: raw }),
    line: place.line,
  };
}

/** A row of tagged words, or why it is none. */
export function tagRow(row: unknown, place: RowPlace): TagRow | DataError {
  const words = isObject(row) ? field(row, "tokens") ?? field(row, "words") : undefined;
  if (!isObject(row) || words === undefined) return unusable(row, '{"tokens", "tags"}', place);
  if (!isList(words) || !words.every(isText) || words.length === 0) {
    return wrongFields(row, ["tokens"], "a list of texts", place);
  }
  const tags = field(row, "tags") ?? field(row, "ner_tags") ?? field(row, "labels");
  if (tags === undefined) return { words: words as string[], line: place.line };
  if (!isList(tags) || tags.length !== words.length || !tags.every(isName)) {
    return wrongFields(row, ["tags", "ner_tags", "labels"], `a list of ${words.length} tags, one a word`, place);
  }
  return { words: words as string[], tags: tags as (string | number)[], line: place.line };
}

/** A row of SQuAD, or why it is none. */
export function questionRow(row: unknown, place: RowPlace): QuestionRow | DataError {
  if (!isObject(row) || !Object.hasOwn(row, "question") || !Object.hasOwn(row, "context")) {
    return unusable(row, '{"question", "context", "answers": {"text": […], "answer_start": […]}}', place);
  }
  const [question, context] = [field(row, "question"), field(row, "context")];
  if (!isText(question) || !isText(context)) return wrongFields(row, ["question", "context"], "texts", place);
  const answers = field(row, "answers");
  if (answers === undefined) return { question, context, line: place.line };
  const texts = isObject(answers) ? field(answers, "text") : undefined;
  const starts = isObject(answers) ? field(answers, "answer_start") : undefined;
  const matches = isList(texts) && isList(starts) && texts.length === starts.length && texts.every(isText);
  if (!matches) return wrongFields(row, ["answers"], '{"text": […], "answer_start": […]}', place);
  const [start] = starts;
  if (start === undefined) return { question, context, answers: [], line: place.line };
  const [answer] = texts as string[];
  if (typeof start !== "number" || context.slice(start, start + answer!.length) !== answer) {
    const message = `Cannot use a row as its answer ${excerpt(JSON.stringify(answer))} does not stand at ${start}`;
    return new DataError("data/answer", message, { ...place, hint: "answer_start counts UTF-16 units from 0." });
  }
  return { question, context, answers: texts as string[], answerStart: start, line: place.line };
}

/** Whether a value is a text that can be encoded. */
export function isText(value: unknown): value is string {
  return typeof value === "string" && value.isWellFormed();
}

function isName(value: unknown): value is string | number {
  return isText(value) || (typeof value === "number" && Number.isFinite(value));
}

function isLabel(value: unknown): value is RawLabel {
  return isName(value) || (isList(value) && value.every(isName));
}

function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

/** Why a row of other fields is of no use. */
export function unusable(row: unknown, kinds: string, place: RowPlace): DataError {
  const found = isObject(row) ? Object.keys(row).map((name) => JSON.stringify(name)).join(", ") : excerpt(`${row}`);
  return new DataError("data/field", `Cannot use a row with the fields ${excerpt(found) || "(none)"}`, {
    ...place,
    hint: `Rows of this kind are needed: ${kinds}.`,
  });
}

/** Why the fields of a row are of no use. */
export function wrongFields(
  row: Readonly<Record<string, unknown>>,
  names: readonly string[],
  what: string,
  place: RowPlace,
): DataError {
  const received = names.filter((name) => Object.hasOwn(row, name))
    .map((name) => `"${name}" ${excerpt(JSON.stringify(field(row, name)) ?? "nothing")}`).join(", ");
  return new DataError("data/field", `Cannot use a row as it needs ${what}: received ${received}`, place);
}
