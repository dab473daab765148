// Products with few tiles and many summands are cut along K into shares that run side by side; a second dispatch adds
// the shares in a fixed order, so that runs are reproducible, and finishes c (alpha, bias, add).
import { GRADIENT_SPAN } from "../../shaders/matmul_skinny.ts";
import type { Shape, TensorType } from "../core/dims.ts";
import type { Kernel, Value } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import { type ProductCall, productKernels } from "./product.ts";
import { hasFewRows } from "./product_few_rows.ts";
import { sharesKernel } from "./product_kernel.ts";
import { productKey } from "./product_candidates.ts";
import { ENOUGH_WORKGROUPS, skinnyKernel, softwareTile, turnedOperands, workgroupTile } from "./product_tiles.ts";

/** How a kind of product is cut: until so many workgroups run, into so many shares of so many summands. */
interface Rule {
  readonly enough: number;
  readonly most: number;
  /** Shares below which a cut does not pay for its sum. */
  readonly least: number;
  readonly summands: number;
}

/** The few threads of a software driver want to be evenly busy. */
const SOFTWARE: Rule = { enough: 4, most: 64, least: 2, summands: 64 };

/** Tiles in workgroup memory: measured best at four shares where there are 64 to 192 tiles. */
const TILED: Rule = { enough: ENOUGH_WORKGROUPS, most: 8, least: 4, summands: 64 };

/** Gradients of rank rows: 64 blocks of rows keep the memory busy. */
const GRADIENT: Rule = { enough: ENOUGH_WORKGROUPS, most: 64, least: 2, summands: 16 };

/** What the number of shares depends on. */
export type SplitSizes = Pick<ProductCall, "M" | "N" | "K" | "ta" | "tb"> & {
  /** The products that share the operands, instead of one. */
  readonly parts?: readonly Pick<ProductCall, "M" | "N" | "K">[];
};

/** Steps of K in the tiled kernels: shares of whole steps need no guard. */
const STEP = 16;

/** How many shares a product is worth cutting into: 1 for none; shares are equal and multiples of four summands. */
export function shareCount({ parts, ...sizes }: SplitSizes, target: Target): number {
  if (hasFewRows(sizes, target)) return 1;
  const { K } = sizes;
  const products = (parts ?? [sizes]).map((part) => ({ ...sizes, ...part }));
  if (products.some((product) => product.K !== K)) return 1; // one stride leads from share to share
  const { rule } = cutting(sizes, target);
  const sum = (of: (product: SplitSizes) => number) => products.reduce((total, product) => total + of(product), 0);
  const tiles = sum((product) => cutting(product, target).tiles);
  if (tiles >= rule.enough) return 1;
  const fits = Math.floor(target.maxBinding / (4 * sum(({ M, N }) => M * N)));
  const wanted = Math.max(rule.least, Math.ceil(rule.enough / tiles));
  const most = Math.min(wanted, rule.most, Math.floor(K / rule.summands), fits);
  const shares = Array.from({ length: Math.max(0, most - 1) }, (_, i) => most - i);
  return shares.find((s) => K % (STEP * s) === 0 && 2 * s > most) ?? shares.find((s) => K % (4 * s) === 0) ?? 1;
}

function cutting(sizes: SplitSizes, target: Target): { readonly tiles: number; readonly rule: Rule } {
  const { M, N, K } = sizes;
  const key = productKey(sizes, M * N * K, target);
  if (target.kind === "software" && target.subgroup > 0) {
    const { rows, lanes, width, groups } = softwareTile({ M, N, work: M * N * K, wide: N % 4 === 0, key }, target);
    return { tiles: Math.ceil(M / rows) * Math.ceil(N / (lanes * width * groups)), rule: SOFTWARE };
  }
  const skinny = skinnyKernel(sizes);
  if (skinny === "down") return { tiles: Infinity, rule: TILED };
  if (skinny === "gradient") return { tiles: Math.ceil(Math.max(M, N) / GRADIENT_SPAN), rule: GRADIENT };
  const { BM, BN } = workgroupTile({ M, N, batches: 1, turned: turnedOperands(sizes), key }, target);
  return { tiles: Math.ceil(M / BM) * Math.ceil(N / BN), rule: TILED };
}

/** Outputs of an op that is a product: c, and scratch for the shares of its sums where it is worth cutting. */
export type ProductOutputs<T = Value> = readonly [c: T, ...shares: T[]];

/** Types of c[M, N], or of the given shape, and, where it is worth cutting, of its shares[S, M, N]. */
export function productTypes(
  sizes: SplitSizes,
  target: Target,
  shape: Shape = [sizes.M, sizes.N],
): ProductOutputs<TensorType> {
  const S = shareCount(sizes, target);
  const c: TensorType = { shape, dtype: "f32" };
  return S > 1 ? [c, { shape: [S, ...shape], dtype: "f32" }] : [c];
}

/** The dispatches of one plain product, with what is fused into its store, through `shares` if there are any. */
export function splitKernels(call: ProductCall, shares: Value | undefined, target: Target): Kernel[] {
  if (shares === undefined) return productKernels(call, target);
  const { name, M, N, K, a, ta = false, b, tb = false, low, alpha = 1, parts } = call;
  const [S = 1, rows = 1, columns = 1] = shares.shape;
  const part = K / S;
  const products = productKernels({
    ...{ name, M, N, K: part, ta, tb, shared: true },
    batch: { outer: S, inner: 1 },
    a: { ...a, outer: part * (ta ? a.stride : 1) },
    b: { ...b, outer: part * (tb ? 1 : b.stride) },
    c: { value: shares, stride: columns, outer: rows * columns },
    ...(parts ? { parts: parts.map((one) => ({ ...one, K: part })) } : {}),
    ...(low ? { low: { ...low, alpha: low.alpha / alpha } } : {}),
  }, target);
  return [...products, sharesKernel(call, shares, target)];
}
