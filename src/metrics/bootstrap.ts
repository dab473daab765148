// How sure a figure is: the bootstrap (Efron, 1979).
import { UsageError } from "../core/errors.ts";
import { random, randomKey } from "../core/random.ts";

/** An interval around a figure. */
export interface Interval {
  readonly low: number;
  readonly high: number;
}

/** Options of {@linkcode bootstrap}. */
export interface BootstrapOptions {
  /** Sets that are drawn; 1000 by default. */
  readonly draws?: number;
  /** Share of the draws inside the interval; 0.95 by default. */
  readonly confidence?: number;
  /** 42 by default: the same seed gives the same interval. */
  readonly seed?: number;
}

/**
 * The interval in which a metric falls when the items are drawn again, with replacement ("percentile bootstrap").
 *
 * @param items Number of items.
 * @param metric The metric of the items with these numbers; a number may come several times.
 * @throws {UsageError} `metrics/length` if there are no items.
 *
 * @example Usage
 * ```ts
 * import { bootstrap } from "@graft/graft/metrics";
 *
 * const right = [1, 1, 0, 1, 1, 0, 1, 1, 1, 1];
 * const { low, high } = bootstrap(10, (drawn) => drawn.reduce((sum, i) => sum + right[i]!, 0) / 10);
 * console.log(low < 0.8 && 0.8 < high); // true
 * ```
 */
export function bootstrap(
  items: number,
  metric: (drawn: readonly number[]) => number,
  { draws = 1000, confidence = 0.95, seed = 42 }: BootstrapOptions = {},
): Interval {
  return intervalOf(Array.from({ length: draws }, (_, draw) => metric(drawItems(items, { seed, draw }))), confidence);
}

/**
 * Numbers of items, drawn with replacement, as many as there are.
 *
 * @throws {UsageError} `metrics/length` if there are none.
 */
export function drawItems(items: number, { seed, draw }: { readonly seed: number; readonly draw: number }): number[] {
  if (items < 1) throw new UsageError("metrics/length", "Cannot draw from no items");
  const key = randomKey(seed, "bootstrap", draw);
  return Array.from({ length: items }, (_, i) => random(key, i) % items);
}

/** The middle of values of draws; draws in which the metric is undefined do not count. NaN where all are. */
export function intervalOf(drawn: readonly number[], confidence = 0.95): Interval {
  const values = drawn.filter((x) => !Number.isNaN(x)).sort((a, b) => a - b);
  const at = (share: number) => {
    const place = share * (values.length - 1), below = Math.floor(place);
    const low = values[below] ?? NaN, next = values[below + 1] ?? low;
    return low === next ? low : low + (place - below) * (next - low);
  };
  return { low: at((1 - confidence) / 2), high: at((1 + confidence) / 2) };
}
