// Which tile a product gets, by class and shape. Large tiles read the least but take seconds to compile on a software
// driver (the time grows with the stores of a lane), so small products get small ones.
import type { SoftwareTile } from "../../shaders/matmul_software.ts";
import { tileBytes, tileLanes, type WorkgroupTile } from "../../shaders/matmul_tiled.ts";
import type { Target } from "../graph/target.ts";
import type { ProductCall } from "./product.ts";
import { chosenTile, SOFTWARE_TILES, WORKGROUP_TILES } from "./product_candidates.ts";

/** What a tile is chosen by. */
export interface TileShape {
  readonly M: number;
  readonly N: number;
  /** Multiply-adds, all batches together. */
  readonly work: number;
  /** c can be written as vectors of four. */
  readonly wide: boolean;
  /** What a measured choice would be kept under; without, the default holds. */
  readonly key?: string | undefined;
}

/** Multiply-adds from which a product gets the large tile, and the medium one. */
const LARGE = 2 ** 24, MEDIUM = 2 ** 18;

/** Stores of a lane for each of the three sizes: 64 take 0.3 s to compile on one core, 32 half of it for 10 % less speed. */
const STORES = { large: 64, medium: 32, small: 8 };

/** The tile of one subgroup of `lanes` lanes. Wide lanes grow by rows first, narrow ones by columns. */
export function softwareTile({ M, N, work, wide, key }: TileShape, target: Target): SoftwareTile {
  const { subgroup: lanes } = target;
  const chosen = chosenTile(SOFTWARE_TILES, key, target);
  if (chosen && wide && N > 2 * lanes && chosen.rows < 2 * M) return { lanes, ...chosen };
  // Odd rows are read and written word by word: wide lanes still load half as often, but four stores are one here.
  const stores = work >= LARGE && wide ? STORES.large : work >= MEDIUM ? STORES.medium : STORES.small;
  const fit = (most: number) => [32, 16, 8].find((rows) => rows <= most && rows < 2 * M) ?? 8;
  if (N > 2 * lanes && (wide || stores > STORES.small)) {
    const rows = fit(stores);
    return { lanes, rows, width: 4, groups: N > 4 * lanes && 2 * rows <= stores ? 2 : 1 };
  }
  const groups = stores === STORES.small || N <= lanes ? 1 : N <= 2 * lanes ? 2 : 4;
  return { lanes, rows: fit(stores / groups), width: 1, groups };
}

/** Workgroups that fill a large GPU. */
export const ENOUGH_WORKGROUPS = 200;

/** Tiles of the class gpu for plain products, from the one that reads the least to the one with most workgroups. */
const PLAIN: readonly WorkgroupTile[] = ["128x128x32 8x8", "128x128x16 8x8", "128x64x16 8x8", "64x64x16 8x8"]
  .map((name) => WORKGROUP_TILES[name]!);

/** Below this many workgroups of 64 x 64 a product is bound by its length: smaller tiles shorten it. */
const FEW_WORKGROUPS = 24;

/** What a workgroup's tile is chosen by. */
export interface WorkgroupShape {
  readonly M: number;
  readonly N: number;
  readonly batches: number;
  /** Operands that are stored along K. */
  readonly turned: number;
  /** What a measured choice would be kept under; without, the default holds. */
  readonly key?: string | undefined;
}

/** How many tiles of a product are written turned over; a low product's may turn the others too. */
export function turnedOperands({ ta = false, tb = false, low }: Pick<ProductCall, "ta" | "tb" | "low">): number {
  return (!ta || low ? 1 : 0) + (tb || low ? 1 : 0);
}

/** The tile of one workgroup: the largest that still fills the GPU, and long ones for narrow and for low c. */
export function workgroupTile({ M, N, batches, turned, key }: WorkgroupShape, target: Target): WorkgroupTile {
  const { kind, workgroupBytes, invocations, precision } = target;
  if (N <= 16) return { BM: 128, BN: 16, BK: 16, TM: 4, TN: 4 };
  if (M <= 16) return { BM: 16, BN: 128, BK: 16, TM: 4, TN: 4 };
  if (kind === "gpu" && N <= 32) return { BM: 128, BN: 32, BK: 16, TM: 8, TN: 4 };
  if (kind === "gpu" && M <= 32) return { BM: 32, BN: 128, BK: 16, TM: 4, TN: 8 };
  const count = ({ BM, BN }: WorkgroupTile) => Math.ceil(M / BM) * Math.ceil(N / BN) * batches;
  const fits = (tile: WorkgroupTile) =>
    tileBytes(tile, turned, precision === "f16") <= workgroupBytes && tileLanes(tile) <= invocations;
  const chosen = chosenTile(WORKGROUP_TILES, key, target);
  if (chosen && fits(chosen)) return chosen;
  const tile = PLAIN.find((t) => count(t) >= ENOUGH_WORKGROUPS && t.BM < 2 * M && t.BN < 2 * N && fits(t)) ?? PLAIN[3]!;
  if (kind !== "gpu") return WORKGROUP_TILES["64x64x16 4x4"]!;
  return count(tile) < FEW_WORKGROUPS ? WORKGROUP_TILES["32x32x16 4x4"]! : tile;
}

/** Which of the kernels for skinny products fits, if one does. */
export type Skinny = "down" | "gradient";

/** What a skinny kernel is chosen by. */
export interface SkinnyShape {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly ta?: boolean;
  readonly tb?: boolean;
}

/** Ranks up to which a narrow side of c stays in a lane's registers. */
const NARROW = 32;

/** The skinny kernel for a product on GPUs: c as narrow as a rank, sizes that are read as vectors. */
export function skinnyKernel({ M, N, K, ta = false, tb = false }: SkinnyShape): Skinny | undefined {
  if (M % 4 !== 0 || N % 4 !== 0 || K % 4 !== 0) return undefined;
  if (!ta && N <= NARROW && K > N) return "down";
  return ta && !tb && Math.min(M, N) <= NARROW && K > NARROW ? "gradient" : undefined;
}
