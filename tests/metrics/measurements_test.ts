// Measurements of all items are the plain metrics; of drawn items those of the drawn lists; differences come in pairs.
import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../src/core/errors.ts";
import {
  answerScores,
  bleu,
  classificationReport,
  compareMeasurements,
  entityScores,
  measureClasses,
  measureEntities,
  measureMemberships,
  type Measurement,
  measureNumbers,
  measureTexts,
  measureTokens,
  regressionReport,
  rouge,
} from "../../src/metrics/mod.ts";
import { intervalOf } from "../../src/metrics/bootstrap.ts";

const numerics = JSON.parse(Deno.readTextFileSync(new URL("../fixtures/numerics/numerics.json", import.meta.url)));

/** A metric of a choice of items against the plain function of the chosen lists. */
function agrees<P, R>(
  measurement: Measurement,
  [predictions, references]: readonly [readonly P[], readonly R[]],
  plain: (predictions: P[], references: R[]) => Readonly<Record<string, number>>,
): void {
  const all = predictions.map((_, i) => i);
  for (const drawn of [all, all.map((i) => (7 * i + 3) % all.length), all.map((i) => Math.floor(i / 2))]) {
    const expected = plain(drawn.map((i) => predictions[i]!), drawn.map((i) => references[i]!));
    const found = measurement.of(drawn);
    assertEquals(Object.keys(found).sort(), Object.keys(expected).sort());
    for (const [name, value] of Object.entries(found)) assertAlmostEquals(value, expected[name]!, 1e-12, name);
  }
}

Deno.test("measurements: classes and numbers", () => {
  const { labels, predictions } = numerics.classification as Record<"labels" | "predictions", number[]>;
  agrees(measureClasses(predictions, labels, [...new Set<number>(labels)].sort()), [predictions, labels], (p, r) => {
    const { accuracy, matthews, micro, macro, weighted } = classificationReport(
      p,
      r,
      [...new Set<number>(labels)].sort(),
    );
    return { accuracy, matthews, micro_f1: micro.f1, macro_f1: macro.f1, weighted_f1: weighted.f1 };
  });
  const x = [1, 2, 2, 5, 0, 3], y = [2, 1, 3, 9, 4, 4];
  agrees(measureNumbers(x, y), [x, y], (p, r) => ({ ...regressionReport(p, r) }));
  assertThrows(() => measureNumbers([], []), UsageError);
});

Deno.test("measurements: texts", () => {
  const { hypotheses } = numerics.bleu as { hypotheses: string[] };
  const references = numerics.bleu.references.map((text: string) => [text, "another one"]) as string[][];
  agrees(measureTexts(hypotheses, references), [hypotheses, references], (p, r) => {
    const answers = answerScores(p, r), rouges = rouge(p, r.map(([first]) => first!));
    return {
      exact_match: answers.exactMatch,
      f1: answers.f1,
      bleu: bleu(p, r).score,
      ...{ rouge1: rouges.rouge1.f1, rouge2: rouges.rouge2.f1 },
      ...{ rougeL: rouges.rougeL.f1, rougeLsum: rouges.rougeLsum.f1 },
    };
  });
  assertEquals(Object.keys(measureTexts(["a"], [["a"]], ["rouge2", "f1"]).of([0])), ["rouge2", "f1"]);
});

Deno.test("measurements: entities, and classes of which a row may have several", () => {
  const p = [["B-A", "I-A", "O", "B-B"], ["O", "B-A"], ["B-B"], ["O", "O"]];
  const r = [["B-A", "I-A", "O", "B-A"], ["O", "B-A"], ["B-B"], ["B-A", "O"]];
  agrees(measureEntities(p, r), [p, r], (a, b) => {
    const { overall, accuracy } = entityScores(a, b);
    return { ...overall, accuracy };
  });
  // By hand: class 0 has 2 hits of 3 predictions and 2 references, class 1 has 1 hit of 1 and 3, class 2 none of either.
  const { accuracy, micro_f1, macro_f1, weighted_f1 } = measureMemberships(
    [[1, 0, 0], [1, 1, 0], [1, 0, 0]],
    [[1, 1, 0], [1, 1, 0], [0, 1, 0]],
  ).of([0, 1, 2]) as Record<string, number>;
  assertAlmostEquals(accuracy!, 1 / 3, 1e-12);
  assertAlmostEquals(micro_f1!, 2 * 3 / (4 + 5), 1e-12);
  assertAlmostEquals(macro_f1!, (4 / 5 + 2 / 4 + 0) / 3, 1e-12);
  assertAlmostEquals(weighted_f1!, (2 * 4 / 5 + 3 * 2 / 4) / 5, 1e-12);
});

Deno.test("measurements: tokens weigh the same, whatever row they are in", () => {
  const rows = [{ loss: 6, tokens: 3, correct: 1 }, { loss: 1, tokens: 1, correct: 1 }];
  const found = measureTokens(rows).of([0, 1, 1]);
  assertEquals(found, { loss: 8 / 5, perplexity: Math.exp(8 / 5), token_accuracy: 3 / 5 });
});

Deno.test("compare: the interval of a difference is that of pairs", () => {
  // The adapted model is right on 10 more of 200 items, and wrong on none that the base has right: pairs are surer than
  // two models measured on different items. Normal approximation of the mean of differences d, each 0 or 1.
  const truth = new Array<number>(200).fill(1);
  const base = truth.map((_, i) => i < 120 ? 1 : 0), adapted = truth.map((_, i) => i < 130 ? 1 : 0);
  const { accuracy } = compareMeasurements(measureClasses(base, truth, [0, 1]), measureClasses(adapted, truth, [0, 1]));
  const half = 1.96 * Math.sqrt(0.05 * 0.95 / 200);
  assertAlmostEquals(accuracy!.difference!.value, 0.05, 1e-12);
  assertAlmostEquals(accuracy!.difference!.low, 0.05 - half, 0.2 * half);
  assertAlmostEquals(accuracy!.difference!.high, 0.05 + half, 0.2 * half);
  const apart = 1.96 * Math.sqrt((0.6 * 0.4 + 0.65 * 0.35) / 200);
  assert(accuracy!.difference!.high - accuracy!.difference!.low < apart);
  for (const { value, low, high } of [accuracy!.base, accuracy!.adapted!]) {
    assertAlmostEquals(high - low, 2 * 1.96 * Math.sqrt(value * (1 - value) / 200), 0.02);
  }
  assertEquals(Object.keys(compareMeasurements(measureClasses(base, truth)).accuracy!), ["base"]);
  assertThrows(() => compareMeasurements(measureClasses([1], [1]), measureClasses([1, 1], [1, 1])), UsageError);
});

Deno.test("intervals leave out draws in which a metric is undefined", () => {
  assertEquals(intervalOf([3, NaN, 1, 2, NaN], 0), { low: 2, high: 2 });
  assertEquals(intervalOf([NaN]), { low: NaN, high: NaN });
  assertEquals(intervalOf([5]), { low: 5, high: 5 });
  assertEquals(intervalOf([Infinity, Infinity]), { low: Infinity, high: Infinity });
});
