// The dispatches of flash attention; equations in shaders/attention_flash.ts. What exceeds one binding is cut by
// sequences, a bias by key heads.
import {
  flashForward,
  flashKeyGrad,
  flashQueryGrad,
  type FlashShader,
  type KeyGrads,
} from "../../shaders/attention_flash.ts";
import { deltaRows, flashBiasGrad, flashDelta } from "../../shaders/attention_flash_sums.ts";
import { type FlashOptions, flashShape, type FlashTile } from "../../shaders/lib/flash.ts";
import { tileBytes } from "../../shaders/lib/flash_tiles.ts";
import { size } from "../core/dims.ts";
import { floatBits, type Kernel, type Value } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import { type AttentionSizes, heads } from "./attention_sizes.ts";
import { type Bound, boundWords } from "./parts.ts";
import type { MatrixRef } from "./product.ts";

/** By preference: the first is the fastest on an H100, the others fit into 32 and 16 KiB. */
const TILES: readonly FlashTile[] = [
  { rows: 32, columns: 64, width: 16 },
  { rows: 32, columns: 32, width: 16 },
  { rows: 32, columns: 32, width: 8 },
  { rows: 32, columns: 32, width: 4 },
];

/** Widest head: a lane keeps its results in registers. */
const MAX_E = 256;

/** The tile of heads of E numbers; nothing where the kernels with scores in memory are to be used. */
export function flashTile({ E }: AttentionSizes, { kind, workgroupBytes, invocations }: Target): FlashTile | undefined {
  if (kind === "software" || E % 4 !== 0 || E > MAX_E) return undefined;
  return TILES.find((tile) => {
    const { X, Y, panels } = flashShape({ E, tile });
    return X * Y <= invocations && tileBytes(panels > 1 ? 1 : 2, { E, tile }) <= workgroupBytes;
  });
}

function tileOf(sizes: AttentionSizes, target: Target): FlashTile {
  const tile = flashTile(sizes, target);
  if (!tile) throw new RangeError(`Cannot use flash attention for heads of ${sizes.E} on this device`);
  return tile;
}

/** Matrices of heads; the outer stride is that of a sequence. */
interface Matrices {
  readonly q: MatrixRef;
  readonly k: MatrixRef;
  readonly v: MatrixRef;
  readonly o?: MatrixRef;
  readonly dO?: MatrixRef;
  readonly dq?: MatrixRef;
  readonly dk?: MatrixRef;
  readonly dv?: MatrixRef;
}

/** What a flash kernel reads and writes beside its matrices of heads. */
export interface FlashCall {
  readonly matrices: Matrices;
  /** q, k and v are columns of one value, and so are dq, dk and dv. */
  readonly packed: boolean;
  /** Real keys, u32 [B, S]. */
  readonly mask: Value | undefined;
  /** Added to the scores, [H, T, S]. */
  readonly bias: Value | undefined;
  /** L [B·H, T], or L and δ [B·H, T, 2]. */
  readonly stats: Value;
  readonly dbias?: Value;
}

const MATRICES = ["q", "k", "v", "o", "dO", "dq", "dk", "dv"] as const;

type Name = keyof Matrices | "stats" | "mask" | "bias" | "dbias";

/** Sequences [b0, b1) and key heads [k0, k1). */
interface Piece {
  readonly b0: number;
  readonly b1: number;
  readonly k0: number;
  readonly k1: number;
}

/** Words of a sequence, or of a key head of a bias. */
function wordsOf(name: Name, { matrices, stats }: FlashCall, { B, T, S, H, K }: AttentionSizes): number {
  if (name === "mask") return S;
  if (name === "stats") return size(stats.shape) / B;
  if (name === "bias" || name === "dbias") return H / K * T * S;
  return matrices[name]!.outer!;
}

function valueOf(name: Name, { matrices, ...call }: FlashCall): Value {
  return name === "stats" || name === "mask" || name === "bias" || name === "dbias"
    ? call[name]!
    : matrices[name]!.value;
}

const byHeads = (name: Name) => name === "bias" || name === "dbias";

function cut(names: readonly Name[], call: FlashCall, sizes: AttentionSizes, target: Target): Piece[] {
  const { B, K } = sizes;
  const step = (count: number, bound: readonly Name[]) =>
    Math.min(
      count,
      ...bound.map((name) => {
        const value = valueOf(name, call);
        if (4 * size(value.shape) <= target.maxBinding) return count;
        const most = Math.floor((target.maxBinding - target.alignment) / (4 * wordsOf(name, call, sizes)));
        if (most >= 1) return most;
        throw new RangeError(
          `Cannot cut attention as one ${
            byHeads(name) ? "head" : "sequence"
          } of "${value.name}" [${value.shape}] exceeds one binding of ${target.maxBinding} bytes`,
        );
      }),
    );
  const sequences = step(B, names.filter((name) => !byHeads(name))), keyHeads = step(K, names.filter(byHeads));
  const starts = (count: number, by: number) => Array.from({ length: Math.ceil(count / by) }, (_, i) => i * by);
  return starts(K, keyHeads).flatMap((k0) =>
    starts(B, sequences).map((b0) => ({ b0, b1: Math.min(B, b0 + sequences), k0, k1: Math.min(K, k0 + keyHeads) }))
  );
}

interface Dispatch {
  readonly name: string;
  readonly shader: FlashShader;
  readonly reads: readonly Name[];
  readonly writes: readonly Name[];
  readonly workgroups: (piece: Piece, sequences: number) => readonly [number, number, number];
  /** Tiles that one invocation walks. */
  readonly tiles: number;
}

function dispatches(call: FlashCall, dispatch: Dispatch, sizes: AttentionSizes, target: Target): Kernel[] {
  const { name, shader, reads, writes, workgroups, tiles } = dispatch;
  const { T, S, H, K, scale, softcap = 1, window = 0 } = sizes;
  const group = H / K;
  return cut([...reads, ...writes], call, sizes, target).map((piece) => {
    const { b0, b1, k0, k1 } = piece;
    const bound = new Map<Value, Bound>();
    const bind = (each: Name): Bound => {
      const value = valueOf(each, call), words = wordsOf(each, call, sizes);
      const range = byHeads(each) ? [k0 * words, k1 * words] as const : [b0 * words, b1 * words] as const;
      const known = bound.get(value) ?? boundWords(value, range, target);
      bound.set(value, known);
      return known;
    };
    const bindings = (names: readonly Name[]) => {
      const all = names.map((each) => bind(each).binding);
      return call.packed ? [...new Set(all)] : all;
    };
    const used = new Set([...reads, ...writes]);
    const matrix = (each: keyof Matrices) => {
      const ref = call.matrices[each];
      return used.has(each) && ref ? [(bind(each).offset + (ref.offset ?? 0)) / 4, ref.stride / 4] : [0, 0];
    };
    const offset = (each: Name) => used.has(each) ? bind(each).offset : 0;
    const pair = call.stats.shape.length === 3 ? 2 : 1;
    return {
      name,
      wgsl: shader.wgsl,
      read: bindings(reads),
      write: bindings(writes),
      uniform: [
        ...[T, S, H, group, floatBits(scale), floatBits(softcap), window, k0 * group],
        ...MATRICES.flatMap(matrix),
        ...[offset("stats") / pair, offset("mask"), offset("bias"), offset("dbias"), b1 - b0, b0],
      ],
      workgroups: workgroups(piece, b1 - b0),
      trips: tiles * shader.tripsPerTile,
    };
  });
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

/** o and L. */
export function flashForwardKernels(call: FlashCall, sizes: AttentionSizes, target: Target): Kernel[] {
  const tile = tileOf(sizes, target);
  const { T, S, H, K } = sizes;
  return dispatches(
    call,
    {
      name: "attention",
      shader: flashForward(options(tile, call, sizes)),
      reads: ["q", "k", "v", ...extra(call)],
      writes: ["o", "stats"],
      workgroups: ({ k0, k1 }, sequences) => [Math.ceil(T / tile.rows), (k1 - k0) * H / K, sequences],
      tiles: Math.ceil(S / tile.columns),
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
  const row = heads(o, sizes),
    call: FlashCall = {
      matrices: { q: row, k: row, v: row, o: row, dO: heads(dO, sizes) },
      packed: false,
      mask: undefined,
      bias: undefined,
      stats,
    };
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
  const { T, S, H, K } = sizes;
  return dispatches(
    call,
    {
      name: "attention query gradient",
      shader: flashQueryGrad(options(tile, call, sizes)),
      reads: ["q", "k", "v", "dO", "stats", ...extra(call)],
      writes: ["dq"],
      workgroups: ({ k0, k1 }, sequences) => [Math.ceil(T / tile.rows), (k1 - k0) * H / K, sequences],
      tiles: Math.ceil(S / tile.columns),
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
