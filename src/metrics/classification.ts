// Metrics of predicted classes, as scikit-learn defines them (a ratio without a denominator counts 0).
import { checkPairs } from "./pairs.ts";

/** A class: its number or its name. */
export type Label = number | string;

/** How often each class was predicted for each class: `counts[reference][prediction]`, both in the order of `labels`. */
export interface ConfusionMatrix {
  readonly labels: readonly Label[];
  readonly counts: readonly (readonly number[])[];
}

/** Precision, recall and their harmonic mean. */
export interface Scores {
  readonly precision: number;
  readonly recall: number;
  readonly f1: number;
}

/** Scores of one class. */
export interface ClassScores extends Scores {
  readonly label: Label;
  /** References of the class. */
  readonly support: number;
}

/** What {@linkcode classificationReport} returns. */
export interface ClassificationReport {
  readonly accuracy: number;
  /** Matthews correlation coefficient, in [-1, 1]. */
  readonly matthews: number;
  /** All decisions in one pot: precision = recall = accuracy where every item has one class. */
  readonly micro: Scores;
  /** Every class counts the same. */
  readonly macro: Scores;
  /** Every class counts by its support. */
  readonly weighted: Scores;
  readonly classes: readonly ClassScores[];
  readonly confusion: ConfusionMatrix;
}

/**
 * Count references against predictions.
 *
 * @param labels The classes in the order of the rows; by default those that occur, sorted.
 * @throws {UsageError} `metrics/length` if the lists are empty or differ in length.
 * @throws {RangeError} if a class is not among `labels`.
 */
export function confusionMatrix(
  predictions: readonly Label[],
  references: readonly Label[],
  labels: readonly Label[] = occurring([...predictions, ...references]),
): ConfusionMatrix {
  checkPairs("a confusion matrix", predictions, references);
  const index = new Map(labels.map((label, i) => [label, i]));
  const counts = labels.map(() => labels.map(() => 0));
  references.forEach((reference, i) => {
    const row = index.get(reference), column = index.get(predictions[i]!);
    if (row === undefined || column === undefined) {
      throw new RangeError(
        `Cannot count ${JSON.stringify(row === undefined ? reference : predictions[i])}: ` +
          `the labels are ${JSON.stringify(labels)}`,
      );
    }
    counts[row]![column]!++;
  });
  return { labels, counts };
}

/**
 * Accuracy, precision, recall, F1 and Matthews correlation of predicted classes.
 *
 * @throws {UsageError} `metrics/length` if the lists are empty or differ in length.
 *
 * @example Usage
 * ```ts
 * import { classificationReport } from "@graft/graft/metrics";
 *
 * const { accuracy, macro } = classificationReport(["cat", "dog", "dog"], ["cat", "cat", "dog"]);
 * console.log(accuracy.toFixed(3), macro.f1.toFixed(3)); // 0.667 0.667
 * ```
 */
export function classificationReport(
  predictions: readonly Label[],
  references: readonly Label[],
  labels?: readonly Label[],
): ClassificationReport {
  return reportOf(confusionMatrix(predictions, references, labels));
}

/** The report of counts, at least one. */
export function reportOf(confusion: ConfusionMatrix): ClassificationReport {
  const { counts } = confusion;
  const total = counts.flat().reduce((a, b) => a + b, 0);
  const actual = counts.map((row) => row.reduce((a, b) => a + b, 0));
  const predicted = counts.map((_, j) => counts.reduce((sum, row) => sum + row[j]!, 0));
  const right = counts.map((row, i) => row[i]!);
  const classes = confusion.labels.map((label, i) => ({
    label,
    support: actual[i]!,
    ...scores(right[i]!, predicted[i]!, actual[i]!),
  }));
  const hits = right.reduce((a, b) => a + b, 0);
  const average = (weight: (c: ClassScores) => number): Scores => {
    const all = classes.reduce((sum, c) => sum + weight(c), 0);
    const of = (key: keyof Scores) => classes.reduce((sum, c) => sum + weight(c) * c[key], 0) / all;
    return { precision: of("precision"), recall: of("recall"), f1: of("f1") };
  };
  return {
    accuracy: hits / total,
    matthews: matthews({ hits, total, actual, predicted }),
    micro: scores(hits, total, total),
    macro: average(() => 1),
    weighted: average(({ support }) => support),
    classes,
    confusion,
  };
}

/** Precision, recall and F1 from the number of hits, of predictions and of references. */
export function scores(hits: number, predicted: number, actual: number): Scores {
  return {
    precision: predicted > 0 ? hits / predicted : 0,
    recall: actual > 0 ? hits / actual : 0,
    f1: predicted + actual > 0 ? 2 * hits / (predicted + actual) : 0,
  };
}

interface Margins {
  readonly hits: number;
  readonly total: number;
  readonly actual: readonly number[];
  readonly predicted: readonly number[];
}

// (hits·total − Σ actual·predicted) / sqrt((total² − Σ predicted²)(total² − Σ actual²)), Gorodkin 2004.
function matthews({ hits, total, actual, predicted }: Margins): number {
  const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
  const spread = (total ** 2 - dot(predicted, predicted)) * (total ** 2 - dot(actual, actual));
  return spread > 0 ? (hits * total - dot(actual, predicted)) / Math.sqrt(spread) : 0;
}

function occurring(labels: readonly Label[]): Label[] {
  const numbers = labels.every((label) => typeof label === "number");
  return [...new Set(labels)].sort((a, b) => numbers ? Number(a) - Number(b) : String(a) < String(b) ? -1 : 1);
}
