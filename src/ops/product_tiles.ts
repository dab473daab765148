// Which tile a product gets, by class and shape. Large tiles read the least but take seconds to compile on a software
// driver (the time grows with the stores of a lane), so small products get small ones.
import type { SoftwareTile } from "../../shaders/matmul_software.ts";
import type { WorkgroupTile } from "../../shaders/matmul_tiled.ts";
import type { TargetClass } from "../graph/target.ts";

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
const LARGE = 2 ** 27, MEDIUM = 2 ** 18;

/** Stores of a lane for each of the three sizes: 64 take 1.3 s to compile on one core and run 10 % faster than 32. */
const STORES = { large: 64, medium: 32, small: 8 };

/** The tile of one subgroup of `lanes` lanes. Wide lanes grow by rows first, narrow ones by columns. */
export function softwareTile({ M, N, work, wide }: TileShape, lanes: number): SoftwareTile {
  const stores = work >= LARGE ? STORES.large : work >= MEDIUM ? STORES.medium : STORES.small;
  const fit = (most: number) => [32, 16, 8].find((rows) => rows <= most && rows < 2 * M) ?? 8;
  if (wide && N > 2 * lanes) {
    const rows = fit(stores);
    return { lanes, rows, width: 4, groups: N > 4 * lanes && 2 * rows <= stores ? 2 : 1 };
  }
  const groups = stores === STORES.small || N <= lanes ? 1 : N <= 2 * lanes ? 2 : 4;
  return { lanes, rows: fit(stores / groups), width: 1, groups };
}

/** Workgroups that fill a large GPU. */
export const ENOUGH_WORKGROUPS = 200;

/** The tile of one workgroup: the largest that still fills the GPU, and long ones for narrow and for low c. */
export function workgroupTile({ M, N, batches }: WorkgroupShape, kind: TargetClass): WorkgroupTile {
  if (N <= 16) return { BM: 128, BN: 16, BK: 16, TM: 4, TN: 4 };
  if (M <= 16) return { BM: 16, BN: 128, BK: 16, TM: 4, TN: 4 };
  if (kind !== "gpu" || M <= 64 || N <= 64) return { BM: 64, BN: 64, BK: 16, TM: 4, TN: 4 };
  const large = Math.ceil(M / 128) * Math.ceil(N / 128) * batches >= ENOUGH_WORKGROUPS;
  return large ? { BM: 128, BN: 128, BK: 16, TM: 8, TN: 8 } : { BM: 64, BN: 64, BK: 16, TM: 8, TN: 8 };
}

/** What a workgroup's tile is chosen by. */
export interface WorkgroupShape {
  readonly M: number;
  readonly N: number;
  readonly batches: number;
}
