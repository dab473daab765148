// Gradients of attention, in its three forms: computed again from L and δ, from scores in memory, or from probabilities
// in memory. Rules of one node share what they add to the graph: identical nodes are one.
import { defineOp, type V1, type V2, type V3, type Value, type Values } from "../graph/graph.ts";
import {
  flashBiasGradKernels,
  flashDeltaKernels,
  flashKeyGradKernels,
  flashQueryGradKernels,
  flashTile,
} from "./attention_flash.ts";
import type { FlashCall } from "./attention_flash_cut.ts";
import { biasGradKernels, queryGradKernels, scoresGradKernels, sharedGradKernels } from "./attention_kernels.ts";
import { type AttentionAttrs, columns, heads, keyHeads, optional } from "./attention_sizes.ts";
import { stripKeyGradKernel, stripQueryGradKernel, stripTile, stripTypes } from "./attention_strips.ts";
import type { StripTile } from "../../shaders/lib/strips.ts";
import type { Target } from "../graph/target.ts";

/** What a gradient is wanted of; all of `packed` are one value. */
export type Of = "query" | "key" | "value" | "packed" | "bias";

/** An attention in the graph: [q, k, v] or [qkv], (mask), (bias) → o, and L, s and L, P, or P and L. */
export interface Applied {
  readonly inputs: Values;
  readonly outputs: Values;
  readonly attrs: AttentionAttrs;
}

/** The gradient of one operand. */
export function attentionGrad(of: Of, { inputs, outputs, attrs }: Applied, dO: Value): Value {
  const { graph } = dO, [o, kept, L] = outputs;
  if (flashTile(attrs, graph.target)) {
    const stats = graph.add(deltaOp, [o!, dO, kept!], attrs)[0];
    const all = [...inputs, dO, stats];
    if (of === "bias") return graph.add(flashBiasGradOp, all, attrs)[0];
    if (of === "packed") return graph.add(flashPackedGradOp, all, attrs)[0];
    if (of === "query") return graph.add(flashQueryGradOp, all, attrs)[0];
    return graph.add(flashKeyGradOp, all, attrs)[of === "key" ? 0 : 1];
  }
  if (stripTile(attrs, graph.target)) {
    const [q, k, v] = inputs;
    if (of === "packed") return graph.add(stripPackedGradOp, [q!, dO, o!, kept!, L!], attrs)[0];
    if (of === "value") return graph.add(stripKeyGradOp, [kept!, L!, dO], { ...attrs, of })[0];
    const [dq, dA] = graph.add(stripQueryGradOp, [dO, v!, k!, o!, kept!, L!], attrs);
    return of === "key" ? graph.add(stripKeyGradOp, [dA!, L!, q!], { ...attrs, of })[0] : dq!;
  }
  if (of === "value") return graph.add(headGradOp, [kept!, dO], { ...attrs, of })[0];
  const v = inputs[attrs.packed ? 0 : 2]!;
  const dA = graph.add(scoresGradOp, [v, dO, kept!, ...L ? [L] : []], attrs)[0];
  if (of === "bias") return graph.add(biasGradOp, [dA], attrs)[0];
  if (of === "packed") return graph.add(packedGradOp, [v, dO, kept!, dA], attrs)[0];
  return graph.add(headGradOp, [dA, inputs[of === "query" ? 1 : 0]!], { ...attrs, of })[0];
}

const biasShape = ({ H, T, S }: AttentionAttrs) => [{ shape: [H, T, S], dtype: "f32" as const }] as const;

// From scores in memory.

const stripQueryGradOp = defineOp<AttentionAttrs, Values, V2>({
  name: "attentionQueryGrad",
  infer: ([dO], attrs) => [dO!, stripTypes(attrs)[0]],
  kernels({ inputs: [dO, v, k, o, s, L], outputs: [dq, dA], attrs }, target) {
    const matrices = { dO: heads(dO!, attrs), v: keyHeads(v!, attrs), k: keyHeads(k!, attrs), dq: heads(dq, attrs) };
    return [stripQueryGradKernel({ ...matrices, o: o!, s: s!, L: L!, dA }, attrs, stripOf(attrs, target))];
  },
});

/** Of k from dA and q, or of v from s and dO. */
const stripKeyGradOp = defineOp<AttentionAttrs & { readonly of: "key" | "value" }, V3, V1>({
  name: "attentionKeyGrad",
  infer: (_, { B, S, K, E }) => [{ shape: [B * S, K * E], dtype: "f32" }],
  kernels({ inputs: [weights, L, by], outputs: [d], attrs: { of, ...attrs } }, target) {
    const call = { of, weights, L, by: heads(by, attrs), output: keyHeads(d, attrs) };
    return [stripKeyGradKernel(call, attrs, stripOf(attrs, target))];
  },
});

const stripPackedGradOp = defineOp<AttentionAttrs, Values, V2>({
  name: "attentionPackedGrad",
  infer: ([qkv], attrs) => [qkv!, stripTypes(attrs)[0]],
  kernels({ inputs: [qkv, dO, o, s, L], outputs: [d, dA], attrs }, target) {
    const { q, k, v } = columns(qkv!, attrs), to = columns(d, attrs), by = heads(dO!, attrs);
    const tile = stripOf(attrs, target);
    return [
      stripQueryGradKernel({ dO: by, v, k, o: o!, s: s!, L: L!, dq: to.q, dA }, attrs, tile),
      stripKeyGradKernel({ of: "key", weights: dA, L: L!, by: q, output: to.k }, attrs, tile),
      stripKeyGradKernel({ of: "value", weights: s!, L: L!, by, output: to.v }, attrs, tile),
    ];
  },
});

function stripOf(attrs: AttentionAttrs, target: Target): StripTile {
  const tile = stripTile(attrs, target);
  if (!tile) throw new RangeError(`Cannot use strips for heads of ${attrs.E} on this device`);
  return tile;
}

// From probabilities in memory.

const scoresGradOp = defineOp<AttentionAttrs, Values, V1>({
  name: "attentionScoresGrad",
  infer: ([, , P]) => [P!],
  kernels({ inputs: [v, dO, P, L], outputs: [dA], attrs }, target) {
    const values = attrs.packed ? columns(v!, attrs).v : keyHeads(v!, attrs);
    return scoresGradKernels({ v: values, dO: dO!, P: P!, L, dA }, attrs, target);
  },
});

const headGradOp = defineOp<AttentionAttrs & { readonly of: "query" | "key" | "value" }, V2, V1>({
  name: "attentionHeadGrad",
  infer: (_, { of, B, T, S, H, K, E }) => [{
    shape: of === "query" ? [B * T, H * E] : [B * S, K * E],
    dtype: "f32",
  }],
  kernels({ inputs: [scores, by], outputs: [d], attrs: { of, ...sizes } }, target) {
    if (of === "query") {
      return queryGradKernels({ scores, by: keyHeads(by, sizes), output: heads(d, sizes) }, sizes, target);
    }
    const call = { scores, by: heads(by, sizes), output: keyHeads(d, sizes) };
    const alpha = of === "key" ? sizes.scale : 1;
    return sharedGradKernels({ name: `attention ${of} gradient`, ...call, alpha }, sizes, target);
  },
});

const packedGradOp = defineOp<AttentionAttrs, readonly [Value, Value, Value, Value], V1>({
  name: "attentionPackedGrad",
  infer: ([qkv]) => [qkv],
  kernels({ inputs: [qkv, dO, P, dA], outputs: [d], attrs }, target) {
    const { q, k } = columns(qkv, attrs), output = columns(d, attrs);
    const key = { name: "attention key gradient", scores: dA, by: q, output: output.k, alpha: attrs.scale };
    const value = { name: "attention value gradient", scores: P, by: heads(dO, attrs), output: output.v };
    return [
      ...queryGradKernels({ scores: dA, by: k, output: output.q }, attrs, target),
      ...sharedGradKernels(key, attrs, target),
      ...sharedGradKernels(value, attrs, target),
    ];
  },
});

const biasGradOp = defineOp<AttentionAttrs, V1, V1>({
  name: "attentionBiasGrad",
  infer: (_, attrs) => biasShape(attrs),
  kernels: ({ inputs: [dA], outputs: [dbias], attrs }, target) => biasGradKernels(dA, dbias, attrs, target),
});

// Computed again.

const deltaOp = defineOp<AttentionAttrs, V3, V1>({
  name: "attentionDelta",
  infer: (_, { B, H, T }) => [{ shape: [B * H, T, 2], dtype: "f32" }],
  kernels: ({ inputs: [o, dO, L], outputs: [stats], attrs }, target) =>
    flashDeltaKernels({ o, dO, L, stats }, attrs, target),
});

/** Inputs of an attention, then dO and stats. */
function flashCall(inputs: Values, attrs: AttentionAttrs, dbias?: Value): FlashCall {
  const [dO, stats] = inputs.slice(-2);
  const [q, k, v] = inputs;
  const matrices = attrs.packed
    ? columns(q!, attrs)
    : { q: heads(q!, attrs), k: keyHeads(k!, attrs), v: keyHeads(v!, attrs) };
  return {
    matrices: { ...matrices, dO: heads(dO!, attrs) },
    packed: attrs.packed,
    ...optional(inputs, attrs),
    stats: stats!,
    ...dbias ? { dbias } : {},
  };
}

function withGrads(call: FlashCall, grads: Partial<FlashCall["matrices"]>): FlashCall {
  return { ...call, matrices: { ...call.matrices, ...grads } };
}

const flashQueryGradOp = defineOp<AttentionAttrs, Values, V1>({
  name: "attentionQueryGrad",
  infer: ([q]) => [q!],
  kernels({ inputs, outputs: [d], attrs }, target) {
    const call = withGrads(flashCall(inputs, attrs), { dq: heads(d, attrs) });
    return flashQueryGradKernels(call, attrs, target);
  },
});

const flashKeyGradOp = defineOp<AttentionAttrs, Values, V2>({
  name: "attentionKeyGrad",
  infer: ([, k, v]) => [k!, v!],
  kernels({ inputs, outputs: [dk, dv], attrs }, target) {
    const call = withGrads(flashCall(inputs, attrs), { dk: keyHeads(dk, attrs), dv: keyHeads(dv, attrs) });
    return flashKeyGradKernels(call, attrs, target);
  },
});

const flashPackedGradOp = defineOp<AttentionAttrs, Values, V1>({
  name: "attentionPackedGrad",
  infer: ([qkv]) => [qkv!],
  kernels({ inputs, outputs: [d], attrs }, target) {
    const { q: dq, k: dk, v: dv } = columns(d, attrs);
    const call = withGrads(flashCall(inputs, attrs), { dq, dk, dv });
    return [...flashQueryGradKernels(call, attrs, target), ...flashKeyGradKernels(call, attrs, target)];
  },
});

const flashBiasGradOp = defineOp<AttentionAttrs, Values, V1>({
  name: "attentionBiasGrad",
  infer: (_, attrs) => biasShape(attrs),
  kernels: ({ inputs, outputs: [dbias], attrs }, target) =>
    flashBiasGradKernels(flashCall(inputs, attrs, dbias), attrs, target),
});
