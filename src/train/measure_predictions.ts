// Predictions of a task as measurements, so that each of its figures has an interval.
import { type ConfusionMatrix, confusionMatrix } from "../metrics/classification.ts";
import {
  measureClasses,
  measureEntities,
  measureMemberships,
  type Measurement,
  measureNumbers,
  measureTexts,
} from "../metrics/measurements.ts";
import type { TaskPredictions } from "./task_metrics.ts";

/** What predictions amount to. */
export interface MeasuredPredictions {
  readonly measurement: Measurement;
  /** Where each row has one class. */
  readonly confusion?: ConfusionMatrix;
}

/**
 * Classes: accuracy, micro, macro and weighted F1, Matthews. Several labels: the same without Matthews. Numbers: errors
 * and correlations. Tags: precision, recall and F1 of entities where all are BIO, else as classes, and accuracy. Answers:
 * exact match and F1.
 */
export function measurePredictions(found: TaskPredictions): MeasuredPredictions {
  switch (found.kind) {
    case "classes": {
      const { predictions, references, labels } = found;
      const confusion = confusionMatrix(predictions, references, labels);
      return { measurement: measureClasses(predictions, references, labels), confusion };
    }
    case "memberships":
      return { measurement: measureMemberships(found.predictions, found.references) };
    case "numbers":
      return { measurement: measureNumbers(found.predictions.flat(), found.references.flat()) };
    case "tags": {
      const { predictions, references } = found;
      const isBio = [...predictions, ...references].every((row) => row.every((tag) => /^(?:O|[BI]-.+)$/.test(tag)));
      if (isBio) return { measurement: measureEntities(predictions, references) };
      return { measurement: measureClasses(predictions.flat(), references.flat()) };
    }
    case "answers":
      return { measurement: measureTexts(found.predictions, found.references, ["exact_match", "f1"]) };
  }
}
