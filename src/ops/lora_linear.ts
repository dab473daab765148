// A linear map with a low-rank update (arXiv:2106.09685), the update fused into the large product.
//
//   y  = x·Wᵀ (+ bias) + s·h·Bᵀ      h  = xd·Aᵀ       A[R, In], B[Out, R], xd: x behind dropout
//   dx = dy·W (+ dh·A where xd = x)   dh = s·dy·B      dA = dhᵀ·xd      dB = s·dyᵀ·h
//
// Maps that share x may be stacked: W, A and B hold one below the other, y and h side by side. Each part of y then sees
// only its own part of h: B stands for a matrix with these blocks on its diagonal.
import { dims } from "../core/dims.ts";
import { ShapeError } from "../core/errors.ts";
import type { V4, Value } from "../graph/graph.ts";
import { columnSum } from "./column_sum.ts";
import { productOp } from "./epilogue.ts";
import { matmul } from "./matmul.ts";
import { largest, matmulParts } from "./matmul_parts.ts";
import type { ProductCall, ProductPart } from "./product.ts";
import { productTypes } from "./product_split.ts";

/** Columns of y that belong to one of several maps. */
export interface LoraPart {
  readonly Out: number;
  /** Whether it has rows of A and B. */
  readonly adapted: boolean;
}

/** Options of {@linkcode loraLinear}. */
export interface LoraLinearOptions {
  /** W is stored [In, Out] (GPT-2's Conv1D) instead of [Out, In]; only of one map. */
  readonly transposed?: boolean;
  /** bias[Out]. */
  readonly bias?: Value;
  /** Factor s on the update. */
  readonly scale: number;
  /** The maps that are stacked, in order, each with the same R; one by default. */
  readonly parts?: readonly LoraPart[];
}

interface Attrs {
  readonly transposed: boolean;
  readonly scale: number;
  readonly parts: readonly LoraPart[];
}

type Inputs = readonly [x: Value, xd: Value, w: Value, a: Value, b: Value, h: Value, ...bias: Value[]];

/** Where a part begins: its column of y; its row of B and its column of h. */
interface PlacedPart extends LoraPart {
  readonly column: number;
  readonly row: number;
  readonly at: number;
}

function placed({ parts }: Attrs, R: number): PlacedPart[] {
  let column = 0, row = 0, at = 0;
  return parts.map((part) => {
    const place = { ...part, column, row, at };
    column += part.Out;
    if (part.adapted) [row, at] = [row + part.Out, at + R];
    return place;
  });
}

/** The products of a stacked map, one for each part of y; undefined for a single map. */
function stackedParts(M: number, K: number, R: number, attrs: Attrs): ProductPart[] | undefined {
  if (attrs.parts.length === 1) return undefined;
  return placed(attrs, R).map(({ Out, adapted, column, row, at }) => ({
    ...{ M, N: Out, K, a: 0, b: column * K, c: column, bias: column },
    ...(adapted ? { low: { R, a: at, b: row * R } } : {}),
  }));
}

const loraLinearOp = productOp<Attrs, Inputs>({
  name: "lora_linear",
  packed: [2],
  infer([x, xd, w, a, b, h, bias], attrs) {
    const { transposed, parts } = attrs;
    const { N, In, Out, L, R, Outs } = dims(
      "lora_linear",
      { x: "N In", xd: "N In", w: transposed ? "In Out" : "Out In", a: "L In", b: "Outs R", h: "N L" },
      { x, xd, w, a, b, h },
    ) as Record<"N" | "In" | "Out" | "L" | "R" | "Outs", number>;
    const adapted = parts.filter((part) => part.adapted);
    const rows = (list: readonly LoraPart[]) => list.reduce((sum, part) => sum + part.Out, 0);
    if (rows(parts) !== Out) throw new ShapeError("lora_linear", "w", "Out In", w.shape, { Out: rows(parts) });
    if (rows(adapted) !== Outs) throw new ShapeError("lora_linear", "b", "Out R", b.shape, { Out: rows(adapted) });
    if (adapted.length * R !== L) throw new ShapeError("lora_linear", "a", "R In", a.shape, { R: adapted.length * R });
    if (bias && String(bias.shape) !== String([Out])) {
      throw new ShapeError("lora_linear", "bias", "Out", bias.shape, { Out });
    }
    const products = stackedParts(N, In, R, attrs);
    const sizes = { M: N, N: Out, K: In, tb: !transposed };
    return products
      ? productTypes({ ...sizes, ...largest(products), parts: products }, x.graph.target, [N, Out])
      : productTypes(sizes, x.graph.target);
  },
  call({ inputs: [x, , w, , b, h, bias], outputs: [y], attrs }) {
    const { transposed, scale } = attrs;
    const R = b.shape[1]!;
    const [M = 0, K = 0] = x.shape;
    const parts = stackedParts(M, K, R, attrs);
    return fusedCall("lora linear", {
      ...{ x, w, tb: !transposed, h, b, lowTb: true, R, scale, y },
      ...(bias ? { bias } : {}),
      ...(parts ? { parts } : {}),
    });
  },
  grad: [
    ({ inputs: [x, xd, w, a, b], attrs }, dy) =>
      x === xd ? fusedGradient(dy, w, dh(dy, b, attrs), a, attrs.transposed) : matmul(dy, w, { tb: attrs.transposed }),
    ({ inputs: [x, xd, , a, b], attrs }, dy) => x === xd ? undefined : matmul(dh(dy, b, attrs), a),
    ({ inputs: [x], attrs: { transposed } }, dy) =>
      transposed ? matmul(x, dy, { ta: true }) : matmul(dy, x, { ta: true }),
    ({ inputs: [, xd, , , b], attrs }, dy) => matmul(dh(dy, b, attrs), xd, { ta: true }),
    ({ inputs: [, , , , b, h], attrs }, dy) => upGradient(dy, h, b, attrs),
    () => undefined, // counted by the rules of xd and a
    (_, dy) => columnSum(dy),
  ],
});

/** dh[N, L]: every part of dy times its rows of B. */
function dh(dy: Value, b: Value, attrs: Attrs): Value {
  const { parts, scale } = attrs;
  if (parts.length === 1) return matmul(dy, b, { alpha: scale });
  const [N, R] = [dy.shape[0]!, b.shape[1]!];
  const adapted = placed(attrs, R).filter((part) => part.adapted);
  return matmulParts(dy, b, {
    ...{ name: "lora dh", alpha: scale, shape: [N, adapted.length * R] },
    parts: adapted.map(({ Out, column, row, at }) => ({ M: N, N: R, K: Out, a: column, b: row * R, c: at })),
  });
}

/** dB: every part of dy, transposed, times its part of h. */
function upGradient(dy: Value, h: Value, b: Value, attrs: Attrs): Value {
  const { parts, scale } = attrs;
  if (parts.length === 1) return matmul(dy, h, { ta: true, alpha: scale });
  const [rows, R] = b.shape as [number, number];
  const adapted = placed(attrs, R).filter((part) => part.adapted);
  return matmulParts(dy, h, {
    ...{ name: "lora dB", ta: true, alpha: scale, shape: [rows, R] },
    parts: adapted.map(({ Out, column, row, at }) => ({
      ...{ M: Out, N: R, K: dy.shape[0]!, a: column, b: at, c: row * R },
    })),
  });
}

const fusedGradientOp = productOp<{ readonly transposed: boolean }, V4>({
  name: "lora_linear_dx",
  packed: [1],
  infer([dy, w], { transposed }) {
    const [M = 0, K = 0] = dy.shape;
    return productTypes({ M, N: w.shape[transposed ? 0 : 1]!, K, tb: transposed }, dy.graph.target);
  },
  call({ inputs: [dy, w, dh, a], outputs: [y], attrs: { transposed } }) {
    const [R = 0] = a.shape;
    return fusedCall("lora dx", { x: dy, w, tb: transposed, h: dh, b: a, lowTb: false, R, scale: 1, y });
  },
});

/** dy·W + dh·A. */
export function fusedGradient(dy: Value, w: Value, dh: Value, a: Value, transposed: boolean): Value {
  return dy.graph.add(fusedGradientOp, [dy, w, dh, a], { transposed })[0];
}

/** One product with a low-rank one in its store. */
export interface FusedProduct {
  readonly x: Value;
  readonly w: Value;
  readonly tb: boolean;
  readonly h: Value;
  readonly b: Value;
  readonly lowTb: boolean;
  /** Columns of h that a column of y sees. */
  readonly R: number;
  readonly scale: number;
  readonly y: Value;
  readonly bias?: Value;
  readonly parts?: readonly ProductPart[];
}

/** y = x·w + scale·h·b (+ bias), where `tb` and `lowTb` say that w and b are stored transposed. */
export function fusedCall(name: string, product: FusedProduct): ProductCall {
  const { x, w, tb, h, b, lowTb, R, scale, y, bias, parts } = product;
  const [M = 0, K = 0] = x.shape;
  const [, columns = 0] = y.shape;
  return {
    name,
    ...{ M, N: parts ? largest(parts).N : columns, K, tb },
    a: { value: x, stride: K },
    b: { value: w, stride: tb ? K : columns },
    c: { value: y, stride: columns },
    low: { a: { value: h, stride: h.shape[1]! }, b: { value: b, stride: b.shape[1]! }, tb: lowTb, R, alpha: scale },
    ...(bias ? { bias } : {}),
    ...(parts ? { parts } : {}),
  };
}

/**
 * y[N, Out] = x·Wᵀ (+ bias) + scale·(xd·Aᵀ)·Bᵀ with x[N, In], W[Out, In], A[R, In], B[Out, R].
 * Without dropout `xd` is `x` itself, and the gradient of x is one fused product. With `parts`, W, A and B are stacked:
 * every part of y is its own x·Wᵢᵀ (+ biasᵢ) + scale·(xd·Aᵢᵀ)·Bᵢᵀ.
 *
 * @throws {ShapeError} if the shapes do not fit.
 *
 * @example Usage
 * ```ts
 * import { Graph, loraLinear } from "@graft/graft/ops";
 *
 * const graph = new Graph();
 * const x = graph.leaf("input", "x", [5, 16]);
 * const w = graph.leaf("weight", "w", [12, 16]);
 * const a = graph.leaf("param", "w.lora_A", [4, 16]);
 * const b = graph.leaf("param", "w.lora_B", [12, 4]);
 *
 * console.log(loraLinear(x, x, w, a, b, { scale: 2 }).shape); // [5, 12]
 * ```
 */
export function loraLinear(
  x: Value,
  xd: Value,
  w: Value,
  a: Value,
  b: Value,
  { transposed = false, bias, scale, parts = [{ Out: w.shape[transposed ? 1 : 0]!, adapted: true }] }:
    LoraLinearOptions,
): Value {
  if (transposed && parts.length > 1) throw new TypeError("Cannot apply lora_linear to parts stored [In, Out]");
  const h = matmul(xd, a, { tb: true });
  const inputs: Inputs = bias ? [x, xd, w, a, b, h, bias] : [x, xd, w, a, b, h];
  return x.graph.add(loraLinearOp, inputs, { transposed, scale, parts })[0];
}
