// What every metric checks first.
import { UsageError } from "../core/errors.ts";

/**
 * Refuse two lists that do not belong together.
 *
 * @throws {UsageError} `metrics/length` if one is empty or they differ in length.
 */
export function checkPairs(metric: string, predictions: readonly unknown[], references: readonly unknown[]): void {
  if (predictions.length === references.length && references.length > 0) return;
  throw new UsageError(
    "metrics/length",
    `Cannot compute ${metric} of ${predictions.length} predictions and ${references.length} references: ` +
      "both must have the same number of items, at least one",
  );
}

/** The arithmetic mean; 0 of nothing. */
export function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((a, b) => a + b, 0) / values.length;
}
