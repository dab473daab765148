// One product as one dispatch: the uniform, the bindings, and the kernel of the target's class.
import { PRODUCT_UNIFORM_WORDS, type ProductFeatures } from "../../shaders/lib/product.ts";
import { DIRECT_LANES, matmulDirect } from "../../shaders/matmul_direct.ts";
import { floatBits, type Kernel } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import type { MatrixRef } from "./product.ts";
import { bind, type Bound, type Piece } from "./product_cut.ts";

const CAUSAL = { none: 0, skip: 1, limit: 2, start: 3 } as const;

/** The dispatch of a piece. */
export function pieceKernel(piece: Piece, target: Target): Kernel {
  const { M, N, K, ta = false, tb = false, low, repeat = 1, name } = piece;
  const { outer, inner } = piece.batch ?? { outer: 1, inner: 1 };
  const bound = bindAll(piece, target);
  const features: ProductFeatures = {
    ta,
    tb,
    vectors: { a: false, b: false, c: false },
    bias: piece.bias !== undefined,
    add: piece.add !== undefined,
    accumulate: piece.accumulate ?? false,
    ...(low ? { low: { tb: low.tb ?? tb, vectors: { a: false, b: false } } } : {}),
  };
  const { a, b, bias, add, lowA, lowB, c } = bound;
  return {
    name,
    wgsl: matmulDirect(features),
    read: [a, b, bias, add, lowA, lowB].filter((x) => x !== undefined).map(({ binding }) => binding),
    write: [c.binding],
    uniform: uniformOf(piece, bound),
    workgroups: [Math.ceil(N / DIRECT_LANES), M, outer * inner],
    trips: repeat * K + (low?.R ?? 0),
  };
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
  const { outer, inner } = piece.batch ?? { outer: 1, inner: 1 };
  const matrix = (ref: MatrixRef | undefined, b: Bound | undefined) =>
    ref && b
      ? [b.offset, ref.stride, ref.outer ?? 0, ref.inner ?? 0, ref.group ?? 1, ref.repeat ?? 0, 0, 0]
      : [0, 0, 0, 0, 1, 0, 0, 0];
  const words = [
    ...[M, N, K, floatBits(alpha)],
    ...[inner, repeat, CAUSAL[causal], bound.bias?.offset ?? 0],
    ...[mBase, nBase, kBase, K],
    ...matrix(piece.a, bound.a),
    ...matrix(piece.b, bound.b),
    ...matrix(piece.c, bound.c),
    ...matrix(piece.add, bound.add),
    ...matrix(low?.a, bound.lowA),
    ...matrix(low?.b, bound.lowB),
    ...[low?.R ?? 0, floatBits(low?.alpha ?? 0), outer * inner, 0],
  ];
  if (words.length !== PRODUCT_UNIFORM_WORDS) throw new RangeError(`Cannot use ${words.length} words as a uniform`);
  return words;
}
