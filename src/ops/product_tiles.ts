// Which tile a product gets, by class and shape. Large tiles read the least but take seconds to compile on a software
// driver (the time grows with the stores of a lane), so small products get small ones.
import type { SoftwareTile } from "../../shaders/matmul_software.ts";

/** What a tile is chosen by. */
export interface TileShape {
  readonly M: number;
  readonly N: number;
  /** Multiply-adds, all batches together. */
  readonly work: number;
  /** c can be written as vectors of four. */
  readonly wide: boolean;
}

/** Multiply-adds from which a product gets the large tile, and the medium one. */
const LARGE = 2 ** 24, MEDIUM = 2 ** 18;

/** Stores of a lane for each of the three sizes. */
const STORES = { large: 64, medium: 32, small: 8 };

/** The tile of one subgroup of `lanes` lanes. */
export function softwareTile({ M, N, work, wide }: TileShape, lanes: number): SoftwareTile {
  const stores = work >= LARGE ? STORES.large : work >= MEDIUM ? STORES.medium : STORES.small;
  const width = wide && N > 2 * lanes ? 4 : 1;
  const most = width === 4 ? 2 : 4;
  let groups = 1;
  while (groups < most && N > lanes * width * groups && stores > STORES.small) groups *= 2;
  const rows = [32, 16, 8].find((r) => r * groups <= stores && r < 2 * M) ?? 8;
  return { lanes, rows, width, groups };
}
