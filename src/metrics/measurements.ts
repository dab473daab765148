// Metrics that can be computed of any choice of items, so that a bootstrap draws them again without counting anew.
import { answerScores } from "./answers.ts";
import { bleuOf, countBleu } from "./bleu.ts";
import { confusionMatrix, type Label, reportOf, scores } from "./classification.ts";
import { entities } from "./entities.ts";
import { checkPairs, mean } from "./pairs.ts";
import type { TokenRow } from "./perplexity.ts";
import { regressionReport } from "./regression.ts";
import { rouge } from "./rouge.ts";

/** Metrics of a list of items. */
export interface Measurement {
  /** Number of items, at least one. */
  readonly items: number;
  /** The metrics, by name, of the items with these numbers; a number may come several times. */
  readonly of: (drawn: readonly number[]) => Readonly<Record<string, number>>;
}

const total = (values: readonly number[], drawn: readonly number[]) => drawn.reduce((sum, i) => sum + values[i]!, 0);

/** `loss`, `perplexity` and `token_accuracy`; every token weighs the same. */
export function measureTokens(rows: readonly TokenRow[]): Measurement {
  checkPairs("token metrics", rows, rows);
  return {
    items: rows.length,
    of(drawn) {
      let sum = 0, tokens = 0, correct = 0;
      for (const i of drawn) {
        const row = rows[i]!;
        sum += row.loss;
        tokens += row.tokens;
        correct += row.correct;
      }
      const loss = sum / tokens;
      return { loss, perplexity: Math.exp(loss), token_accuracy: correct / tokens };
    },
  };
}

/** Metrics of written texts, by their names on the command line. */
export const TEXT_METRICS = ["exact_match", "f1", "bleu", "rouge1", "rouge2", "rougeL", "rougeLsum"] as const;

/** One of {@linkcode TEXT_METRICS}. */
export type TextMetric = typeof TEXT_METRICS[number];

/**
 * Metrics of texts: `exact_match` and `f1` as SQuAD counts answers, the best over all references; `bleu` of the corpus, 0
 * to 100; F1 of ROUGE against the first reference.
 *
 * @throws {UsageError} `metrics/length` if the lists are empty, differ in length, or a text has no reference for BLEU.
 */
export function measureTexts(
  texts: readonly string[],
  references: readonly (readonly string[])[],
  names: readonly TextMetric[] = TEXT_METRICS,
): Measurement {
  checkPairs("text metrics", texts, references);
  const wanted = (name: TextMetric) => names.includes(name);
  const answers = texts.map((text, i) => answerScores([text], [references[i]!]));
  const withRouge = names.some((name) => name.startsWith("rouge"));
  const rouges = texts.map((text, i) => withRouge ? rouge([text], [references[i]![0] ?? ""]) : undefined);
  const counts = wanted("bleu") ? texts.map((text, i) => countBleu(text, references[i]!)) : [];
  const values: Partial<Record<TextMetric, number[]>> = {
    exact_match: answers.map(({ exactMatch }) => exactMatch),
    f1: answers.map(({ f1 }) => f1),
    rouge1: rouges.map((r) => r?.rouge1.f1 ?? 0),
    rouge2: rouges.map((r) => r?.rouge2.f1 ?? 0),
    rougeL: rouges.map((r) => r?.rougeL.f1 ?? 0),
    rougeLsum: rouges.map((r) => r?.rougeLsum.f1 ?? 0),
  };
  return {
    items: texts.length,
    of: (drawn) =>
      Object.fromEntries(names.map((name) => [
        name,
        name === "bleu" ? bleuOf(drawn.map((i) => counts[i]!)).score : total(values[name]!, drawn) / drawn.length,
      ])),
  };
}

/**
 * `accuracy`, `micro_f1`, `macro_f1`, `weighted_f1` and `matthews` of classes.
 *
 * @throws {UsageError} `metrics/length` if the lists are empty or differ in length.
 * @throws {RangeError} if a class is not among `labels`.
 */
export function measureClasses(
  predictions: readonly Label[],
  references: readonly Label[],
  labels?: readonly Label[],
): Measurement {
  const all = confusionMatrix(predictions, references, labels).labels;
  const place = new Map(all.map((label, i) => [label, i]));
  const cells = predictions.map((label, i) => [place.get(references[i]!)!, place.get(label)!] as const);
  return {
    items: predictions.length,
    of(drawn) {
      const counts = all.map(() => all.map(() => 0));
      for (const i of drawn) counts[cells[i]![0]]![cells[i]![1]]!++;
      const { accuracy, matthews, micro, macro, weighted } = reportOf({ labels: all, counts });
      return { accuracy, micro_f1: micro.f1, macro_f1: macro.f1, weighted_f1: weighted.f1, matthews };
    },
  };
}

/**
 * Several classes an item, each 0 or 1: `accuracy` (all classes of an item are right), `micro_f1`, `macro_f1` and
 * `weighted_f1` over the classes, as scikit-learn counts them.
 *
 * @throws {UsageError} `metrics/length` if the lists are empty or differ in length.
 */
export function measureMemberships(
  predictions: readonly (readonly number[])[],
  references: readonly (readonly number[])[],
): Measurement {
  checkPairs("label metrics", predictions, references);
  const L = references[0]!.length;
  const exact = predictions.map((row, i) => row.every((x, l) => x === references[i]![l]) ? 1 : 0);
  return {
    items: predictions.length,
    of(drawn) {
      const sum = (count: (p: number, r: number) => number, l: number) =>
        drawn.reduce((n, i) => n + count(predictions[i]![l]!, references[i]![l]!), 0);
      const classes = Array.from({ length: L }, (_, l) => ({
        hits: sum((p, r) => p * r, l),
        predicted: sum((p) => p, l),
        actual: sum((_, r) => r, l),
      }));
      const over = (key: keyof typeof classes[number]) => classes.reduce((n, c) => n + c[key], 0);
      const f1s = classes.map(({ hits, predicted, actual }) => scores(hits, predicted, actual).f1);
      const support = over("actual");
      return {
        accuracy: total(exact, drawn) / drawn.length,
        micro_f1: scores(over("hits"), over("predicted"), support).f1,
        macro_f1: mean(f1s),
        weighted_f1: support > 0 ? f1s.reduce((n, f1, l) => n + f1 * classes[l]!.actual, 0) / support : 0,
      };
    },
  };
}

/**
 * `mse`, `mae`, `pearson` and `spearman` of numbers.
 *
 * @throws {UsageError} `metrics/length` if the lists are empty or differ in length.
 */
export function measureNumbers(predictions: readonly number[], references: readonly number[]): Measurement {
  checkPairs("errors", predictions, references);
  return {
    items: predictions.length,
    of: (drawn) => ({ ...regressionReport(drawn.map((i) => predictions[i]!), drawn.map((i) => references[i]!)) }),
  };
}

/**
 * `precision`, `recall` and `f1` of entities in BIO tags, and the `accuracy` of the tags; an item is a sentence.
 *
 * @throws {UsageError} `metrics/length` if the lists are empty or differ in length; a tag that is not BIO.
 */
export function measureEntities(
  predictions: readonly (readonly string[])[],
  references: readonly (readonly string[])[],
): Measurement {
  checkPairs("entity scores", predictions, references);
  const counts = predictions.map((tags, i) => {
    checkPairs(`entity scores of sequence ${i}`, tags, references[i]!);
    const keys = (row: readonly string[]) => entities(row).map(({ type, start, end }) => `${start} ${end} ${type}`);
    const predicted = keys(tags), actual = new Set(keys(references[i]!));
    return {
      hits: predicted.filter((key) => actual.has(key)).length,
      predicted: predicted.length,
      actual: actual.size,
      right: tags.filter((tag, t) => tag === references[i]![t]).length,
      tags: tags.length,
    };
  });
  return {
    items: predictions.length,
    of(drawn) {
      const sum = (key: keyof typeof counts[number]) => drawn.reduce((n, i) => n + counts[i]![key], 0);
      return { ...scores(sum("hits"), sum("predicted"), sum("actual")), accuracy: sum("right") / sum("tags") };
    },
  };
}
