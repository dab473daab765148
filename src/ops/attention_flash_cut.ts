// Dispatches of flash attention where operands may exceed one binding: cut by sequences, and a bias by key heads.
import type { FlashShader } from "../../shaders/attention_flash.ts";
import { size } from "../core/dims.ts";
import { floatBits, type Kernel, type Value } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import type { AttentionSizes } from "./attention_sizes.ts";
import { type Bound, boundWords } from "./parts.ts";
import type { MatrixRef } from "./product.ts";

/** Matrices of heads; the outer stride is that of a sequence. */
export interface Matrices {
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

/** What a kernel binds. */
export type Name = keyof Matrices | "stats" | "mask" | "bias" | "dbias";

/** Sequences [b0, b1) and key heads [k0, k1). */
export interface Piece {
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

/** The pieces whose operands fit into one binding each. */
export function cut(names: readonly Name[], call: FlashCall, sizes: AttentionSizes, target: Target): Piece[] {
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

/** A kernel as one dispatch for each piece. */
export interface Dispatch {
  readonly name: string;
  readonly shader: FlashShader;
  readonly reads: readonly Name[];
  readonly writes: readonly Name[];
  readonly workgroups: (piece: Piece, sequences: number) => readonly [number, number, number];
  /** Tiles that one invocation walks. */
  readonly tiles: number;
}

/** The dispatches of a kernel; bindings are its reads, then its writes, then a uniform that flash.ts declares. */
export function dispatches(call: FlashCall, dispatch: Dispatch, sizes: AttentionSizes, target: Target): Kernel[] {
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
