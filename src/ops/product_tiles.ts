// Which tile a product gets, by class and shape.
import type { SoftwareTile } from "../../shaders/matmul_software.ts";

/** Narrow tiles waste fewer columns, low ones fewer rows; the large one reads the least. */
export function softwareTile(M: number, N: number, lanes: number): SoftwareTile {
  const rows = M > 16 ? 32 : M > 8 ? 16 : 8;
  if (N > 4 * lanes) return { lanes, rows, width: 4, groups: 2 };
  if (N > 2 * lanes) return { lanes, rows, width: 4, groups: 1 };
  return { lanes, rows, width: 1, groups: N > lanes ? 2 : 1 };
}
