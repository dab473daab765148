// DoRA's factors c = m / ‖W + s·B·A‖ of every row, without that matrix; equations in shaders/dora_scale.ts.
import { DORA_LANES, doraScale as shader } from "../../shaders/dora_scale.ts";
import { dims, size } from "../core/dims.ts";
import { defineOp, floatBits, type V2, type V5, type Value } from "../graph/graph.ts";
import { fill, multiply } from "./elementwise.ts";
import { matmul } from "./matmul.ts";

const sizes = ([m, square, b, g, h]: V5): { readonly Out: number; readonly R: number } =>
  dims("doraScale", { m: "Out", square: "Out", b: "Out R", g: "R Out", h: "R Out" }, { m, square, b, g, h });

const doraScaleOp = defineOp<{ readonly scale: number }, V5, V2>({
  name: "doraScale",
  infer(inputs) {
    const { Out } = sizes(inputs);
    return [{ shape: [Out], dtype: "f32" }, { shape: [Out], dtype: "f32" }];
  },
  kernels({ inputs, outputs, attrs: { scale } }) {
    const { Out, R } = sizes(inputs);
    return [{
      name: "dora scale",
      wgsl: shader({ R }),
      read: inputs,
      write: outputs,
      uniform: [Out, floatBits(scale)],
      workgroups: Math.ceil(Out / DORA_LANES),
      trips: R,
    }];
  },
  // The norm counts as a constant (section 4.3 of the paper), so that only m has a gradient.
  grad: [
    ({ outputs: [, inverse] }, dc) => multiply(dc, inverse),
    () => undefined,
    () => undefined,
    () => undefined,
    () => undefined,
  ],
});

/** What {@linkcode doraScale} reads. */
export interface DoraScaleInputs {
  /** m[Out]. */
  readonly magnitude: Value;
  /** W[Out, In], or [In, Out] when transposed; may be packed. */
  readonly weight: Value;
  /** ‖W‖² of every row, [Out]. */
  readonly square: Value;
  /** A[R, In]. */
  readonly a: Value;
  /** B[Out, R]. */
  readonly b: Value;
}

/**
 * c[Out] = m / ‖W + scale·B·A‖, the norms being those of rows of Out. They count as constants: only m gets a gradient.
 * W is read once, for R rows of a product.
 *
 * @throws {ShapeError} if the shapes do not fit.
 */
export function doraScale(
  { magnitude, weight, square, a, b }: DoraScaleInputs,
  { transposed = false, scale }: { readonly transposed?: boolean; readonly scale: number },
): Value {
  const g = matmul(a, weight, { tb: !transposed });
  const h = matmul(matmul(a, a, { tb: true }), b, { tb: true });
  return magnitude.graph.add(doraScaleOp, [magnitude, square, b, g, h], { scale })[0];
}

/**
 * c[Out] = m / √square: the same where the norms are known already.
 *
 * @throws {ShapeError} if the shapes do not fit.
 */
export function gainsOf(magnitude: Value, square: Value): Value {
  const { graph } = magnitude, Out = size(magnitude.shape);
  const down = fill(graph, [Out, 1], 0), none = fill(graph, [1, Out], 0);
  return graph.add(doraScaleOp, [magnitude, square, down, none, none], { scale: 0 })[0];
}
