// Several products between columns or rows of the same two matrices, as one dispatch (and one that adds shares).
import { defineOp, type V2, type Value } from "../graph/graph.ts";
import type { ProductCall, ProductPart } from "./product.ts";
import { type ProductOutputs, productTypes, splitKernels } from "./product_split.ts";

/** Options of {@linkcode matmulParts}. */
export interface MatmulPartsOptions {
  /** What profiles call it. */
  readonly name: string;
  /** Every part of a is stored [K, M]. */
  readonly ta?: boolean;
  /** Factor on the products. */
  readonly alpha: number;
  /** Shape of the result; the parts cover it. */
  readonly shape: readonly [number, number];
  readonly parts: readonly ProductPart[];
}

const partsOp = defineOp<MatmulPartsOptions, V2, ProductOutputs>({
  name: "matmul_parts",
  infer: ([{ graph }], { ta = false, shape, parts }) =>
    productTypes({ ...largest(parts), ta, parts }, graph.target, shape),
  kernels({ inputs: [a, b], outputs: [c, shares], attrs: { name, ta = false, alpha, parts } }, target) {
    const matrix = (value: Value) => ({ value, stride: value.shape[1]! });
    const call: ProductCall = {
      ...{ name, ...largest(parts), ta, alpha, parts },
      ...{ a: matrix(a), b: matrix(b), c: matrix(c) },
    };
    return splitKernels(call, shares, target);
  },
});

/** The largest size in each dimension. */
export function largest(parts: readonly ProductPart[]): { readonly M: number; readonly N: number; readonly K: number } {
  const most = (of: (part: ProductPart) => number) => Math.max(...parts.map(of));
  return { M: most(({ M }) => M), N: most(({ N }) => N), K: most(({ K }) => K) };
}

/** The products of the parts of a and b, each written to its part of the result. There is no gradient. */
export function matmulParts(a: Value, b: Value, options: MatmulPartsOptions): Value {
  return a.graph.add(partsOp, [a, b], options)[0];
}
