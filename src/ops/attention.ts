// Attention of grouped query heads. Three forms: without scores in memory, which keeps one number a row for the gradient
// (attention_flash.ts, on GPUs); with scores that one dispatch makes and uses (attention_strips.ts, on the software
// driver); and as products around a softmax (attention_kernels.ts), for whatever the others do not cover.
import type { TensorType } from "../core/dims.ts";
import { ShapeError } from "../core/errors.ts";
import { defineOp, type Kernel, type Rule, type Value, type Values } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import { flashForwardKernels, flashTile } from "./attention_flash.ts";
import { attentionGrad, type Of } from "./attention_grad.ts";
import { forwardKernels, scoresPitch } from "./attention_kernels.ts";
import { stripForwardKernel, stripTile, stripTypes } from "./attention_strips.ts";
import { type AttentionAttrs, type AttentionSizes, columns, heads, keyHeads, optional } from "./attention_sizes.ts";
import { checkSoftcap } from "./softcap.ts";

/** Sizes of {@linkcode attention}, and which keys a row sees. */
export interface AttentionOptions extends Omit<AttentionSizes, "scale" | "S"> {
  /** Factor on the scores: 1 / sqrt(E) by default. */
  readonly scale?: number;
  /** Keys of a sequence where they are those of another one (cross attention): T by default. */
  readonly S?: number;
}

/** What {@linkcode attention} reads; N = B·T rows, head h at columns h·E. */
export interface AttentionInputs {
  /** Queries [N, H·E]. */
  readonly q: Value;
  /** Keys [B·S, K·E]. */
  readonly k: Value;
  /** Values [B·S, K·E]. */
  readonly v: Value;
  /** Which keys are real (1) and which padding (0), u32 [B, S]; padding may be left or right. */
  readonly mask?: Value | undefined;
  /** Added to the scaled scores of every sequence, [H, T, S]: T5's relative bias, ALiBi. */
  readonly bias?: Value | undefined;
}

function sizesOf({ scale, S, ...rest }: AttentionOptions): AttentionSizes {
  const { T, H, K, E, causal, window, softcap } = rest;
  if (H % K !== 0) throw new RangeError(`Cannot group ${H} query heads over ${K} key heads: K must divide H`);
  if (window !== undefined && !(causal && Number.isInteger(window) && window > 0)) {
    throw new RangeError(`Cannot use ${window} as window: it must be a positive integer, and the attention causal`);
  }
  if (causal && (S ?? T) !== T) {
    throw new RangeError(`Cannot see ${S} keys from ${T} rows in order: a causal attention needs as many keys as rows`);
  }
  checkSoftcap(softcap);
  return { ...rest, S: S ?? T, scale: scale ?? 1 / Math.sqrt(E) };
}

function checkOperands(
  op: string,
  { mask, bias }: Pick<AttentionInputs, "mask" | "bias">,
  { B, T, S, H, softcap }: AttentionSizes,
): void {
  if (mask && mask.dtype !== "u32") {
    throw new TypeError(`Cannot apply ${op} as mask must be u32: received ${mask.dtype}`);
  }
  if (mask && String(mask.shape) !== String([B, S])) throw new ShapeError(op, "mask", "B S", mask.shape, { B, S });
  if (bias && String(bias.shape) !== String([H, T, S])) {
    throw new ShapeError(op, "bias", "H T S", bias.shape, { H, T, S });
  }
  if (bias && softcap !== undefined) {
    throw new RangeError(`Cannot apply ${op} with both a bias and a softcap: leave one of them out`);
  }
}

function checkRows(op: string, name: string, value: Value, expected: Readonly<Record<string, number>>): void {
  if (String(value.shape) === String(Object.values(expected))) return;
  throw new ShapeError(op, name, Object.keys(expected).join(" "), value.shape, expected);
}

/** The result, and what the gradient needs: L [B·H, T], or s [B·H, S, C] and L, or P [B·H, T, C], with softcap beside L. */
function outputs(attrs: AttentionAttrs, target: Target): TensorType[] {
  const { B, T, S, H, E, softcap } = attrs;
  const type = (...shape: number[]): TensorType => ({ shape, dtype: "f32" });
  const o = type(B * T, H * E), L = type(B * H, T);
  if (flashTile(attrs, target)) return [o, L];
  if (stripTile(attrs, target)) return [o, ...stripTypes(attrs)];
  const P = type(B * H, T, scoresPitch(S));
  return softcap === undefined ? [o, P] : [o, P, L];
}

function kernels(
  node: { readonly inputs: Values; readonly outputs: Values; readonly attrs: AttentionAttrs },
  target: Target,
): Kernel[] {
  const { inputs, outputs: [o, kept, L], attrs } = node;
  const [q, k, v] = inputs;
  const matrices = attrs.packed
    ? columns(q!, attrs)
    : { q: heads(q!, attrs), k: keyHeads(k!, attrs), v: keyHeads(v!, attrs) };
  if (flashTile(attrs, target)) {
    const all = { ...matrices, o: heads(o!, attrs) };
    const call = { matrices: all, packed: attrs.packed, ...optional(inputs, attrs), stats: kept! };
    return flashForwardKernels(call, attrs, target);
  }
  const tile = stripTile(attrs, target);
  if (tile) {
    const { mask } = optional(inputs, attrs);
    return [stripForwardKernel({ ...matrices, mask, o: heads(o!, attrs), s: kept!, L: L! }, attrs, tile)];
  }
  return forwardKernels({ ...matrices, ...optional(inputs, attrs), P: kept!, L, o: o! }, attrs, target);
}

const rule = (of: Of): Rule<AttentionAttrs, Values, Values> => (node, dO) => attentionGrad(of, node, dO);

const attentionOp = defineOp<AttentionAttrs, Values, Values>({
  name: "attention",
  infer: ([q], attrs) => outputs(attrs, q!.graph.target),
  kernels,
  // The fourth input is the mask, which is never trained, or the bias.
  grad: [rule("query"), rule("key"), rule("value"), rule("bias"), rule("bias")],
});

const packedOp = defineOp<AttentionAttrs, Values, Values>({
  name: "attentionPacked",
  infer: ([qkv], attrs) => outputs(attrs, qkv!.graph.target),
  kernels,
  grad: [rule("packed"), rule("bias"), rule("bias")],
});

/**
 * o[N, H·E]: every row of q[N, H·E] sees keys k[B·S, K·E] of its sequence and returns the mean of v[B·S, K·E], weighted
 * by softmax(scale · q·k + bias). N = B·T; S = T unless the keys are those of another sequence. A row that sees no key
 * returns zeros and gets no gradient. GPUs keep no scores in memory (arXiv:2205.14135).
 *
 * @throws {ShapeError} if a value has another shape.
 * @throws {RangeError} if K does not divide H, the window is not a positive integer of a causal attention, a causal
 * attention has S other than T, softcap is not positive, or there are both softcap and bias.
 *
 * @example Usage
 * ```ts
 * import { attention, Graph } from "@graft/graft/ops";
 *
 * const graph = new Graph();
 * const [B, T, H, K, E] = [2, 16, 8, 4, 8];
 * const q = graph.leaf("input", "q", [B * T, H * E]);
 * const k = graph.leaf("input", "k", [B * T, K * E]);
 * const v = graph.leaf("input", "v", [B * T, K * E]);
 * console.log(attention({ q, k, v }, { B, T, H, K, E, causal: true }).shape);
 * ```
 */
export function attention({ q, k, v, mask, bias }: AttentionInputs, options: AttentionOptions): Value {
  const sizes = sizesOf(options);
  const { B, T, S, H, K, E } = sizes;
  checkRows("attention", "q", q, { "B·T": B * T, columns: H * E });
  checkRows("attention", "k", k, { "B·S": B * S, columns: K * E });
  checkRows("attention", "v", v, { "B·S": B * S, columns: K * E });
  checkOperands("attention", { mask, bias }, sizes);
  const attrs = { ...sizes, packed: false, mask: mask !== undefined, bias: bias !== undefined };
  return q.graph.add(attentionOp, [q, k, v, ...mask ? [mask] : [], ...bias ? [bias] : []], attrs)[0]!;
}

/** What {@linkcode attentionPacked} reads. */
export interface AttentionPackedInputs extends Pick<AttentionInputs, "mask" | "bias"> {
  /** Queries, keys and values [N, (H + 2·K)·E]. */
  readonly qkv: Value;
}

/**
 * {@linkcode attention} of qkv[N, (H + 2·K)·E], whose columns are the queries, the keys and the values: how GPT-2 and
 * Phi-3 project them. The gradient is one value too.
 *
 * @throws {ShapeError} if a value has another shape.
 * @throws {RangeError} as {@linkcode attention} does.
 */
export function attentionPacked(
  { qkv, mask, bias }: AttentionPackedInputs,
  options: Omit<AttentionOptions, "S">,
): Value {
  const sizes = sizesOf(options);
  const { B, T, H, K, E } = sizes;
  checkRows("attentionPacked", "qkv", qkv, { "B·T": B * T, columns: (H + 2 * K) * E });
  checkOperands("attentionPacked", { mask, bias }, sizes);
  const attrs = { ...sizes, packed: true, mask: mask !== undefined, bias: bias !== undefined };
  return qkv.graph.add(packedOp, [qkv, ...mask ? [mask] : [], ...bias ? [bias] : []], attrs)[0]!;
}
