// Products with few tiles and many summands (gradients of skinny matrices) are cut along K into shares that run side by
// side; a second dispatch adds the shares in a fixed order, so that runs are reproducible.
import { SUM_LANES, sumShares } from "../../shaders/sum_shares.ts";
import type { Kernel, Value } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import { type ProductCall, productKernels } from "./product.ts";
import { ENOUGH_WORKGROUPS, softwareTile, workgroupTile } from "./product_tiles.ts";

/** Summands that a share has at least. */
const MIN_SUMMANDS = 64;

/** Shares that a product is cut into at most. */
const MAX_SHARES = 64;

/** Workgroups that keep the few threads of a software driver evenly busy. */
const ENOUGH_ON_SOFTWARE = 4;

type Sizes = Pick<ProductCall, "M" | "N" | "K">;

/** How many shares a product is worth cutting into: 1 for none; shares are equal and multiples of four summands. */
export function shareCount({ M, N, K }: Sizes, target: Target): number {
  const software = target.kind === "software" && target.subgroup > 0;
  const enough = software ? ENOUGH_ON_SOFTWARE : ENOUGH_WORKGROUPS;
  const fits = Math.floor(target.maxBinding / (4 * M * N));
  const wanted = Math.ceil(enough / tiles({ M, N, K }, target));
  for (let s = Math.min(wanted, MAX_SHARES, Math.floor(K / MIN_SUMMANDS), fits); s > 1; s--) {
    if (K % (4 * s) === 0) return s;
  }
  return 1;
}

function tiles({ M, N, K }: Sizes, target: Target): number {
  if (target.kind === "software" && target.subgroup > 0) {
    const { rows, lanes, width, groups } = softwareTile({ M, N, work: M * N * K, wide: N % 4 === 0 }, target.subgroup);
    return Math.ceil(M / rows) * Math.ceil(N / (lanes * width * groups));
  }
  const { BM, BN } = workgroupTile({ M, N, batches: 1 }, target.kind);
  return Math.ceil(M / BM) * Math.ceil(N / BN);
}

/** The dispatches of a plain product through `shares[S, M, N]`. */
export function splitKernels(call: ProductCall, shares: Value, target: Target): Kernel[] {
  const { M, N, K, a, ta, b, tb, c } = call;
  const [S = 1] = shares.shape;
  const part = K / S;
  const D = M * N;
  const vector = D % 4 === 0;
  const width = vector ? D / 4 : D;
  const products = productKernels({
    ...call,
    K: part,
    batch: { outer: S, inner: 1 },
    a: { ...a, outer: part * (ta ? a.stride : 1) },
    b: { ...b, outer: part * (tb ? 1 : b.stride) },
    c: { value: shares, stride: N, outer: D },
  }, target);
  const sum: Kernel = {
    name: `${call.name} sum`,
    wgsl: sumShares({ vector }),
    read: [shares],
    write: [c.value],
    uniform: [S, width],
    workgroups: Math.ceil(width / SUM_LANES),
    trips: S,
  };
  return [...products, sum];
}
