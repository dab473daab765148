// Operands above one binding are cut by rows: each part is one dispatch over aligned ranges.
import { bytes } from "../core/dims.ts";
import type { Range, Value } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";

/** Rows [lo, hi). */
export interface Part {
  readonly lo: number;
  readonly hi: number;
}

/** Cuts are made at multiples of this many rows, so that parts start aligned whatever the width of a row. */
const ROWS = 64;

/**
 * Cut `rows` so that no part of an operand exceeds one binding.
 *
 * @param rows Rows that all operands share.
 * @param width Four-byte words a row, of the widest operand.
 * @throws {RangeError} if 64 rows are too large already.
 */
export function parts(rows: number, width: number, target: Target): Part[] {
  const most = Math.floor(target.maxBinding / (4 * width));
  if (rows <= most) return [{ lo: 0, hi: rows }];
  const step = Math.floor(most / ROWS) * ROWS;
  if (step < 1) {
    throw new RangeError(
      `Cannot cut rows of ${width} words: ${ROWS} of them exceed one binding of ${target.maxBinding} bytes`,
    );
  }
  return Array.from(
    { length: Math.ceil(rows / step) },
    (_, i) => ({ lo: i * step, hi: Math.min(rows, (i + 1) * step) }),
  );
}

/** The words of the rows that a part covers; the first dimension of `value` (or all of them, folded) is `rows`. */
export function rowRange(value: Value, rows: number, { lo, hi }: Part): Range {
  const width = bytes(value) / 4 / rows;
  return { value, offset: lo * width, length: (hi - lo) * width };
}

/** What to bind, and the words from there to the first one that is meant. */
export interface Bound {
  readonly binding: Value | Range;
  readonly offset: number;
}

/** Words [lo, hi) of a value: bound whole where that fits, else an aligned range around them. */
export function boundWords(value: Value, [lo, hi]: readonly [number, number], target: Target): Bound {
  if (bytes(value) <= target.maxBinding) return { binding: value, offset: lo };
  const words = target.alignment / 4;
  const first = Math.floor(lo / words) * words;
  return { binding: { value, offset: first, length: hi - first }, offset: lo - first };
}
