// BLEU (Papineni et al., 2002) as sacreBLEU 2 computes it (Post, arXiv:1804.08771): 13a tokens, case kept, n up to 4,
// exponential smoothing; signature nrefs:var|case:mixed|eff:no|tok:13a|smooth:exp.
import { UsageError } from "../core/errors.ts";
import { ngrams, overlap } from "./ngrams.ts";
import { checkPairs } from "./pairs.ts";
import { tokenize13a } from "./tokenize_13a.ts";

/** Longest n-grams that count. */
const ORDER = 4;

/** What {@linkcode bleu} returns. */
export interface BleuScore {
  /** 0 to 100. */
  readonly score: number;
  /** Of 1-grams to 4-grams, in percent, smoothed. */
  readonly precisions: readonly number[];
  /** Factor for hypotheses that are too short, at most 1. */
  readonly brevityPenalty: number;
  /** Tokens of the hypotheses. */
  readonly hypothesisLength: number;
  /** Tokens of the references that are closest in length. */
  readonly referenceLength: number;
}

/** One reference, or several that are equally right. */
export type References = string | readonly string[];

/**
 * BLEU of a corpus: n-grams are counted over all sentences.
 *
 * @throws {UsageError} `metrics/length` if the lists are empty, differ in length, or a sentence has no reference.
 *
 * @example Usage
 * ```ts
 * import { bleu } from "@graft/graft/metrics";
 *
 * const { score } = bleu(["The cat sat on the mat."], ["The cat sat on a mat."]);
 * console.log(score.toFixed(2)); // 48.89
 * ```
 */
export function bleu(hypotheses: readonly string[], references: readonly References[]): BleuScore {
  checkPairs("BLEU", hypotheses, references);
  return bleuOf(hypotheses.map((text, i) => countBleu(text, references[i]!)));
}

/** BLEU of a corpus whose sentences were counted, at least one. */
export function bleuOf(counts: readonly BleuCounts[]): BleuScore {
  return fromCounts(counts.reduce(plus), ORDER);
}

/**
 * BLEU of one sentence, 0 to 100; n-grams longer than the sentence do not count ("effective order").
 *
 * @throws {UsageError} `metrics/length` if there is no reference.
 */
export function sentenceBleu(hypothesis: string, references: References): number {
  const counts = countBleu(hypothesis, references);
  return fromCounts(counts, counts.total.filter((n) => n > 0).length).score;
}

/** What BLEU counts in a sentence; the counts of a corpus are their sums. */
export interface BleuCounts {
  /** n-grams that the reference has too, for n from 1. */
  readonly correct: readonly number[];
  readonly total: readonly number[];
  /** Tokens. */
  readonly hypothesis: number;
  /** Tokens of the closest reference. */
  readonly reference: number;
}

const orders = Array.from({ length: ORDER }, (_, i) => i + 1);

/**
 * The counts of one sentence.
 *
 * @throws {UsageError} `metrics/length` if there is no reference.
 */
export function countBleu(text: string, references: References): BleuCounts {
  const tokens = tokenize13a(text);
  const right = [references].flat().map(tokenize13a);
  if (right.length === 0) {
    throw new UsageError("metrics/length", "Cannot compute BLEU of a sentence without references");
  }
  const distance = (length: number) => Math.abs(length - tokens.length);
  const closest = right.map(({ length }) => length).reduce((a, b) =>
    distance(b) < distance(a) || (distance(b) === distance(a) && b < a) ? b : a
  );
  return {
    correct: orders.map((n) => overlap(ngrams(tokens, n), most(right.map((one) => ngrams(one, n))))),
    total: orders.map((n) => Math.max(0, tokens.length - n + 1)),
    hypothesis: tokens.length,
    reference: closest,
  };
}

/** Of each n-gram, the largest count in any of the references. */
function most(counts: readonly ReadonlyMap<string, number>[]): Map<string, number> {
  const result = new Map<string, number>();
  for (const one of counts) for (const [key, n] of one) result.set(key, Math.max(n, result.get(key) ?? 0));
  return result;
}

function plus(a: BleuCounts, b: BleuCounts): BleuCounts {
  const sum = (x: readonly number[], y: readonly number[]) => x.map((v, i) => v + y[i]!);
  return {
    correct: sum(a.correct, b.correct),
    total: sum(a.total, b.total),
    hypothesis: a.hypothesis + b.hypothesis,
    reference: a.reference + b.reference,
  };
}

function fromCounts({ correct, total, hypothesis, reference }: BleuCounts, order: number): BleuScore {
  const brevityPenalty = hypothesis >= reference ? 1 : hypothesis > 0 ? Math.exp(1 - reference / hypothesis) : 0;
  const lengths = { brevityPenalty, hypothesisLength: hypothesis, referenceLength: reference };
  if (correct.every((n) => n === 0)) return { score: 0, precisions: orders.map(() => 0), ...lengths };
  // An order without a match counts as half a match, the next one without as a quarter, and so on.
  let smooth = 1;
  const precisions = orders.map((_, i) => {
    if (total[i] === 0) return 0;
    if (correct[i]! > 0) return 100 * correct[i]! / total[i]!;
    smooth *= 2;
    return 100 / (smooth * total[i]!);
  });
  const used = precisions.slice(0, order);
  const score = used.some((p) => p === 0)
    ? 0
    : brevityPenalty * Math.exp(used.reduce((sum, p) => sum + Math.log(p), 0) / used.length);
  return { score, precisions, ...lengths };
}
