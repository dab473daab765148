// One product as one dispatch: the uniform, the bindings, and the kernel of the target's class.
import { MOST_PARTS, PART_WORDS, PRODUCT_UNIFORM_WORDS, type ProductFeatures } from "../../shaders/lib/product.ts";
import {
  downRows,
  downTrips,
  GRADIENT_SPAN,
  gradientTrips,
  matmulDown,
  matmulGradient,
} from "../../shaders/matmul_skinny.ts";
import { matmulSoftware, storeTrips } from "../../shaders/matmul_software.ts";
import { matmulTiled } from "../../shaders/matmul_tiled.ts";
import { SHARE_LANES, sumShares } from "../../shaders/sum_shares.ts";
import { isPacked } from "../core/dims.ts";
import { floatBits, type Kernel, type Value } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import type { MatrixRef, ProductCall, ProductPart } from "./product.ts";
import { bind, type Bound, type Piece } from "./product_cut.ts";
import { productKey } from "./product_candidates.ts";
import { fewRowsKernel } from "./product_few_rows.ts";
import { type Skinny, skinnyKernel, softwareTile, turnedOperands, workgroupTile } from "./product_tiles.ts";

const CAUSAL = { none: 0, skip: 1, limit: 2, start: 3 } as const;

/** The dispatch of a piece. */
export function pieceKernel(piece: Piece, target: Target): Kernel {
  const bound = bindAll(piece, target);
  const { a, b, bias, add, lowA, lowB, c } = bound;
  return {
    name: piece.name,
    read: [a, b, bias, add, lowA, lowB].filter((x) => x !== undefined).map(({ binding }) => binding),
    write: [c.binding],
    uniform: uniformOf(piece, bound),
    ...(fewRowsKernel(piece, featuresOf(piece, bound, true), target) ??
      (target.kind === "software" && target.subgroup > 0
        ? softwareKernel(piece, bound, target)
        : skinnyBody(piece, bound) ?? tiledKernel(piece, bound, target))),
  };
}

/** The dispatch that adds `shares`[S, M, N] of a product and finishes c: alpha, bias and add are its own. */
export function sharesKernel(call: ProductCall, shares: Value, target: Target): Kernel {
  const { low: _, parts: _parts, ...rest } = call;
  const [, M = 1, N = 1] = shares.shape;
  const [S = 1] = shares.shape;
  const a = { value: shares, stride: N, outer: M * N };
  const piece: Piece = { ...rest, ...{ M, N, K: S }, a, ta: false, mBase: 0, nBase: 0, kBase: 0 };
  const bound = bindAll(piece, target);
  const features = { ...featuresOf(piece, bound, true), edge: false };
  return {
    name: `${call.name} sum`,
    wgsl: sumShares({ ...features, vectors: { a: features.vectors.c, b: false, c: features.vectors.c } }),
    read: [bound.a, bound.bias, bound.add].filter((x) => x !== undefined).map(({ binding }) => binding),
    write: [bound.c.binding],
    uniform: uniformOf(piece, bound),
    workgroups: Math.ceil(M * N / (features.vectors.c ? 4 : 1) / SHARE_LANES),
    trips: S,
  };
}

/** Text and grid of a kernel. */
type Body = Pick<Kernel, "wgsl" | "workgroups" | "trips">;

function softwareKernel(piece: Piece, bound: BoundProduct, target: Target): Body {
  const { M, N, K, low, repeat = 1 } = piece;
  const work = repeat * workOf(piece);
  const wide = featuresOf(piece, bound, true).vectors.c;
  const tile = softwareTile({ M, N, work, wide, key: keyOf(piece, work, target) }, target);
  const { rows, lanes, width, groups } = tile;
  const columns = lanes * width * groups;
  const features = featuresOf(piece, bound, width === 4);
  const R = low?.R ?? 0;
  const ragged = {
    edge: partsOf(piece).some((part) => part.M % rows !== 0 || part.N % columns !== 0),
    tail: partsOf(piece).some((part) => part.K % 4 !== 0),
    lowTail: R % 4 !== 0,
  };
  return {
    wgsl: matmulSoftware({ ...features, ...ragged, tile }),
    workgroups: [Math.ceil(N / columns), Math.ceil(M / rows), batches(piece)],
    trips: repeat * Math.ceil(K / 4) + storeTrips(tile, R),
  };
}

function tiledKernel(piece: Piece, bound: BoundProduct, target: Target): Body {
  const { M, N, K, low, repeat = 1 } = piece;
  const key = keyOf(piece, workOf(piece), target);
  const tile = workgroupTile({ M, N, batches: batches(piece), turned: turnedOperands(piece), key }, target);
  const { BM, BN, BK } = tile;
  const edge = partsOf(piece).some((part) => part.M % BM !== 0 || part.N % BN !== 0);
  const tail = partsOf(piece).some((part) => part.K % BK !== 0);
  return {
    wgsl: matmulTiled({ ...featuresOf(piece, bound, true), edge, tail, tile, half: target.precision === "f16" }),
    workgroups: [Math.ceil(N / BN), Math.ceil(M / BM), batches(piece)],
    trips: repeat * Math.ceil(K / BK) + Math.ceil((low?.R ?? 0) / BK),
  };
}

/** Multiply-adds of all batches. */
function workOf(piece: Piece): number {
  const products = piece.parts ? piece.batch?.outer ?? 1 : batches(piece);
  return products * partsOf(piece).reduce((sum, part) => sum + part.M * part.N * part.K, 0);
}

/** Measured choices count for plain products, whole or in shares. */
function keyOf(piece: Piece, work: number, target: Target): string | undefined {
  const plain = !piece.causal && !piece.parts && (piece.shared || batches(piece) === 1) &&
    !isPacked(piece.b.value.dtype);
  return plain ? productKey(piece, work, target) : undefined;
}

/** Skinny products whose operands are read as vectors. */
function skinnyBody(piece: Piece, bound: BoundProduct): Body | undefined {
  const { M, N, K, low, causal, repeat = 1 } = piece;
  const kind = low || causal || repeat > 1 ? undefined : skinnyOf(piece);
  const features = featuresOf(piece, bound, true);
  if (kind === undefined || !features.vectors.a || !features.vectors.b) return undefined;
  if (kind === "down") {
    const rows = downRows(N);
    return {
      wgsl: matmulDown({ ...features, edge: M % rows !== 0, N }),
      workgroups: [Math.ceil(M / rows), 1, batches(piece)],
      trips: downTrips(K),
    };
  }
  const across = M <= N;
  return {
    wgsl: matmulGradient({ ...features, edge: false, narrow: across ? M : N, across }),
    workgroups: [Math.ceil((across ? N : M) / GRADIENT_SPAN), 1, batches(piece)],
    trips: gradientTrips(K),
  };
}

/** The skinny kernel of all products of a piece: only the long side may differ between parts. */
function skinnyOf(piece: Piece): Skinny | undefined {
  const { M, N, K, ta = false, tb = false, parts = [] } = piece;
  const kind = skinnyKernel(piece);
  const same = parts.every((part) =>
    skinnyKernel({ ...part, ta, tb }) === kind &&
    (kind === "down" ? part.M === M && part.N === N : part.K === K && (M <= N ? part.M === M : part.N === N))
  );
  return same ? kind : undefined;
}

function batches({ batch: { outer, inner } = { outer: 1, inner: 1 } }: Piece): number {
  return outer * inner;
}

/** What the text depends on; `wide`: the kernel reads four neighbouring columns of b and c at once. */
function featuresOf(piece: Piece, bound: BoundProduct, wide: boolean): Omit<ProductFeatures, "edge"> {
  const { ta = false, tb = false, bias, add, then, low, accumulate = false } = piece;
  const { a, b, c } = bound;
  const lowTb = low?.tb ?? tb;
  const { dtype } = piece.b.value;
  const parts = partsOf(piece);
  const fours = (words: (part: ProductPart) => number) => parts.every((part) => words(part) % 4 === 0);
  return {
    ta,
    tb,
    ...(isPacked(dtype) ? { packed: dtype } : {}),
    vectors: {
      a: vector(piece.a, a) && fours((part) => part.a) && (ta || piece.a.padded || fours((part) => part.K)),
      b: vector(piece.b, b) && fours((part) => part.b) && (tb ? fours((part) => part.K) : wide),
      c: wide && (piece.c.padded || fours((part) => part.N)) && vector(piece.c, c) && fours((part) => part.c) &&
        (!piece.add || vector(piece.add, bound.add)) && (bound.bias?.offset ?? 0) % 4 === 0 &&
        fours((part) => part.bias ?? 0),
    },
    bias: bias !== undefined,
    add: add !== undefined,
    ...(then ? { then } : {}),
    accumulate,
    parts: piece.parts !== undefined,
    ...(low
      ? {
        low: {
          tb: lowTb,
          vectors: {
            a: vector(low.a, bound.lowA) && low.R % 4 === 0 && fours((part) => part.low?.a ?? 0),
            b: vector(low.b, bound.lowB) && (lowTb ? low.R % 4 === 0 : wide) && fours((part) => part.low?.b ?? 0),
          },
        },
      }
      : {}),
  };
}

/** The products of a piece; the only one starts where its operands do. */
function partsOf({ M, N, K, parts }: Piece): readonly ProductPart[] {
  return parts ?? [{ M, N, K, a: 0, b: 0, c: 0 }];
}

/** Whether every row of every matrix starts at a multiple of four words. */
function vector({ stride, outer = 0, inner = 0, repeat = 0 }: MatrixRef, bound: Bound | undefined): boolean {
  return [stride, outer, inner, repeat, bound?.offset ?? 0].every((words) => words % 4 === 0);
}

interface BoundProduct {
  readonly a: Bound;
  readonly b: Bound;
  readonly c: Bound;
  readonly bias: Bound | undefined;
  readonly add: Bound | undefined;
  readonly lowA: Bound | undefined;
  readonly lowB: Bound | undefined;
}

function bindAll(piece: Piece, target: Target): BoundProduct {
  const { M, N, K, ta, tb, low, bias, nBase } = piece;
  const matrix = (ref: MatrixRef, rows: number, columns: number, transposed = false) =>
    bind({ ref, rows: transposed ? columns : rows, columns: transposed ? rows : columns }, piece, target);
  return {
    a: matrix(piece.a, M, K, ta),
    b: matrix(piece.b, K, N, tb),
    c: matrix(piece.c, M, N),
    bias: bias && matrix({ value: bias, offset: nBase, stride: 0 }, 1, N),
    add: piece.add && matrix(piece.add, M, N),
    lowA: low && matrix(low.a, M, low.R),
    lowB: low && matrix(low.b, low.R, N, low.tb ?? tb),
  };
}

function uniformOf(piece: Piece, bound: BoundProduct): number[] {
  const { M, N, K, alpha = 1, causal = "none", repeat = 1, mBase, nBase, kBase, low } = piece;
  const matrix = (ref: MatrixRef | undefined, b: Bound | undefined) =>
    ref && b
      ? [b.offset, ref.stride, ref.outer ?? 0, ref.inner ?? 0, ref.group ?? 1, ref.repeat ?? 0, b.base, 0]
      : [0, 0, 0, 0, 1, 0, 0, 0];
  const words = [
    ...[M, N, K, floatBits(alpha)],
    ...[piece.batch?.inner ?? 1, repeat, CAUSAL[causal], bound.bias?.offset ?? 0],
    ...[mBase, nBase, kBase, piece.shared ? piece.batch?.inner ?? 1 : batches(piece)],
    ...matrix(piece.a, bound.a),
    ...matrix(piece.b, bound.b),
    ...matrix(piece.c, bound.c),
    ...matrix(piece.add, bound.add),
    ...matrix(low?.a, bound.lowA),
    ...matrix(low?.b, bound.lowB),
    ...[low?.R ?? 0, floatBits((low?.alpha ?? 0) / alpha), 0, 0],
  ];
  if (words.length !== PRODUCT_UNIFORM_WORDS) throw new RangeError(`Cannot use ${words.length} words as a uniform`);
  return piece.parts ? [...words, ...partWords(piece.parts, bound.bias?.offset ?? 0)] : words;
}

function partWords(parts: readonly ProductPart[], biasOffset: number): number[] {
  const words = parts.flatMap(({ M, N, K, a, b, c, low, bias = 0 }) => [
    ...[M, N, K, low?.R ?? 0, a, b, c, low?.a ?? 0, low?.b ?? 0, biasOffset + bias, 0, 0],
  ]);
  return [...words, ...new Array<number>(MOST_PARTS * PART_WORDS - words.length).fill(0)];
}
