// Predictions of a model on a data set beside what is right, and the figures that the field reports for its task.
import type { QuestionRow, TagRow } from "../data/task_rows.ts";
import type { TaskDataset } from "../data/task_dataset.ts";
import { UsageError } from "../core/errors.ts";
import { answerScores } from "../metrics/answers.ts";
import { classificationReport, type Label } from "../metrics/classification.ts";
import { entityScores } from "../metrics/entities.ts";
import { regressionReport } from "../metrics/regression.ts";
import type { Model } from "./model.ts";
import { bestAnswer, classOf, type PredictOptions, problemOf, tagsOf } from "./predict.ts";
import { predictLogits } from "./predict_logits.ts";

/** What a model predicts for each row, and what is right, in the form that the task has. */
export type TaskPredictions =
  | {
    readonly kind: "classes";
    readonly labels: readonly string[];
    readonly predictions: string[];
    readonly references: string[];
  }
  /** 0 or 1 for each label of each row. */
  | {
    readonly kind: "memberships";
    readonly labels: readonly string[];
    readonly predictions: number[][];
    readonly references: number[][];
  }
  /** Numbers of each row. */
  | { readonly kind: "numbers"; readonly predictions: number[][]; readonly references: number[][] }
  /** Tags of the words of each row. */
  | { readonly kind: "tags"; readonly predictions: string[][]; readonly references: string[][] }
  /** The answer, and all right ones. */
  | { readonly kind: "answers"; readonly predictions: string[]; readonly references: string[][] };

/**
 * Predict every row of a data set that was loaded with the labels of the model. Rows without labels are left out.
 *
 * @throws {UsageError} `usage/task` if the data set is for another task than the model; `data/empty` if no row has labels.
 */
export async function taskPredictions(
  model: Model,
  data: TaskDataset,
  options: PredictOptions = {},
): Promise<TaskPredictions> {
  const { state } = model;
  if (data.task !== state.task.name || data.task === "masked-lm") {
    throw new UsageError("usage/task", `Cannot predict rows for ${data.task} with a model for ${state.task.name}`);
  }
  const logits = await predictLogits(model, data.examples, options);
  if (data.task === "question-answering") return answers(data, logits, options);
  if (data.task === "token-classification") return tags(data, logits);
  const kind = problemOf(state), names = data.labels;
  const known = [...data.examples.keys()].filter((i) => data.examples[i]!.label !== undefined);
  requireRows(known.length);
  const label = (i: number) => data.examples[i]!.label!;
  const numbers = known.map((i) => [label(i)].flat() as number[]);
  if (kind === "regression") {
    return { kind: "numbers", predictions: known.map((i) => [...logits[i]!]), references: numbers };
  }
  if (kind === "multi_label_classification") {
    const predictions = known.map((i) => [...logits[i]!].map((z) => z > 0 ? 1 : 0));
    return { kind: "memberships", labels: names, predictions, references: numbers };
  }
  return {
    kind: "classes",
    labels: names,
    predictions: known.map((i) => classOf(logits[i]!, { names, kind }).label),
    references: known.map((i) => names[label(i) as number]!),
  };
}

function tags(
  { examples, rows, sources, labels: names }: TaskDataset,
  logits: readonly Float32Array[],
): TaskPredictions {
  const known = [...examples.keys()].filter((i) => (rows[sources[i]!.row] as TagRow).tags !== undefined);
  requireRows(known.length);
  const rowOf = (i: number) => rows[sources[i]!.row] as TagRow;
  const name = (tag: string | number) => typeof tag === "string" ? tag : names[tag]!;
  return {
    kind: "tags",
    predictions: known.map((i) => [
      ...tagsOf(logits[i]!, sources[i]!.words!, { names, count: rowOf(i).words.length }).tags,
    ]),
    references: known.map((i) => rowOf(i).tags!.map(name)),
  };
}

function answers(
  { rows, sources }: TaskDataset,
  logits: readonly Float32Array[],
  options: PredictOptions,
): TaskPredictions {
  const known = [...rows.keys()].filter((row) => (rows[row] as QuestionRow).answers !== undefined);
  requireRows(known.length);
  const list = (row: number) => (rows[row] as QuestionRow).answers!;
  const noAnswer = options.noAnswer ?? known.some((row) => list(row).length === 0);
  const windows = Map.groupBy(sources.keys(), (i) => sources[i]!.row);
  const predictions = known.map((row) => {
    const own = windows.get(row)!;
    const { context } = rows[row] as QuestionRow;
    return bestAnswer(context, own.map((i) => sources[i]!), own.map((i) => logits[i]!), { ...options, noAnswer })
      .answer;
  });
  return { kind: "answers", predictions, references: known.map((row) => [...list(row)]) };
}

function requireRows(count: number): void {
  if (count === 0) {
    throw new UsageError("data/empty", "Cannot compare predictions as no row of the data set has labels");
  }
}

/**
 * The figures of predictions. Classes: accuracy, f1 (of the second of two labels, else macro), macro_f1, matthews. Several
 * labels: accuracy (whole rows), micro_f1, macro_f1. Numbers: mse, mae, pearson, spearman. Tags: precision, recall and f1
 * of entities where tags are B-, I- and O, and accuracy. Answers: exact_match, f1.
 */
export function taskMetrics(found: TaskPredictions): Record<string, number> {
  switch (found.kind) {
    case "classes": {
      const { accuracy, macro, matthews, classes } = classificationReport(
        found.predictions,
        found.references,
        found.labels,
      );
      const f1 = found.labels.length === 2 ? classes.find(({ label }) => label === found.labels[1])!.f1 : macro.f1;
      return { accuracy, f1, macro_f1: macro.f1, matthews };
    }
    case "memberships":
      return membershipMetrics(found);
    case "numbers": {
      const { mse, mae, pearson, spearman } = regressionReport(found.predictions.flat(), found.references.flat());
      return { mse, mae, pearson, spearman };
    }
    case "tags":
      return tagMetrics(found);
    case "answers": {
      const { exactMatch, f1 } = answerScores(found.predictions, found.references);
      return { exact_match: exactMatch, f1 };
    }
  }
}

function membershipMetrics(
  { labels, predictions, references }: Extract<TaskPredictions, { kind: "memberships" }>,
): Record<string, number> {
  const counts = labels.map((_, c) => {
    const count = (p: number, r: number) =>
      predictions.filter((row, i) => row[c] === p && references[i]![c] === r).length;
    return { hits: count(1, 1), predicted: count(1, 0) + count(1, 1), actual: count(0, 1) + count(1, 1) };
  });
  const f1 = (hits: number, all: number) => all > 0 ? 2 * hits / all : 0;
  const total = (key: "hits" | "predicted" | "actual") => counts.reduce((sum, one) => sum + one[key], 0);
  return {
    accuracy: predictions.filter((row, i) => String(row) === String(references[i])).length / predictions.length,
    micro_f1: f1(total("hits"), total("predicted") + total("actual")),
    macro_f1: counts.reduce((sum, one) => sum + f1(one.hits, one.predicted + one.actual), 0) / labels.length,
  };
}

function tagMetrics({ predictions, references }: Extract<TaskPredictions, { kind: "tags" }>): Record<string, number> {
  const isEntity = (tag: string) => /^(?:O|[BI]-.+)$/.test(tag);
  if ([...predictions, ...references].every((row) => row.every(isEntity))) {
    const { overall: { precision, recall, f1 }, accuracy } = entityScores(predictions, references);
    return { precision, recall, f1, accuracy };
  }
  const { accuracy, macro } = classificationReport(predictions.flat() as Label[], references.flat());
  return { accuracy, macro_f1: macro.f1 };
}
