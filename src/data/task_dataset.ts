// A data set of a task: rows to classify, tagged words, questions about texts, texts whose tokens are hidden. Labels are
// found in the rows, or those of the model. Every row ends as an example or in a count of the report.
import { DataError, UsageError } from "../core/errors.ts";
import type { TaskName } from "../core/task_name.ts";
import { checkBounds, checkTokens } from "./check_reading.ts";
import { encodeHidden, encodeQuestion, encodeText, encodeWords, type TaskExample } from "./encode_task.ts";
import type { JsonObject } from "./json.ts";
import { type Example, IGNORE } from "./labels.ts";
import { labelError, type LabelSet, labelSet, type ProblemType } from "./label_names.ts";
import { type Draw, type MaskRule, maskTokens } from "./mask_tokens.ts";
import { findSplit, readObjects } from "./rows.ts";
import type { Dataset, DatasetReport } from "./dataset.ts";
import { type QuestionRow, questionRow, type TagRow, tagRow, type TextRow, textRow } from "./task_rows.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** Tasks whose rows are read here. */
export type RowTask = Extract<
  TaskName,
  "sequence-classification" | "token-classification" | "question-answering" | "masked-lm"
>;

/** Options of {@linkcode loadTaskDataset}. */
export interface TaskDatasetOptions {
  /** What the rows are read for. */
  readonly task: RowTask;
  /** Tokenizer of the model. */
  readonly tokenizer: Tokenizer;
  /** Tokens of the longest example (512, or `positions` where that is less). */
  readonly maxLength?: number;
  /** Which file of a folder: train, valid (or dev), test. */
  readonly split?: "train" | "valid" | "test";
  /** Read at most this many rows. */
  readonly limit?: number;
  /** How many bad rows may be left out before the next one is an error. */
  readonly skipBadRows?: number;
  /** Rows of the model's embedding; an id at or above is an error. */
  readonly vocabSize?: number;
  /** Positions that the model knows. */
  readonly positions?: number;
  /** Names of the labels in the order of their ids; found in the rows by default. */
  readonly labels?: readonly string[];
  /** What rows are classified as; found from their labels by default. */
  readonly problemType?: ProblemType;
  /** Tokens that two windows of a long context share (128). */
  readonly stride?: number;
  /** Share of the tokens that are hidden (0.15). */
  readonly maskProbability?: number;
}

/** A row as it was read. */
export type TaskRow = TextRow | TagRow | QuestionRow;

/** Where an example comes from. */
export interface Source extends Omit<TaskExample, "example" | "lost"> {
  /** Index of its row. */
  readonly row: number;
}

/** Examples of a task. */
export interface TaskDataset extends Dataset {
  /** What the rows were read for. */
  readonly task: RowTask;
  /** The rows as they were read. */
  readonly rows: readonly TaskRow[];
  /** Where each example comes from. */
  readonly sources: readonly Source[];
  /** Names of the labels in the order of their ids; empty where the task has none. */
  readonly labels: readonly string[];
  /** What a row is classified as. */
  readonly problemType: ProblemType;
  /** What of an example changes from epoch to epoch: which tokens are hidden. */
  readonly prepare?: (example: Example, draw: Draw) => Example;
}

/**
 * Load a file (.jsonl, .json, .csv, .tsv), one split of a folder, or rows that are in memory.
 *
 * Classification: `{"text" | "sentence", "label"}`, two texts as `{"text", "text_pair"}` or `{"premise", "hypothesis"}`;
 * a label is a name, a number, or a list for several. Words: `{"tokens", "tags" | "ner_tags"}`. Answers: SQuAD's
 * `{"question", "context", "answers": {"text", "answer_start"}}`. Hidden tokens: `{"text"}`.
 *
 * @throws {UsageError} `usage/max-length`, `usage/limit`.
 * @throws {DataError} as `readJsonl`, and `data/field`, `data/label`, `data/answer` for rows that mean nothing,
 * `data/token-range` for an id that the model does not have, `data/no-labels` where nothing is left.
 *
 * @example Usage
 * ```ts no-eval
 * import { loadModel, loadTaskDataset, openDevice } from "@graft/graft";
 *
 * const base = await loadModel(await openDevice(), "models/bert");
 * const data = await loadTaskDataset("sst2", { task: "sequence-classification", tokenizer: base.tokenizer });
 * console.log(data.labels, data.examples.length);
 * ```
 */
export async function loadTaskDataset(
  path: string | readonly JsonObject[],
  options: TaskDatasetOptions,
): Promise<TaskDataset> {
  const { task, split = "train", skipBadRows = 0, limit = Infinity } = options;
  const maxLength = checkLength(options);
  const file = typeof path === "string" ? await findSplit(path, split) : "rows in memory";
  if (file === undefined) {
    throw new DataError("data/missing", `Cannot load the ${split} split as the folder has no file called ${split}`, {
      path: String(path),
    });
  }
  let skipped = 0;
  const bad = (error: DataError): void => {
    if (++skipped > skipBadRows) throw error;
  };
  const rows: TaskRow[] = [];
  const parse = { "token-classification": tagRow, "question-answering": questionRow }[task as string] ?? textRow;
  const objects = typeof path === "string" ? readObjects(file, bad) : path.map((value, i) => ({ value, line: i + 1 }));
  for await (const { value, line } of objects) {
    const row = parse(value, { path: file, line });
    if (row instanceof DataError) bad(row);
    else rows.push(row);
    if (rows.length >= limit) break;
  }
  const labels = labelSet(rows.flatMap(rawLabels), { names: options.labels, kind: kindOf(options) });
  const examples: Example[] = [], sources: Source[] = [], kept: TaskRow[] = [];
  const counts = { dropped: 0, truncated: 0, tokensLost: 0 };
  for (const row of rows) {
    const made = encodeRow(row, labels, { ...options, maxLength });
    if (typeof made === "string") {
      bad(labelError(made, { path: file, line: row.line }));
      continue;
    }
    if (made.length === 0) counts.dropped++;
    for (const { example, lost, ...source } of made) {
      checkTokens(example.ids, { ...options, path: file, line: row.line });
      examples.push(example);
      sources.push({ ...source, row: kept.length });
      if (lost > 0) counts.truncated++;
      counts.tokensLost += lost;
    }
    kept.push(row);
  }
  if (examples.length === 0) {
    throw new DataError("data/no-labels", `Cannot use these rows as none is left of ${rows.length}`, { path: file });
  }
  const report = {
    path: file,
    rows: kept.length,
    skipped,
    doubledBos: 0,
    ...counts,
    ...measure(examples, labels, options),
  };
  const rule = maskRule(options);
  return {
    ...{ task, examples, report, rows: kept, sources },
    labels: task === "sequence-classification" || task === "token-classification" ? labels.names : [],
    problemType: labels.kind,
    ...(rule ? { prepare: (example: Example, draw: Draw) => maskTokens(example, rule, draw) } : {}),
  };
}

function kindOf({ task, problemType }: TaskDatasetOptions): ProblemType | undefined {
  return task === "token-classification" ? "single_label_classification" : problemType;
}

function rawLabels(row: TaskRow): readonly Parameters<LabelSet["encode"]>[0][] {
  if ("words" in row) return row.tags ?? [];
  return "label" in row && row.label !== undefined ? [row.label] : [];
}

/** The examples of a row, or why it has none. */
function encodeRow(
  row: TaskRow,
  labels: LabelSet,
  options: TaskDatasetOptions & { readonly maxLength: number },
): readonly TaskExample[] | string {
  if ("words" in row) {
    const classes = row.tags?.map((tag) => labels.encode(tag));
    const wrong = classes?.find((id) => typeof id === "string");
    return wrong === undefined ? [encodeWords(row, classes as number[] | undefined, options)] : wrong as string;
  }
  if ("question" in row) return encodeQuestion(row, { stride: 128, ...options });
  if (options.task === "masked-lm") return encodeHidden(row, options);
  const made = encodeText(row, options);
  if (row.label === undefined) return [made];
  const label = labels.encode(row.label);
  return typeof label === "string" ? label : [{ ...made, example: { ...made.example, label } }];
}

function maskRule(options: TaskDatasetOptions): MaskRule | undefined {
  const { task, tokenizer, maskProbability = 0.15, vocabSize = tokenizer.vocabSize } = options;
  if (task !== "masked-lm") return undefined;
  if (tokenizer.maskId === undefined) {
    throw new UsageError("data/mask", "Cannot hide tokens as the tokenizer has no mask token", {
      hint: "Masked language models come with one, such as [MASK].",
    });
  }
  return { maskId: tokenizer.maskId, vocabSize, specialIds: tokenizer.specialIds, probability: maskProbability };
}

function measure(
  examples: readonly Example[],
  { names, kind }: LabelSet,
  { task, maskProbability = 0.15 }: TaskDatasetOptions,
): Pick<DatasetReport, "examples" | "ending" | "tokens" | "trainedTokens" | "longest" | "task" | "labelCounts"> {
  const sum = (f: (example: Example) => number): number => examples.reduce((total, example) => total + f(example), 0);
  const tokens = sum(({ ids }) => ids.length);
  const tagged = sum(({ labels }) => labels.reduce((n, label) => n + (label === IGNORE ? 0 : 1), 0));
  const trainedTokens = task === "masked-lm"
    ? Math.round(maskProbability * tokens)
    : task === "token-classification"
    ? tagged
    : examples.length;
  const counted = (id: number): number =>
    sum(({ label, labels }) => {
      if (typeof label === "number") return label === id ? 1 : 0;
      return label ? label[id]! : labels.reduce((n, one) => n + (one === id ? 1 : 0), 0);
    });
  const classes = kind !== "regression" && (task === "sequence-classification" || task === "token-classification");
  return {
    ...{ task, tokens, trainedTokens, examples: examples.length, ending: 0 },
    longest: examples.reduce((longest, { ids }) => Math.max(longest, ids.length), 0),
    ...(classes ? { labelCounts: Object.fromEntries(names.map((name, id) => [name, counted(id)])) } : {}),
  };
}

function checkLength(
  { positions = Infinity, maxLength = Math.min(512, positions), limit }: TaskDatasetOptions,
): number {
  checkBounds({ length: maxLength, least: 8, positions, limit });
  return maxLength;
}
