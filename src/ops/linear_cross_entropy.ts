// The loss of a language model: cross-entropy of hidden[N, D] · weight[V, D]ᵀ, without ever holding [N, V].
//
// Rows are taken in chunks of C. For each: logits[C, V] = h·Wᵀ, replaced in place by their gradient g, and while it is
// there dh = g·W and dW += gᵀ·h. So the forward node leaves the gradients as further outputs and the rules only multiply
// them by dy. The losses of single rows have one dy a row, so their rule runs the chunks again.
import { dims } from "../core/dims.ts";
import { defineOp, type Graph, type Kernel, type Node, type Value, type Values } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import {
  type CrossEntropyOptions,
  type LossAttrs,
  lossAttrs,
  lossFactor,
  lossInputs,
  meanFactorKernel,
  rowKernel,
  sumKernel,
} from "./cross_entropy.ts";
import { isFilledWith } from "./elementwise.ts";
import { type MatrixRef, productKernels } from "./product.ts";
import { scaleBy } from "./scale_by.ts";
import { requireU32 } from "./require_u32.ts";
import type { Word } from "./word.ts";

/** What {@linkcode linearCrossEntropy} works on. */
export interface LinearCrossEntropyInputs {
  /** f32 [N, D]. */
  readonly hidden: Value;
  /** f32 [V, D]. */
  readonly weight: Value;
  /** u32 [N]: the class of each row, -100 (as a 32-bit word) where it does not count. */
  readonly labels: Value;
  /** A number that multiplies the loss, such as 1 / labels of the whole accumulation window. */
  readonly scale?: Word;
}

/** Options of {@linkcode linearCrossEntropy}. */
export interface LinearCrossEntropyOptions extends Pick<CrossEntropyOptions, "weights" | "smoothing" | "reduction"> {
  /** The logits are softcap · tanh(hidden · weightᵀ / softcap), as in Gemma 2. */
  readonly softcap?: number | undefined;
}

/** Bytes of logits that are held at once: more rows a product on GPUs, where a product of few rows leaves cores idle. */
const CHUNK_BYTES = { software: 32 * 2 ** 20, default: 32 * 2 ** 20, gpu: 128 * 2 ** 20 } as const;

/** Chunks have a multiple of this many rows where they can, so that tiles are full. */
const ROWS = 64;

interface Chunks {
  readonly rows: number;
  /** Words from one row of logits to the next: whole vectors. */
  readonly stride: number;
}

function chunksOf(N: number, V: number, { kind, maxBinding }: Target): Chunks {
  const stride = Math.ceil(V / 4) * 4;
  const most = Math.floor(maxBinding / (4 * stride));
  if (most < 1) {
    throw new RangeError(`Cannot hold a row of ${V} logits: it exceeds one binding of ${maxBinding} bytes`);
  }
  const wanted = Math.min(most, Math.max(ROWS, Math.floor(CHUNK_BYTES[kind] / (4 * stride))));
  const grain = wanted >= ROWS ? ROWS : 1;
  const largest = Math.floor(wanted / grain) * grain;
  const even = Math.ceil(N / Math.ceil(N / largest)); // chunks of about the same size
  return { rows: Math.min(N, Math.ceil(even / grain) * grain), stride };
}

const sizes = ([hidden, weight, labels]: Values) =>
  dims("linear_cross_entropy", { hidden: "N D", weight: "V D", labels: "N" }, {
    hidden: hidden!,
    weight: weight!,
    labels: labels!,
  });

interface ChunkCall {
  readonly inputs: Values;
  readonly attrs: LossAttrs;
  readonly rows: Value;
  /** [C, stride]: holds the logits of one chunk. */
  readonly scratch: Value;
  readonly factor?: Required<Word> | undefined;
  readonly rowFactor?: Value;
  readonly dh: Value | undefined;
  readonly dW: Value | undefined;
}

function chunkKernels(
  { inputs, attrs, rows, scratch, factor, rowFactor, dh, dW }: ChunkCall,
  target: Target,
): Kernel[] {
  const { N, D, V } = sizes(inputs);
  const [hidden, weight, labels, ...extra] = inputs as [Value, Value, Value];
  const [C, stride] = scratch.shape as [number, number];
  const { weights } = lossInputs(attrs, extra);
  const W: MatrixRef = { value: weight, stride: D };
  const logits: MatrixRef = { value: scratch, stride, padded: true };
  return Array.from({ length: Math.ceil(N / C) }, (_, chunk) => {
    const part = { lo: chunk * C, hi: Math.min(N, (chunk + 1) * C) };
    const M = part.hi - part.lo;
    const h: MatrixRef = { value: hidden, offset: part.lo * D, stride: D };
    return [
      ...productKernels({ name: "logits", M, N: V, K: D, a: h, b: W, tb: true, c: logits }, target),
      rowKernel({
        V,
        stride,
        smoothing: attrs.smoothing,
        softcap: attrs.softcap,
        part,
        logits: { value: scratch, offset: 0, length: M * stride },
        labels,
        rows,
        weights,
        result: dh || dW ? "gradient" : "rows",
        factor,
        rowFactor,
      }, target),
      ...(dh
        ? productKernels({
          name: "logits' hidden",
          M,
          N: D,
          K: V,
          a: logits,
          b: W,
          c: { value: dh, offset: part.lo * D, stride: D },
        }, target)
        : []),
      ...(dW
        ? productKernels({
          name: "logits' weight",
          M: V,
          N: D,
          K: M,
          a: logits,
          ta: true,
          b: h,
          c: { value: dW, stride: D },
          accumulate: chunk > 0,
        }, target)
        : []),
    ];
  }).flat();
}

const f32 = (shape: readonly number[]) => ({ shape, dtype: "f32" }) as const;

/** Types of the row losses, the scratch, and of the gradients that something upstream asks for. */
function chunkTypes(inputs: Values) {
  const { N, V } = sizes(inputs);
  const [hidden, weight] = inputs as [Value, Value];
  const { rows, stride } = chunksOf(N, V, hidden.graph.target);
  return {
    rows: f32([N]),
    scratch: f32([rows, stride]),
    gradients: [hidden, weight].filter(({ trained }) => trained).map(({ shape }) => f32(shape)),
  };
}

/** The gradients among `outputs` from index `at` on. */
function gradientsOf([hidden, weight]: Values, outputs: Values, at: number): {
  readonly dh: Value | undefined;
  readonly dW: Value | undefined;
} {
  return {
    dh: hidden!.trained ? outputs[at] : undefined,
    dW: weight!.trained ? outputs[at + (hidden!.trained ? 1 : 0)] : undefined,
  };
}

const times = (gradient: Value, dy: Value) => isFilledWith(dy, 1) ? gradient : scaleBy(gradient, dy);

// outputs: loss[1], factor[1], rows[N], scratch[C, stride] (, dh[N, D]) (, dW[V, D])
const linearCrossEntropyOp = defineOp<LossAttrs, Values, Values>({
  name: "linear_cross_entropy",
  packed: [1],
  infer(inputs) {
    const { rows, scratch, gradients } = chunkTypes(inputs);
    return [f32([1]), f32([1]), rows, scratch, ...gradients];
  },
  kernels(node, target) {
    const { inputs, outputs, attrs } = node;
    const [, , labels, ...extra] = inputs as [Value, Value, Value];
    const [loss, mean, rows, scratch] = outputs as [Value, Value, Value, Value];
    const { weights, scale } = lossInputs(attrs, extra);
    const factor = lossFactor(node, extra);
    return [
      ...(attrs.mean ? [meanFactorKernel({ labels, weights, scale, y: mean }, target)] : []),
      ...chunkKernels({ inputs, attrs, rows, scratch, factor, ...gradientsOf(inputs, outputs, 4) }, target),
      sumKernel(rows, loss, factor, target),
    ];
  },
  grad: [
    ({ inputs, outputs }, dy) => times(gradientsOf(inputs, outputs, 4).dh!, dy),
    ({ inputs, outputs }, dy) => times(gradientsOf(inputs, outputs, 4).dW!, dy),
    null,
    null,
    null,
  ],
});

/**
 * Cross-entropy of hidden[N, D] · weight[V, D]ᵀ → loss[1], in a memory that does not grow with N · V.
 *
 * The definition is that of `crossEntropy`. If something trained lies upstream of `hidden` or `weight`, their gradients
 * are computed on the way. The op knows nothing of positions: the label of a row is what the row is to predict.
 *
 * @throws {ShapeError} if a shape does not fit.
 * @throws {TypeError} if the labels are not u32.
 * @throws {RangeError} if `smoothing` is not in [0, 1), `softcap` is not positive, or one row of logits exceeds a binding.
 *
 * @example Usage
 * ```ts
 * import { backward, Graph, linearCrossEntropy } from "@graft/graft/ops";
 *
 * const graph = new Graph();
 * const hidden = graph.leaf("param", "hidden", [512, 64]);
 * const weight = graph.leaf("weight", "lm_head.weight", [32_000, 64]);
 * const labels = graph.leaf("input", "labels", [512], { dtype: "u32" });
 * const loss = linearCrossEntropy({ hidden, weight, labels });
 * console.log(backward(graph, loss).get(hidden)?.shape); // [ 512, 64 ]
 * ```
 */
export function linearCrossEntropy(inputs: LinearCrossEntropyInputs, options: LinearCrossEntropyOptions = {}): Value {
  const { graph, list, attrs } = prepare(inputs, { ...options, ...(inputs.scale ? { scaleBy: inputs.scale } : {}) });
  return graph.add(linearCrossEntropyOp, list, attrs)[0]!;
}

/** Options of {@linkcode linearCrossEntropyRows}. */
export type LinearCrossEntropyRowsOptions = Omit<LinearCrossEntropyOptions, "reduction">;

// outputs: rows[N], scratch[C, stride]
const rowsOp = defineOp<LossAttrs, Values, Values>({
  name: "linear_cross_entropy_rows",
  packed: [1],
  infer(inputs) {
    const { rows, scratch } = chunkTypes(inputs);
    return [rows, scratch];
  },
  kernels({ inputs, outputs, attrs }, target) {
    const [rows, scratch] = outputs as [Value, Value];
    return chunkKernels({ inputs, attrs, rows, scratch, dh: undefined, dW: undefined }, target);
  },
  grad: [
    (node, dy) => gradientsOf(node.inputs, rowsGradient(node, dy), 2).dh!,
    (node, dy) => gradientsOf(node.inputs, rowsGradient(node, dy), 2).dW!,
    null,
    null,
  ],
});

function rowsGradient({ inputs, attrs }: Node<LossAttrs, Values, Values>, dy: Value): Values {
  return dy.graph.add(rowsGradOp, [...inputs, dy], attrs);
}

// inputs: those of the rows, dy[N]; outputs: rows[N], scratch[C, stride] (, dh[N, D]) (, dW[V, D])
const rowsGradOp = defineOp<LossAttrs, Values, Values>({
  name: "linear_cross_entropy_rows'",
  packed: [1],
  infer(inputs) {
    const { rows, scratch, gradients } = chunkTypes(inputs);
    return [rows, scratch, ...gradients];
  },
  kernels({ inputs, outputs, attrs }, target) {
    const [rows, scratch] = outputs as [Value, Value];
    const gradients = gradientsOf(inputs, outputs, 2);
    return chunkKernels({ inputs, attrs, rows, scratch, rowFactor: inputs.at(-1)!, ...gradients }, target);
  },
});

/**
 * Cross-entropy of each row of hidden[N, D] · weight[V, D]ᵀ → rows[N]; rows that do not count are zero.
 *
 * For perplexity by example, and for losses that weigh sequences, such as direct preference optimization: minus the
 * result is the log-probability of each label.
 *
 * @throws {ShapeError} if a shape does not fit.
 * @throws {TypeError} if the labels are not u32.
 * @throws {RangeError} if `smoothing` is not in [0, 1), `softcap` is not positive, or one row of logits exceeds a binding.
 */
export function linearCrossEntropyRows(
  inputs: Omit<LinearCrossEntropyInputs, "scale">,
  options: LinearCrossEntropyRowsOptions = {},
): Value {
  const { graph, list, attrs } = prepare(inputs, { ...options, reduction: "sum" });
  return graph.add(rowsOp, list, attrs)[0]!;
}

function prepare(
  { hidden, weight, labels }: LinearCrossEntropyInputs,
  options: CrossEntropyOptions & Pick<LinearCrossEntropyOptions, "softcap">,
): {
  readonly graph: Graph;
  readonly list: Value[];
  readonly attrs: LossAttrs;
} {
  const list = [hidden, weight, labels];
  requireU32("linear_cross_entropy", { labels });
  const { attrs, extra } = lossAttrs("linear_cross_entropy", sizes(list).V, options);
  return { graph: hidden.graph, list: [...list, ...extra], attrs };
}
