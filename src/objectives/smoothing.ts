// Label smoothing where there are no labels to smooth.
import { UsageError } from "../core/errors.ts";

/**
 * Refuse label smoothing.
 *
 * @throws {UsageError} `train/smoothing` unless it is 0.
 */
export function refuseSmoothing(smoothing: number, what: string): void {
  if (smoothing === 0) return;
  throw new UsageError("train/smoothing", `Cannot smooth the labels of ${what}: received ${smoothing}`, {
    hint: "Leave labelSmoothing out.",
  });
}
