// The kernels of flash attention; equations in shaders/attention_flash.ts.
import { flashForward, flashKeyGrad, flashQueryGrad, type KeyGrads } from "../../shaders/attention_flash.ts";
import { deltaRows, flashBiasGrad, flashDelta } from "../../shaders/attention_flash_sums.ts";
import { type FlashOptions, flashShape, type FlashTile } from "../../shaders/lib/flash.ts";
import { tileBytes } from "../../shaders/lib/flash_tiles.ts";
import { size } from "../core/dims.ts";
import type { Kernel, Value } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import { cut, type Dispatch, dispatches, type FlashCall, type Name } from "./attention_flash_cut.ts";
import { type AttentionSizes, heads } from "./attention_sizes.ts";
import { boundWords } from "./parts.ts";
import { chosenTile } from "./product_candidates.ts";

/** By preference: the first is the fastest on an H100, the others fit into 32 and 16 KiB. `deno task tune` measures them. */
export const FLASH_TILES: Readonly<Record<string, FlashTile>> = {
  "32x64 16": { rows: 32, columns: 64, width: 16 },
  "32x32 16": { rows: 32, columns: 32, width: 16 },
  "32x32 8": { rows: 32, columns: 32, width: 8 },
  "32x32 4": { rows: 32, columns: 32, width: 4 },
};

/** What a choice for heads of E numbers is kept under. */
export function flashKey(E: number): string {
  return `attention ${E}`;
}

/** Widest head: a lane keeps its results in registers. */
const MAX_E = 256;

/** The tile of heads of E numbers; nothing where the kernels with scores in memory are to be used. */
export function flashTile({ E }: Pick<AttentionSizes, "E">, target: Target): FlashTile | undefined {
  const { kind, workgroupBytes, invocations } = target;
  if (kind === "software" || E % 4 !== 0 || E > MAX_E) return undefined;
  const fits = (tile: FlashTile) => {
    const { X, Y, panels } = flashShape({ E, tile });
    return X * Y <= invocations && tileBytes(panels > 1 ? 1 : 2, { E, tile }) <= workgroupBytes;
  };
  const chosen = chosenTile(FLASH_TILES, flashKey(E), target);
  return chosen && fits(chosen) ? chosen : Object.values(FLASH_TILES).find(fits);
}

function tileOf(sizes: AttentionSizes, target: Target): FlashTile {
  const tile = flashTile(sizes, target);
  if (!tile) throw new RangeError(`Cannot use flash attention for heads of ${sizes.E} on this device`);
  return tile;
}

function options(tile: FlashTile, { packed, mask, bias }: FlashCall, sizes: AttentionSizes): FlashOptions {
  const { E, causal, window, softcap } = sizes;
  return {
    E,
    tile,
    packed,
    causal,
    window: window !== undefined,
    mask: mask !== undefined,
    bias: bias !== undefined,
    softcap: softcap !== undefined,
  };
}

/** The mask and the bias where there are. */
function extra({ mask, bias }: FlashCall): Name[] {
  return [...mask ? ["mask" as const] : [], ...bias ? ["bias" as const] : []];
}

/** The grid of kernels whose workgroups own queries, and how far they walk. */
function queryWalk(
  { T, S, H, K }: AttentionSizes,
  { rows, columns }: FlashTile,
): Pick<Dispatch, "workgroups" | "tiles"> {
  return {
    workgroups: ({ k0, k1 }, sequences) => [Math.ceil(T / rows), (k1 - k0) * H / K, sequences],
    tiles: Math.ceil(S / columns),
  };
}

/** o and L. */
export function flashForwardKernels(call: FlashCall, sizes: AttentionSizes, target: Target): Kernel[] {
  const tile = tileOf(sizes, target);
  return dispatches(
    call,
    {
      name: "attention",
      shader: flashForward(options(tile, call, sizes)),
      reads: ["q", "k", "v", ...extra(call)],
      writes: ["o", "stats"],
      ...queryWalk(sizes, tile),
    },
    sizes,
    target,
  );
}

/** stats[B·H, T, 2] = L and δ. */
export function flashDeltaKernels(
  { o, dO, L, stats }: { readonly o: Value; readonly dO: Value; readonly L: Value; readonly stats: Value },
  sizes: AttentionSizes,
  target: Target,
): Kernel[] {
  const { B, T, H, E } = sizes;
  const row = heads(o, sizes);
  const matrices = { q: row, k: row, v: row, o: row, dO: heads(dO, sizes) };
  const call = { matrices, packed: false, mask: undefined, bias: undefined, stats };
  return cut(["o", "dO", "stats"], call, sizes, target).map(({ b0, b1 }) => {
    const words = (value: Value) => boundWords(value, [b0 * size(value.shape) / B, b1 * size(value.shape) / B], target);
    const [from, by, level, to] = [words(o), words(dO), words(L), words(stats)];
    const rows = (b1 - b0) * T * H;
    return {
      name: "attention delta",
      wgsl: flashDelta(E),
      read: [from.binding, by.binding, level.binding],
      write: [to.binding],
      uniform: [rows, T, H, from.offset / 4, by.offset / 4, level.offset, to.offset / 2],
      workgroups: Math.ceil(rows / deltaRows(E)),
      trips: 0,
    };
  });
}

/** dq. */
export function flashQueryGradKernels(call: FlashCall, sizes: AttentionSizes, target: Target): Kernel[] {
  const tile = tileOf(sizes, target);
  return dispatches(
    call,
    {
      name: "attention query gradient",
      shader: flashQueryGrad(options(tile, call, sizes)),
      reads: ["q", "k", "v", "dO", "stats", ...extra(call)],
      writes: ["dq"],
      ...queryWalk(sizes, tile),
    },
    sizes,
    target,
  );
}

/** dk and dv, in one dispatch where a kernel may bind so many buffers. */
export function flashKeyGradKernels(call: FlashCall, sizes: AttentionSizes, target: Target): Kernel[] {
  const tile = tileOf(sizes, target);
  const { T, S, H, K } = sizes;
  const flags = options(tile, call, sizes), rest = ["dO" as const, "stats" as const, ...extra(call)];
  const part = (grads: KeyGrads): Kernel[] =>
    dispatches(
      call,
      {
        name: grads === "both" ? "attention key and value gradient" : `attention ${grads} gradient`,
        shader: flashKeyGrad(flags, grads),
        reads: [...grads === "dv" ? ["q", "k"] as const : ["q", "k", "v"] as const, ...rest],
        writes: grads === "both" ? ["dk", "dv"] : [grads],
        workgroups: ({ k0, k1 }, sequences) => [Math.ceil(S / tile.rows), k1 - k0, sequences],
        tiles: H / K * Math.ceil(T / tile.columns),
      },
      sizes,
      target,
    );
  const buffers = (flags.packed ? 2 : 5) + rest.length;
  return buffers <= target.storageBuffers ? part("both") : [...part("dk"), ...part("dv")];
}

/** dbias[H, T, S]. */
export function flashBiasGradKernels(call: FlashCall, sizes: AttentionSizes, target: Target): Kernel[] {
  const tile = tileOf(sizes, target);
  const { B, T, S, H, K } = sizes;
  return dispatches(
    call,
    {
      name: "attention bias gradient",
      shader: flashBiasGrad(options(tile, call, sizes)),
      reads: ["q", "k", "v", "dO", "stats", ...extra(call)],
      writes: ["dbias"],
      workgroups: ({ k0, k1 }) => [Math.ceil(S / tile.columns), Math.ceil(T / tile.rows), (k1 - k0) * H / K],
      tiles: B,
    },
    sizes,
    target,
  );
}
