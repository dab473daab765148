import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../../src/core/errors.ts";
import {
  answerScores,
  bleu,
  bootstrap,
  classificationReport,
  confusionMatrix,
  entities,
  entityScores,
  normalizeAnswer,
  perplexity,
  regressionReport,
  rouge,
  sentenceBleu,
  tokenize13a,
} from "../../src/metrics/mod.ts";

const numerics = JSON.parse(
  Deno.readTextFileSync(new URL("../fixtures/numerics/numerics.json", import.meta.url)),
);
/** Both sides compute in float64: what is left is the order of sums. */
const EXACT = 1e-12;

/** Largest difference from the references so far, by metric. */
const largest = new Map<string, number>();

/** Compare with sacreBLEU, scikit-learn or rouge_score, and note how far off it is. */
function assertReference(metric: string, actual: number, expected: number, tolerance = EXACT, what = metric): void {
  largest.set(metric, Math.max(largest.get(metric) ?? 0, Math.abs(actual - expected)));
  assertAlmostEquals(actual, expected, tolerance, what);
}

Deno.test("metrics: classification equals scikit-learn", () => {
  const { labels, predictions, ...expected } = numerics.classification;
  const { accuracy, matthews, micro, macro, weighted } = classificationReport(predictions, labels);
  const received = {
    f1_macro: macro.f1,
    f1_micro: micro.f1,
    f1_weighted: weighted.f1,
    precision_macro: macro.precision,
    recall_macro: macro.recall,
    matthews,
    accuracy,
  };
  assertEquals(Object.keys(received).sort(), Object.keys(expected).sort());
  for (const [name, value] of Object.entries(received)) assertReference(name, value, expected[name], EXACT, name);
});

Deno.test("metrics: a class that never occurs counts zero, labels keep their order", () => {
  const { classes, confusion, macro } = classificationReport(["b", "b"], ["a", "b"], ["b", "a", "c"]);
  assertEquals(confusion.counts, [[1, 0, 0], [1, 0, 0], [0, 0, 0]]);
  assertEquals(classes.map(({ support }) => support), [1, 1, 0]);
  assertAlmostEquals(macro.f1, (2 / 3) / 3, EXACT);
  assertEquals(confusionMatrix([10, 9], [9, 10]).labels, [9, 10]);
  assertThrows(() => confusionMatrix(["x"], ["a"], ["a"]), RangeError, '"x"');
});

Deno.test("metrics: lists of different length, or empty ones, are refused", () => {
  for (const metric of [bleu, rouge, regressionReport, classificationReport] as ((a: [], b: []) => unknown)[]) {
    assertThrows(() => metric([], []), UsageError, "0 predictions and 0 references");
  }
  assertThrows(() => bleu(["a"], []), UsageError, "1 predictions and 0 references");
});

Deno.test("metrics: BLEU equals sacreBLEU, by corpus and by sentence", () => {
  const { hypotheses, references, score, precisions, bp, sys_len, ref_len, sentence } = numerics.bleu;
  const received = bleu(hypotheses, references);
  assertReference("bleu", received.score, score, 1e-10);
  received.precisions.forEach((p, i) => assertReference("bleu precisions", p, precisions[i], 1e-10));
  assertReference("bleu brevity penalty", received.brevityPenalty, bp);
  assertEquals([received.hypothesisLength, received.referenceLength], [sys_len, ref_len]);
  hypotheses.forEach((text: string, i: number) =>
    assertReference("sentence bleu", sentenceBleu(text, references[i]), sentence[i], 1e-10)
  );
});

Deno.test("metrics: BLEU takes the closest of several references, and the best count of each n-gram", () => {
  // 5 tokens against references of 4 and 7: the shorter is closer; "a" counts twice because the second has it twice.
  const { referenceLength, precisions } = bleu(["a b a c d"], [["a b x y", "a a z z z z z"]]);
  assertEquals(referenceLength, 4);
  assertAlmostEquals(precisions[0]!, 100 * 3 / 5, EXACT);
});

Deno.test("metrics: 13a tokens", () => {
  assertEquals(tokenize13a('He said: "1,000.5 &amp; more-or-less", in 1990-91.'), [
    ...["He", "said", ":", '"', "1,000.5", "&", "more-or-less", '"', ",", "in", "1990", "-", "91", "."],
  ]);
});

Deno.test("metrics: ROUGE equals the reference on its tokens", () => {
  const words = (text: string) => text.split(" ").filter((word) => word !== "");
  for (const { hypothesis, reference, ...expected } of numerics.rouge) {
    const received = rouge([hypothesis], [reference], { tokenize: words });
    for (const [name, { precision, recall, f }] of Object.entries(expected) as [keyof typeof received, never][]) {
      assertReference(name, received[name].precision, precision);
      assertReference(name, received[name].recall, recall);
      assertReference(name, received[name].f1, f);
    }
  }
});

Deno.test("metrics: ROUGE by hand: tokens, lines, and words that count once", () => {
  const { rouge1, rougeL, rougeLsum } = rouge(["B c d\na b"], ["a b!\nc, d"]);
  assertAlmostEquals(rouge1.f1, 2 * (4 / 5) / (4 / 5 + 1), EXACT);
  assertEquals(rougeL.recall, 3 / 4); // "b c d"
  assertEquals(rougeLsum.recall, 1); // both lines are found
  assertEquals(rougeLsum.precision, 4 / 5);
  // "a" is in both lines of the reference, and once in the prediction: it counts once.
  assertEquals(rouge(["a x"], ["a b\na c"]).rougeLsum.recall, 1 / 4);
});

Deno.test("metrics: answers as SQuAD counts them", () => {
  assertEquals(normalizeAnswer("  The  U.S. of\tA theatre, an à "), "us of theatre à");
  const { exactMatch, f1 } = answerScores(["the red fox", "nothing", ""], [["A Fox", "dog"], ["x"], []]);
  assertAlmostEquals(exactMatch, 1 / 3, EXACT);
  assertAlmostEquals(f1, (2 * 1 / (2 + 1) + 0 + 1) / 3, EXACT);
});

Deno.test("metrics: entities begin with B, or with an I that continues nothing", () => {
  assertEquals(entities(["I-A", "I-A", "I-B", "O", "B-B", "B-B", "I-B"]), [
    { type: "A", start: 0, end: 2 },
    { type: "B", start: 2, end: 3 },
    { type: "B", start: 4, end: 5 },
    { type: "B", start: 5, end: 7 },
  ]);
  const { overall, types, accuracy } = entityScores(
    [["B-A", "I-A", "O", "B-B"], ["O", "B-A"]],
    [["B-A", "I-A", "O", "B-A"], ["O", "B-A"]],
  );
  assertAlmostEquals(overall.precision, 2 / 3, EXACT);
  assertAlmostEquals(overall.recall, 2 / 3, EXACT);
  assertEquals(types.get("B"), { precision: 0, recall: 0, f1: 0, support: 0 });
  assertAlmostEquals(accuracy, 5 / 6, EXACT);
  assertThrows(() => entities(["PER"]), UsageError, 'tag 0 as BIO: received "PER"');
});

Deno.test("metrics: correlations by hand, with ties", () => {
  const { mse, mae, pearson, spearman } = regressionReport([1, 2, 2, 5], [2, 1, 3, 9]);
  assertAlmostEquals(mse, 19 / 4, EXACT);
  assertAlmostEquals(mae, 7 / 4, EXACT);
  // Deviations -1.5 -.5 -.5 2.5 and -1.75 -2.75 -.75 5.25: 17.5 / sqrt(9 · 38.75).
  assertAlmostEquals(pearson, 17.5 / Math.sqrt(9 * 38.75), EXACT);
  // Ranks 1 2.5 2.5 4 and 2 1 3 4: 3 / sqrt(4.5 · 5).
  assertAlmostEquals(spearman, 3 / Math.sqrt(4.5 * 5), EXACT);
  assert(Number.isNaN(regressionReport([1, 1], [1, 2]).pearson));
});

Deno.test("metrics: the bootstrap covers what the normal approximation covers, and repeats", () => {
  const right = Array.from({ length: 400 }, (_, i) => i % 4 === 0 ? 0 : 1);
  const accuracy = (drawn: readonly number[]) => drawn.reduce((sum, i) => sum + right[i]!, 0) / drawn.length;
  const { low, high } = bootstrap(400, accuracy);
  const half = 1.96 * Math.sqrt(0.75 * 0.25 / 400);
  // 1000 draws place an end to within about 6 % of the half width (one standard error).
  assertAlmostEquals(low, 0.75 - half, 0.2 * half);
  assertAlmostEquals(high, 0.75 + half, 0.2 * half);
  assertEquals(bootstrap(400, accuracy), { low, high });
  assertThrows(() => bootstrap(0, accuracy), UsageError);
});

Deno.test("metrics: perplexity weighs every token the same", () => {
  const { loss, perplexity: e } = perplexity([{ loss: 1, tokens: 3 }, { loss: 2, tokens: 1 }]);
  assertEquals(loss, 1.25);
  assertEquals(e, Math.exp(1.25));
  assertThrows(() => perplexity([]), UsageError, "without tokens");
});

Deno.test("metrics: largest differences from the references", () => {
  for (const [name, difference] of largest) console.log(`metric ${name.padEnd(20)} ${difference.toExponential(1)}`);
  assert(Math.max(...largest.values()) < 1e-6);
});
