// The loss of classification: logits[N, V] and one label a row. What its kernels and those of the fused form share is
// `rowKernel`, `meanFactorKernel` and `sumKernel`.
import {
  crossEntropyGradient,
  type CrossEntropyOptions as Shader,
  crossEntropyRows as rowsShader,
  type CrossEntropyRowsOptions,
  rowTrips,
} from "../../shaders/cross_entropy.ts";
import { crossEntropyMeanFactor, crossEntropySum } from "../../shaders/cross_entropy_sum.ts";
import type { LaneGroup } from "../../shaders/lib/reduce.ts";
import { dims } from "../core/dims.ts";
import { ShapeError } from "../core/errors.ts";
import { defineOp, type Kernel, type V1, type Value, type Values } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import { type Part, parts, rowRange } from "./parts.ts";
import { requireU32 } from "./require_u32.ts";
import { checkSoftcap } from "./softcap.ts";
import type { Word } from "./word.ts";

/** What a cross-entropy counts. */
export interface CrossEntropyOptions {
  /** Weight of each class, f32 [V]. */
  readonly weights?: Value;
  /** Label smoothing, in [0, 1); 0 by default. */
  readonly smoothing?: number;
  /** `mean` divides by the weights of the labels that count (their number without weights); the default. */
  readonly reduction?: "sum" | "mean";
  /** A number that multiplies the loss, such as 1 / labels of the whole accumulation window. */
  readonly scaleBy?: Word;
}

/** What the nodes of a loss keep of its options; class weights and the scale are inputs behind the first ones. */
export interface LossAttrs {
  readonly smoothing: number;
  readonly mean: boolean;
  readonly weighted: boolean;
  readonly scaled: boolean;
  readonly word: number;
  /** Bound of the logits, in the fused form. */
  readonly softcap?: number | undefined;
}

/** The attributes of a loss and its optional inputs, in their order. */
export function lossAttrs(
  op: string,
  V: number,
  { weights, smoothing = 0, reduction = "mean", scaleBy, softcap }: CrossEntropyOptions & Pick<LossAttrs, "softcap">,
): { readonly attrs: LossAttrs; readonly extra: Value[] } {
  if (!(smoothing >= 0 && smoothing < 1)) {
    throw new RangeError(`Cannot apply ${op} as smoothing must be in [0, 1): received ${smoothing}`);
  }
  checkSoftcap(softcap);
  if (weights && String(weights.shape) !== String([V])) throw new ShapeError(op, "weights", "V", weights.shape, { V });
  const attrs = {
    smoothing,
    mean: reduction === "mean",
    weighted: weights !== undefined,
    scaled: scaleBy !== undefined,
    word: scaleBy?.word ?? 0,
    ...(softcap === undefined ? {} : { softcap }),
  };
  return { attrs, extra: [...(weights ? [weights] : []), ...(scaleBy ? [scaleBy.value] : [])] };
}

/** The optional inputs again: class weights, and the word that multiplies the loss. */
export function lossInputs({ weighted, scaled, word }: LossAttrs, extra: Values): {
  readonly weights: Value | undefined;
  readonly scale: Required<Word> | undefined;
} {
  return {
    weights: weighted ? extra[0] : undefined,
    scale: scaled ? { value: extra.at(-1)!, word } : undefined,
  };
}

/** Invocations for rows of `width` words. */
export function rowGroup({ kind, subgroup, invocations }: Target, width: number): LaneGroup {
  if (kind === "software" && subgroup > 1) return { lanes: subgroup, shuffle: true };
  const useful = 2 ** Math.ceil(Math.log2(Math.max(32, width / 4)));
  return { lanes: Math.min(256, invocations, useful), shuffle: false };
}

/** A range of rows and what their kernel reads and writes. */
export interface RowCall {
  readonly V: number;
  readonly smoothing: number;
  /** Rows of `labels` and `rows` that the kernel handles. */
  readonly part: Part;
  readonly logits: Kernel["read"][number];
  /** Words from one row of logits to the next; V by default. */
  readonly stride?: number;
  readonly labels: Value;
  readonly rows: Value;
  readonly weights?: Value | undefined;
  readonly result: CrossEntropyRowsOptions["result"];
  readonly softcap?: number | undefined;
  readonly saved?: Kernel["write"][number];
  readonly factor?: Required<Word> | undefined;
  readonly rowFactor?: Value | undefined;
}

const NAN_BITS = 0x7fc00000;

/** The dispatch that turns rows of logits into losses, and into gradients where they are asked for. */
export function rowKernel(call: RowCall, target: Target): Kernel {
  const { V, stride = V, part, logits, labels, rows, weights, saved, factor, rowFactor } = call;
  const { smoothing, result, softcap } = call;
  const inPlace = result === "gradient";
  const options = {
    ...rowGroup(target, stride),
    V,
    stride,
    smoothing,
    weighted: weights !== undefined,
    factor: inPlace && factor !== undefined,
    rowFactor: inPlace && rowFactor !== undefined,
    result,
    ...(softcap === undefined ? {} : { softcap }),
  };
  return {
    name: inPlace ? "cross_entropy in place" : "cross_entropy",
    wgsl: rowsShader(options),
    read: [
      ...(inPlace ? [] : [logits]),
      labels,
      ...(weights ? [weights] : []),
      ...(inPlace && factor ? [factor.value] : []),
      ...(inPlace && rowFactor ? [rowFactor] : []),
    ],
    write: [...(inPlace ? [logits] : []), rows, ...(saved ? [saved] : [])],
    uniform: [part.hi - part.lo, part.lo, factor?.word ?? 0, NAN_BITS],
    workgroups: part.hi - part.lo,
    trips: (inPlace ? 2 : 1) * rowTrips(options) + 1,
  };
}

/** The dispatch that makes scale / (weights of the labels that count). */
export function meanFactorKernel(
  { labels, weights, scale, y }: {
    readonly labels: Value;
    readonly weights: Value | undefined;
    readonly scale: Required<Word> | undefined;
    readonly y: Value;
  },
  target: Target,
): Kernel {
  const N = labels.shape[0]!;
  const group = rowGroup(target, N);
  return {
    name: "cross_entropy mean",
    wgsl: crossEntropyMeanFactor({ group, weighted: weights !== undefined, factor: scale !== undefined }),
    read: [labels, ...(weights ? [weights] : []), ...(scale ? [scale.value] : [])],
    write: [y],
    uniform: [N, scale?.word ?? 0],
    workgroups: 1,
    trips: Math.ceil(N / group.lanes),
  };
}

/** The dispatch that makes loss[1] = factor · sum of rows[N]. */
export function sumKernel(rows: Value, y: Value, factor: Required<Word> | undefined, target: Target): Kernel {
  const N = rows.shape[0]!;
  const group = rowGroup(target, N);
  return {
    name: "cross_entropy sum",
    wgsl: crossEntropySum({ group, factor: factor !== undefined }),
    read: [rows, ...(factor ? [factor.value] : [])],
    write: [y],
    uniform: [N, factor?.word ?? 0],
    workgroups: 1,
    trips: Math.ceil(N / group.lanes),
  };
}

/** The number that multiplies the sum: the second output of a mean, a word of an input, or nothing. */
export function lossFactor(
  { attrs, outputs }: { readonly attrs: LossAttrs; readonly outputs: Values },
  extra: Values,
): Required<Word> | undefined {
  return attrs.mean ? { value: outputs[1]!, word: 0 } : lossInputs(attrs, extra).scale;
}

const sizes = ([logits, labels]: Values) =>
  dims("cross_entropy", { logits: "N V", labels: "N" }, { logits: logits!, labels: labels! });

// outputs: loss[1], factor[1], rows[N], saved[N, 2]
const crossEntropyOp = defineOp<LossAttrs, Values, Values>({
  name: "cross_entropy",
  infer(inputs) {
    const { N } = sizes(inputs);
    return [[1], [1], [N], [N, 2]].map((shape) => ({ shape, dtype: "f32" }));
  },
  kernels(node, target) {
    const { inputs: [logits, labels, ...extra], outputs: [loss, mean, rows, saved], attrs } = node;
    const { N, V } = sizes(node.inputs);
    const { weights, scale } = lossInputs(attrs, extra);
    const factor = lossFactor(node, extra);
    return [
      ...(attrs.mean ? [meanFactorKernel({ labels: labels!, weights, scale, y: mean! }, target)] : []),
      ...parts(N, V, target).map((part) =>
        rowKernel({
          V,
          smoothing: attrs.smoothing,
          part,
          logits: rowRange(logits!, N, part),
          labels: labels!,
          rows: rows!,
          weights,
          result: "saved",
          saved: rowRange(saved!, N, part),
        }, target)
      ),
      sumKernel(rows!, loss!, factor, target),
    ];
  },
  grad: [
    (node, dy) => {
      const [logits, labels, ...extra] = node.inputs;
      const factor = lossFactor(node, extra);
      const { weights } = lossInputs(node.attrs, extra);
      const inputs = [
        logits!,
        labels!,
        node.outputs[3]!,
        dy,
        ...(weights ? [weights] : []),
        ...(factor ? [factor.value] : []),
      ];
      const attrs = { ...node.attrs, scaled: factor !== undefined, word: factor?.word ?? 0 };
      return dy.graph.add(crossEntropyGradOp, inputs, attrs)[0];
    },
    null,
    null,
    null,
  ],
});

const crossEntropyGradOp = defineOp<LossAttrs, Values, V1>({
  name: "cross_entropy'",
  infer: ([logits]) => [logits!],
  kernels({ inputs, outputs: [dlogits], attrs }, target) {
    const [logits, labels, saved, dy, ...extra] = inputs;
    const { N, V } = sizes(inputs);
    const options: Shader = {
      ...rowGroup(target, V),
      V,
      smoothing: attrs.smoothing,
      weighted: attrs.weighted,
      factor: attrs.scaled,
    };
    return parts(N, V, target).map((part) => ({
      name: "cross_entropy'",
      wgsl: crossEntropyGradient(options),
      read: [rowRange(logits!, N, part), labels!, rowRange(saved!, N, part), dy!, ...extra],
      write: [rowRange(dlogits, N, part)],
      uniform: [part.hi - part.lo, part.lo, attrs.word, 0],
      workgroups: part.hi - part.lo,
      trips: rowTrips(options),
    }));
  },
});

/**
 * Cross-entropy of logits[N, V] and labels u32 [N] → loss[1], as `torch.nn.functional.cross_entropy` defines it.
 *
 * Labels of -100 (as a 32-bit word) do not count; where none counts, the loss and its gradient are zero. A label
 * outside of the classes makes the loss NaN.
 *
 * @throws {ShapeError} if a shape does not fit.
 * @throws {TypeError} if the labels are not u32.
 * @throws {RangeError} if `smoothing` is not in [0, 1).
 *
 * @example Usage
 * ```ts
 * import { crossEntropy, Graph } from "@graft/graft/ops";
 *
 * const graph = new Graph();
 * const logits = graph.leaf("param", "logits", [8, 3]);
 * const labels = graph.leaf("input", "labels", [8], { dtype: "u32" });
 * const loss = crossEntropy(logits, labels, { smoothing: 0.1 });
 * console.log(loss.shape); // [ 1 ]
 * ```
 */
export function crossEntropy(logits: Value, labels: Value, options: CrossEntropyOptions = {}): Value {
  const { V } = sizes([logits, labels]);
  requireU32("cross_entropy", { labels });
  const { attrs, extra } = lossAttrs("cross_entropy", V, options);
  return logits.graph.add(crossEntropyOp, [logits, labels, ...extra], attrs)[0]!;
}
