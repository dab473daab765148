// Errors against a reference, in float64.
import type { Batch } from "../data/batch.ts";
import type { AdapterTensor } from "../io/adapter_file.ts";

/** Rows b·T + t of the positions that are not padding. */
export function shownPositions({ input_ids, attention_mask }: Batch, T: number): number[] {
  const rows: number[] = [];
  input_ids.forEach((row, b) =>
    row.forEach((_, t) => (attention_mask?.[b]?.[t] ?? 1) === 1 ? rows.push(b * T + t) : undefined)
  );
  return rows;
}

/** Largest |x − y| of `width` elements from each of `starts`; NaN where one is NaN or the sizes differ. */
export function largestDifference(x: Float32Array, y: Float32Array, starts: readonly number[], width: number): number {
  if (x.length !== y.length) return NaN;
  let largest = 0;
  for (const start of starts) {
    for (let i = start; i < start + width; i++) {
      const difference = Math.abs(x[i]! - y[i]!);
      if (!(difference <= largest)) largest = difference;
      if (Number.isNaN(largest)) return NaN;
    }
  }
  return largest;
}

/**
 * ‖x − y‖ / ‖y‖. Where y is zero, or what rounding in float64 leaves of one among numbers of the norm `total`, the
 * difference is compared with that norm.
 */
export function relativeError(x: Float32Array, y: Float32Array, total = 0): number {
  let difference = 0;
  for (let i = 0; i < y.length; i++) difference += (x[i]! - y[i]!) ** 2;
  const own = norm([y]);
  return Math.sqrt(difference) / (own > Number.EPSILON * total ? own : total || 1);
}

/** ‖y‖ of all elements. */
export function norm(tensors: Iterable<Float32Array>): number {
  let sum = 0;
  for (const tensor of tensors) for (const y of tensor) sum += y ** 2;
  return Math.sqrt(sum);
}

/** ‖θ − θ*‖ / ‖θ* − θ₀‖ over all tensors: the distance to the reference as a share of the way that it went. */
export function adaptersDistance(
  found: ReadonlyMap<string, Float32Array>,
  final: ReadonlyMap<string, AdapterTensor>,
  init: ReadonlyMap<string, AdapterTensor>,
): number {
  let distance = 0, way = 0;
  for (const [name, { data }] of final) {
    const [x, start] = [found.get(name), init.get(name)?.data];
    if (x?.length !== data.length || start?.length !== data.length) return NaN;
    for (let i = 0; i < data.length; i++) {
      distance += (x[i]! - data[i]!) ** 2;
      way += (data[i]! - start[i]!) ** 2;
    }
  }
  return Math.sqrt(distance) / Math.sqrt(way);
}
