// The tiles that `deno task tune` measures for products, by name, and the kinds of shapes that share a choice.
import type { SoftwareTile } from "../../shaders/matmul_software.ts";
import type { WorkgroupTile } from "../../shaders/matmul_tiled.ts";
import type { Target } from "../graph/target.ts";

/** Tiles of the software class: rows x columns of a lane. */
export const SOFTWARE_TILES: Readonly<Record<string, Omit<SoftwareTile, "lanes">>> = {
  "32x8": { rows: 32, width: 4, groups: 2 },
  "32x4": { rows: 32, width: 4, groups: 1 },
  "16x8": { rows: 16, width: 4, groups: 2 },
  "16x4": { rows: 16, width: 4, groups: 1 },
};

/** Tiles of the other classes: rows x columns x summands of a workgroup, rows x columns of a lane. */
export const WORKGROUP_TILES: Readonly<Record<string, WorkgroupTile>> = {
  "128x128x32 8x8": { BM: 128, BN: 128, BK: 32, TM: 8, TN: 8 },
  "128x128x16 8x8": { BM: 128, BN: 128, BK: 16, TM: 8, TN: 8 },
  "128x64x16 8x8": { BM: 128, BN: 64, BK: 16, TM: 8, TN: 8 },
  "64x64x16 8x8": { BM: 64, BN: 64, BK: 16, TM: 8, TN: 8 },
  "64x64x16 4x4": { BM: 64, BN: 64, BK: 16, TM: 4, TN: 4 },
  "32x32x16 4x4": { BM: 32, BN: 32, BK: 16, TM: 4, TN: 4 },
};

/** A kind of shape: products of at least so many multiply-adds share a choice, which is measured at `sizes`. */
export interface SizeClass {
  readonly name: string;
  readonly from: number;
  /** M, K and N. */
  readonly sizes: readonly [M: number, K: number, N: number];
}

const ON_SOFTWARE: readonly SizeClass[] = [
  { name: "large", from: 2 ** 27, sizes: [512, 512, 512] },
  { name: "medium", from: 2 ** 18, sizes: [1024, 128, 384] },
];

const ON_GPU: readonly SizeClass[] = [
  { name: "large", from: 2 ** 32, sizes: [2048, 2048, 2048] },
  { name: "medium", from: 2 ** 29, sizes: [1024, 768, 3072] },
  { name: "small", from: 2 ** 22, sizes: [512, 512, 512] },
];

/** Kinds of shapes of the target's class, from the largest down. */
export function sizeClasses({ kind }: Target): readonly SizeClass[] {
  return kind === "software" ? ON_SOFTWARE : ON_GPU;
}

/** What a choice for a product of `work` multiply-adds is kept under; products below all classes have none. */
export function productKey(
  { ta = false, tb = false }: { readonly ta?: boolean; readonly tb?: boolean },
  work: number,
  target: Target,
): string | undefined {
  const size = sizeClasses(target).find(({ from }) => work >= from);
  return size && `matmul ${ta ? "t" : "n"}${tb ? "t" : "n"} ${size.name}`;
}

/** The tile that was chosen for `key`, if there is one and this version knows it. */
export function chosenTile<T>(
  tiles: Readonly<Record<string, T>>,
  key: string | undefined,
  { tuning }: Target,
): T | undefined {
  const name = key === undefined ? undefined : tuning?.[key];
  return name !== undefined && Object.hasOwn(tiles, name) ? tiles[name] : undefined;
}
