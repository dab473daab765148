// Products of matrices as graph ops: the plain product with its four transposes, and the linear map.
import { dims } from "../core/dims.ts";
import { ShapeError } from "../core/errors.ts";
import type { V2, Value } from "../graph/graph.ts";
import { columnSum } from "./column_sum.ts";
import { productOp } from "./epilogue.ts";
import { productTypes } from "./product_split.ts";

/** Options of {@linkcode matmul}. */
export interface MatmulOptions {
  /** a is stored [K, M]. */
  readonly ta?: boolean;
  /** b is stored [N, K]. */
  readonly tb?: boolean;
  /** Factor on the product. */
  readonly alpha?: number;
}

function sizes([a, b]: V2, { ta, tb }: MatmulOptions): { readonly M: number; readonly N: number; readonly K: number } {
  return dims("matmul", { a: ta ? "K M" : "M K", b: tb ? "N K" : "K N" }, { a, b });
}

// c = alpha·a·b   ⇒   da = alpha·dc·bᵀ,  db = alpha·aᵀ·dc.   An operand stored transposed swaps the factors.
const matmulOp = productOp<Required<MatmulOptions>, V2>({
  name: "matmul",
  packed: [1],
  infer(inputs, attrs) {
    return productTypes({ ...sizes(inputs, attrs), ...attrs }, inputs[0].graph.target);
  },
  call({ inputs: [a, b], outputs: [c], attrs }) {
    const { M, N, K } = sizes([a, b], attrs);
    const { ta, tb, alpha } = attrs;
    return {
      name: `matmul ${ta ? "t" : "n"}${tb ? "t" : "n"}`,
      ...{ M, N, K, ta, tb, alpha },
      a: { value: a, stride: ta ? M : K },
      b: { value: b, stride: tb ? K : N },
      c: { value: c, stride: N },
    };
  },
  grad: [
    ({ inputs: [, b], attrs: { ta, tb, alpha } }, dc) =>
      ta ? matmul(b, dc, { ta: tb, tb: true, alpha }) : matmul(dc, b, { tb: !tb, alpha }),
    ({ inputs: [a], attrs: { ta, tb, alpha } }, dc) =>
      tb ? matmul(dc, a, { ta: true, tb: ta, alpha }) : matmul(a, dc, { ta: !ta, alpha }),
  ],
});

/**
 * c[M, N] = alpha · a[M, K] · b[K, N]; `ta`, `tb` say that an operand is stored transposed.
 *
 * @throws {ShapeError} if the shapes do not fit.
 *
 * @example Usage
 * ```ts
 * import { Graph, matmul } from "@graft/graft/ops";
 *
 * const graph = new Graph();
 * const a = graph.leaf("input", "a", [2, 3]);
 * const b = graph.leaf("input", "b", [4, 3]);
 *
 * console.log(matmul(a, b, { tb: true }).shape); // [2, 4]
 * ```
 */
export function matmul(a: Value, b: Value, { ta = false, tb = false, alpha = 1 }: MatmulOptions = {}): Value {
  return a.graph.add(matmulOp, [a, b], { ta, tb, alpha })[0];
}

/** Options of {@linkcode linear}. */
export interface LinearOptions {
  /** W is stored [In, Out] (GPT-2's Conv1D) instead of [Out, In]. */
  readonly transposed?: boolean;
  /** bias[Out]. */
  readonly bias?: Value;
}

interface LinearAttrs {
  readonly transposed: boolean;
}

// dx = dy·W,  dW = dyᵀ·x (stored like W),  dbias = column sums of dy.
const linearOp = productOp<LinearAttrs, readonly [x: Value, w: Value, ...bias: Value[]]>({
  name: "linear",
  packed: [1],
  infer([x, w, bias], { transposed }) {
    const { N, In, Out } = dims("linear", { x: "N In", w: transposed ? "In Out" : "Out In" }, { x, w });
    if (bias && String(bias.shape) !== String([Out])) {
      throw new ShapeError("linear", "bias", "Out", bias.shape, { Out });
    }
    return productTypes({ M: N, N: Out, K: In, tb: !transposed }, x.graph.target);
  },
  call({ inputs: [x, w, bias], outputs: [y], attrs: { transposed } }) {
    const [M = 0, K = 0] = x.shape;
    const [, N = 0] = y.shape;
    return {
      name: "linear",
      ...{ M, N, K, tb: !transposed },
      a: { value: x, stride: K },
      b: { value: w, stride: transposed ? N : K },
      c: { value: y, stride: N },
      ...(bias ? { bias } : {}),
    };
  },
  grad: [
    ({ inputs: [, w], attrs: { transposed } }, dy) => matmul(dy, w, { tb: transposed }),
    ({ inputs: [x], attrs: { transposed } }, dy) =>
      transposed ? matmul(x, dy, { ta: true }) : matmul(dy, x, { ta: true }),
    (_, dy) => columnSum(dy),
  ],
});

/**
 * y[N, Out] = x[N, In]·W[Out, In]ᵀ + bias[Out].
 *
 * @throws {ShapeError} if the shapes do not fit.
 *
 * @example Usage
 * ```ts
 * import { Graph, linear } from "@graft/graft/ops";
 *
 * const graph = new Graph();
 * const x = graph.leaf("input", "x", [5, 3]);
 * const w = graph.leaf("param", "w", [4, 3]);
 * const y = linear(x, w);
 *
 * console.log(y.shape); // [5, 4]
 * ```
 */
export function linear(x: Value, w: Value, { transposed = false, bias }: LinearOptions = {}): Value {
  return x.graph.add(linearOp, bias ? [x, w, bias] : [x, w], { transposed })[0];
}
