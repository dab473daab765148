// Metrics of two models on the same items, with bootstrap intervals; the difference is drawn in pairs (Efron, 1979;
// Koehn, 2004): in every draw both models are measured on the same items.
import { type BootstrapOptions, drawItems, type Interval, intervalOf } from "./bootstrap.ts";
import type { Measurement } from "./measurements.ts";
import { checkPairs } from "./pairs.ts";

/** A figure and the interval around it. */
export interface Estimate extends Interval {
  readonly value: number;
}

/** One metric of one or two models. */
export interface Comparison {
  readonly base: Estimate;
  readonly adapted?: Estimate;
  /** Of the adapted model minus that of the base. */
  readonly difference?: Estimate;
}

/**
 * All metrics by name, each with the interval in which it falls when the items are drawn again.
 *
 * @throws {UsageError} `metrics/length` if the measurements have different numbers of items.
 *
 * @example Usage
 * ```ts
 * import { compareMeasurements, measureClasses } from "@graft/graft/metrics";
 *
 * const truth = ["a", "a", "b", "b"];
 * const base = measureClasses(["a", "b", "b", "a"], truth), adapted = measureClasses(["a", "a", "b", "b"], truth);
 * console.log(compareMeasurements(base, adapted).accuracy?.difference?.value); // 0.5
 * ```
 */
export function compareMeasurements(
  base: Measurement,
  adapted?: Measurement,
  { draws = 1000, confidence = 0.95, seed = 42 }: BootstrapOptions = {},
): Record<string, Comparison> {
  const { items } = base;
  if (adapted) checkPairs("a difference", new Array(items), new Array(adapted.items));
  const all = Array.from({ length: items }, (_, i) => i);
  const models = [base, ...adapted ? [adapted] : []];
  const whole = models.map((model) => model.of(all));
  const drawn = Array.from({ length: draws }, (_, draw) => {
    const chosen = drawItems(items, { seed, draw });
    return models.map((model) => model.of(chosen));
  });
  const estimate = (figure: (found: typeof whole) => number): Estimate => ({
    value: figure(whole),
    ...intervalOf(drawn.map(figure), confidence),
  });
  return Object.fromEntries(
    Object.keys(whole[0]!).map((name) => [name, {
      base: estimate(([b]) => b![name]!),
      ...adapted
        ? { adapted: estimate(([, a]) => a![name]!), difference: estimate(([b, a]) => a![name]! - b![name]!) }
        : {},
    }]),
  );
}
