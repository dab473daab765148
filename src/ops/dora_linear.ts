// A linear map with DoRA's gains (arXiv:2402.09353), at LoRA's price: the gains scale the rows of W and B, which are
// smaller than y, so that forward and backward are LoRA's fused products.
//
//   y  = x·W'ᵀ + s·h·B'ᵀ (+ bias)     W' = c ⊙ W,  B' = c ⊙ B,  h = x·Aᵀ;  gains c[Out]
//   dx = dy·W' + dh·A                 dh = s·dy·B'      dA = dhᵀ·x      dB = c ⊙ (s·dyᵀ·h)
//   dc = (Σ_n dy·y − bias·Σ_n dy) / c        since y − bias = c ⊙ z, and dc = Σ_n dy·z
//
// W' is made again for the gradient: kept, all of them would be a second copy of the model.
import { dims } from "../core/dims.ts";
import { ShapeError } from "../core/errors.ts";
import { defineOp, type Kernel, type V2, type V4, type Value } from "../graph/graph.ts";
import { broadcastKernels } from "./broadcast.ts";
import { columnScratch, columnSum, columnSumKernels } from "./column_sum.ts";
import { detach } from "./detach.ts";
import { elementwiseKernels } from "./elementwise.ts";
import { productOp } from "./epilogue.ts";
import { fusedCall, fusedGradient } from "./lora_linear.ts";
import { matmul } from "./matmul.ts";
import { productTypes } from "./product_split.ts";
import { scaleRows } from "./scale_columns.ts";

/** Options of {@linkcode doraLinear}. */
export interface DoraLinearOptions {
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

type Inputs = readonly [x: Value, w: Value, scaled: Value, a: Value, b: Value, h: Value, c: Value, ...bias: Value[]];

const weightOp = defineOp<
  { readonly transposed: boolean; readonly pass: "forward" | "backward" },
  V2,
  readonly [Value]
>({
  name: "doraWeight",
  infer: ([w]) => [w],
  kernels({ inputs: [w, c], outputs: [output], attrs: { transposed } }, target): Kernel[] {
    const operands = { w: ["matrix", w], c: [transposed ? "columns" : "rows", c] } as const;
    return broadcastKernels({ name: "dora weight", D: w.shape[1]!, operands, expression: "w * c", output }, target);
  },
});

const doraLinearOp = productOp<Attrs, Inputs>({
  name: "dora_linear",
  infer([x, w, , a, b, h, c, bias], { transposed }) {
    const patterns = { x: "N In", w: transposed ? "In Out" : "Out In", a: "R In", b: "Out R", h: "N R", c: "Out" };
    const { N, In, Out } = dims("dora_linear", patterns, { x, w, a, b, h, c }) as Record<"N" | "In" | "Out", number>;
    if (bias && String(bias.shape) !== String([Out])) {
      throw new ShapeError("dora_linear", "bias", "Out", bias.shape, { Out });
    }
    return productTypes({ M: N, N: Out, K: In, tb: !transposed }, x.graph.target);
  },
  call({ inputs: [x, , w, , b, h, , bias], outputs: [y], attrs: { transposed, scale } }) {
    const R = b.shape[1]!;
    return fusedCall("dora linear", {
      ...{ x, w, tb: !transposed, h, b, lowTb: true, R, scale, y },
      ...(bias ? { bias } : {}),
    });
  },
  grad: [
    ({ inputs: [, w, , a, b, , c], attrs }, dy) =>
      fusedGradient(
        dy,
        scaledWeight(w, detach(c), { ...attrs, pass: "backward" }),
        dh(dy, b, attrs),
        a,
        attrs.transposed,
      ),
    null,
    null,
    ({ inputs: [x, , , , b], attrs }, dy) => matmul(dh(dy, b, attrs), x, { ta: true }),
    ({ inputs: [, , , , , h], attrs: { scale } }, dy) => matmul(dy, h, { ta: true, alpha: scale }),
    () => undefined, // counted by the rules of x and a
    ({ inputs: [, , , , , , c, bias], outputs: [y] }, dy) =>
      bias
        ? dy.graph.add(biasedGainOp, [columnDot(dy, y), columnSum(dy), bias, c], null)[0]
        : dy.graph.add(gainOp, [columnDot(dy, y), c], null)[0],
    (_, dy) => columnSum(dy),
  ],
});

function dh(dy: Value, b: Value, { scale }: Attrs): Value {
  return matmul(dy, b, { alpha: scale });
}

function scaledWeight(
  w: Value,
  c: Value,
  { transposed, pass }: { readonly transposed: boolean; readonly pass: "forward" | "backward" },
): Value {
  return w.graph.add(weightOp, [w, c], { transposed, pass })[0];
}

const columnDotOp = defineOp<null, V2, V2>({
  name: "columnDot",
  infer([dy]) {
    const [N, D] = dy.shape as [number, number];
    return [{ shape: [D], dtype: "f32" }, columnScratch(N, D, dy.graph.target)];
  },
  kernels: ({ inputs: [dy, y], outputs: [output, scratch] }, target) =>
    columnSumKernels({ name: "column dot", matrices: { dy, y }, term: "dy * y", output, scratch }, target),
});

/** Σ_n dy[n, d]·y[n, d]. */
function columnDot(dy: Value, y: Value): Value {
  return dy.graph.add(columnDotOp, [dy, y], null)[0];
}

// A gain of zero makes zeros, which say nothing about its gradient: it stays zero.
const quotient = (sum: string) => `select(${sum} / c, vec4f(), c == vec4f())`;

const gainOp = defineOp<null, V2, readonly [Value]>({
  name: "doraGain",
  infer: ([sum]) => [sum],
  kernels: ({ inputs, outputs: [output] }, target) =>
    elementwiseKernels({ name: "dora dc", reads: ["s", "c"], expression: quotient("s"), inputs, output }, target),
});

const biasedGainOp = defineOp<null, V4, readonly [Value]>({
  name: "doraGainBias",
  infer: ([sum]) => [sum],
  kernels: ({ inputs, outputs: [output] }, target) =>
    elementwiseKernels(
      { name: "dora dc", reads: ["s", "t", "b", "c"], expression: quotient("(s - b * t)"), inputs, output },
      target,
    ),
});

/**
 * y[N, Out] = c ⊙ (x·Wᵀ + scale·(x·Aᵀ)·Bᵀ) (+ bias) with x[N, In], W[Out, In] (not packed), A[R, In], B[Out, R] and
 * gains c[Out].
 *
 * @throws {ShapeError} if the shapes do not fit.
 */
export function doraLinear(
  x: Value,
  w: Value,
  { a, b, c }: { readonly a: Value; readonly b: Value; readonly c: Value },
  { transposed = false, bias, scale }: DoraLinearOptions,
): Value {
  const h = matmul(x, a, { tb: true }), fixed = detach(c);
  const scaled = scaledWeight(w, fixed, { transposed, pass: "forward" });
  const inputs: Inputs = [x, w, scaled, a, scaleRows(b, fixed), h, c, ...(bias ? [bias] : [])];
  return x.graph.add(doraLinearOp, inputs, { transposed, scale })[0];
}
