// Metrics of predicted numbers.
import { checkPairs, mean } from "./pairs.ts";

/** What {@linkcode regressionReport} returns. */
export interface RegressionReport {
  /** Mean of the squared differences. */
  readonly mse: number;
  /** Mean of the absolute differences. */
  readonly mae: number;
  /** Linear correlation, in [-1, 1]; NaN where one side is constant. */
  readonly pearson: number;
  /** Pearson correlation of the ranks; ties share their mean rank. */
  readonly spearman: number;
}

/**
 * Errors and correlations of predicted numbers.
 *
 * @throws {UsageError} `metrics/length` if the lists are empty or differ in length.
 *
 * @example Usage
 * ```ts
 * import { regressionReport } from "@graft/graft/metrics";
 *
 * console.log(regressionReport([1, 2, 4], [1, 3, 9]).spearman); // 1
 * ```
 */
export function regressionReport(predictions: readonly number[], references: readonly number[]): RegressionReport {
  checkPairs("errors", predictions, references);
  const differences = predictions.map((x, i) => x - references[i]!);
  return {
    mse: mean(differences.map((d) => d * d)),
    mae: mean(differences.map(Math.abs)),
    pearson: pearson(predictions, references),
    spearman: pearson(ranks(predictions), ranks(references)),
  };
}

function pearson(x: readonly number[], y: readonly number[]): number {
  const mx = mean(x), my = mean(y);
  const product = (a: readonly number[], ma: number, b: readonly number[], mb: number) =>
    a.reduce((sum, v, i) => sum + (v - ma) * (b[i]! - mb), 0);
  const r = product(x, mx, y, my) / Math.sqrt(product(x, mx, x, mx) * product(y, my, y, my));
  return Math.max(-1, Math.min(1, r));
}

/** Ranks counted from 1; equal values share the mean of theirs. */
function ranks(values: readonly number[]): number[] {
  const order = values.map((_, i) => i).sort((a, b) => values[a]! - values[b]!);
  const result = values.map(() => 0);
  for (let from = 0; from < order.length;) {
    let to = from;
    while (to < order.length && values[order[to]!] === values[order[from]!]) to++;
    for (const i of order.slice(from, to)) result[i] = (from + to + 1) / 2;
    from = to;
  }
  return result;
}
