// A linear map with a low-rank update (arXiv:2106.09685), the update fused into the large product.
//
//   y  = x·Wᵀ (+ bias) + s·h·Bᵀ      h  = xd·Aᵀ       A[R, In], B[Out, R], xd: x behind dropout
//   dx = dy·W (+ dh·A where xd = x)   dh = s·dy·B      dA = dhᵀ·xd      dB = s·dyᵀ·h
import { dims } from "../core/dims.ts";
import { ShapeError } from "../core/errors.ts";
import { defineOp, type Kernel, type V4, type Value } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import { columnSum } from "./column_sum.ts";
import { matmul } from "./matmul.ts";
import { type ProductOutputs, productTypes, splitKernels } from "./product_split.ts";

/** Options of {@linkcode loraLinear}. */
export interface LoraLinearOptions {
  /** W is stored [In, Out] (GPT-2's Conv1D) instead of [Out, In]. */
  readonly transposed?: boolean;
  /** bias[Out]. */
  readonly bias?: Value;
  /** Factor s on the update. */
  readonly scale: number;
}

interface Attrs {
  readonly transposed: boolean;
  readonly scale: number;
}

type Inputs = readonly [x: Value, xd: Value, w: Value, a: Value, b: Value, h: Value, ...bias: Value[]];

const loraLinearOp = defineOp<Attrs, Inputs, ProductOutputs>({
  name: "lora_linear",
  packed: [2],
  infer([x, xd, w, a, b, h, bias], { transposed }) {
    const { N, In, Out } = dims(
      "lora_linear",
      { x: "N In", xd: "N In", w: transposed ? "In Out" : "Out In", a: "R In", b: "Out R", h: "N R" },
      { x, xd, w, a, b, h },
    );
    if (bias && String(bias.shape) !== String([Out])) {
      throw new ShapeError("lora_linear", "bias", "Out", bias.shape, { Out });
    }
    return productTypes({ M: N, N: Out, K: In, tb: !transposed }, x.graph.target);
  },
  kernels({ inputs: [x, , w, , b, h, bias], outputs, attrs: { transposed, scale } }, target) {
    const call = { x, w, tb: !transposed, h, b, lowTb: true, scale, outputs, ...(bias ? { bias } : {}) };
    return fusedKernels("lora linear", call, target);
  },
  grad: [
    ({ inputs: [x, xd, w, a, b], attrs }, dy) =>
      x === xd ? fusedGradient(dy, w, dh(dy, b, attrs), a, attrs.transposed) : matmul(dy, w, { tb: attrs.transposed }),
    ({ inputs: [x, xd, , a, b], attrs }, dy) => x === xd ? undefined : matmul(dh(dy, b, attrs), a),
    ({ inputs: [x], attrs: { transposed } }, dy) =>
      transposed ? matmul(x, dy, { ta: true }) : matmul(dy, x, { ta: true }),
    ({ inputs: [, xd, , , b], attrs }, dy) => matmul(dh(dy, b, attrs), xd, { ta: true }),
    ({ inputs: [, , , , , h], attrs: { scale } }, dy) => matmul(dy, h, { ta: true, alpha: scale }),
    () => undefined, // counted by the rules of xd and a
    (_, dy) => columnSum(dy),
  ],
});

function dh(dy: Value, b: Value, { scale }: Attrs): Value {
  return matmul(dy, b, { alpha: scale });
}

const fusedGradientOp = defineOp<{ readonly transposed: boolean }, V4, ProductOutputs>({
  name: "lora_linear_dx",
  packed: [1],
  infer([dy, w], { transposed }) {
    const [M = 0, K = 0] = dy.shape;
    return productTypes({ M, N: w.shape[transposed ? 0 : 1]!, K, tb: transposed }, dy.graph.target);
  },
  kernels: ({ inputs: [dy, w, dh, a], outputs, attrs: { transposed } }, target) =>
    fusedKernels("lora dx", { x: dy, w, tb: transposed, h: dh, b: a, lowTb: false, scale: 1, outputs }, target),
});

/** dy·W + dh·A. */
function fusedGradient(dy: Value, w: Value, dh: Value, a: Value, transposed: boolean): Value {
  return dy.graph.add(fusedGradientOp, [dy, w, dh, a], { transposed })[0];
}

interface FusedCall {
  readonly x: Value;
  readonly w: Value;
  readonly tb: boolean;
  readonly h: Value;
  readonly b: Value;
  readonly lowTb: boolean;
  readonly scale: number;
  readonly outputs: ProductOutputs;
  readonly bias?: Value;
}

/** y = x·w + scale·h·b (+ bias), where `tb` and `lowTb` say that w and b are stored transposed. */
function fusedKernels(name: string, call: FusedCall, target: Target): Kernel[] {
  const { x, w, tb, h, b, lowTb, scale, outputs: [y, shares], bias } = call;
  const [M = 0, K = 0] = x.shape;
  const [, N = 0] = y.shape;
  const [, R = 0] = h.shape;
  return splitKernels(
    {
      name,
      ...{ M, N, K, tb },
      a: { value: x, stride: K },
      b: { value: w, stride: tb ? K : N },
      c: { value: y, stride: N },
      low: { a: { value: h, stride: R }, b: { value: b, stride: lowTb ? R : N }, tb: lowTb, R, alpha: scale },
      ...(bias ? { bias } : {}),
    },
    shares,
    target,
  );
}

/**
 * y[N, Out] = x·Wᵀ (+ bias) + scale·(xd·Aᵀ)·Bᵀ with x[N, In], W[Out, In], A[R, In], B[Out, R].
 * Without dropout `xd` is `x` itself, and the gradient of x is one fused product.
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
  { transposed = false, bias, scale }: LoraLinearOptions,
): Value {
  const h = matmul(xd, a, { tb: true });
  const inputs: Inputs = bias ? [x, xd, w, a, b, h, bias] : [x, xd, w, a, b, h];
  return x.graph.add(loraLinearOp, inputs, { transposed, scale })[0];
}
