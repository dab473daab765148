// Predictions of every kind are measured as taskMetrics() counts them.
import { assertAlmostEquals, assertEquals } from "@std/assert";
import { measurePredictions } from "../../src/train/measure_predictions.ts";
import { taskMetrics, type TaskPredictions } from "../../src/train/task_metrics.ts";

const found: readonly TaskPredictions[] = [
  { kind: "classes", labels: ["a", "b", "c"], predictions: ["a", "b", "b", "a"], references: ["a", "b", "a", "c"] },
  {
    kind: "memberships",
    labels: ["x", "y"],
    predictions: [[1, 0], [1, 1], [0, 0]],
    references: [[1, 1], [1, 1], [0, 1]],
  },
  { kind: "numbers", predictions: [[1], [2], [4]], references: [[1.5], [1], [9]] },
  { kind: "tags", predictions: [["B-A", "I-A", "O"], ["O", "B-B"]], references: [["B-A", "I-A", "O"], ["B-B", "O"]] },
  { kind: "tags", predictions: [["NN", "VB"], ["NN"]], references: [["NN", "NN"], ["NN"]] },
  { kind: "answers", predictions: ["the fox", "nothing"], references: [["A Fox", "dog"], ["no thing"]] },
];

Deno.test("measured predictions: the figures of taskMetrics()", () => {
  for (const one of found) {
    const { measurement, confusion } = measurePredictions(one);
    const figures = measurement.of(Array.from({ length: measurement.items }, (_, i) => i));
    const expected = taskMetrics(one);
    for (const [name, value] of Object.entries(expected)) {
      if (one.kind === "classes" && name === "f1") continue; // of three labels: the macro F1 under another name
      assertAlmostEquals(figures[name]!, value, 1e-12, `${one.kind}: ${name}`);
    }
    assertEquals(confusion !== undefined, one.kind === "classes");
  }
});
