// Causal language modelling: the loss of predicting every next token, as transformers' ForCausalLMLoss.
//
//   loss = scale · Σ −log p(label[n] | tokens up to n)      labels are shifted on the CPU (see shiftLabels)
import { IGNORE } from "../data/labels.ts";
import type { Value } from "../graph/graph.ts";
import type { Architecture } from "../models/architecture.ts";
import { applySite } from "../nn/linear.ts";
import type { ModelScope } from "../nn/scope.ts";
import { crossEntropy } from "../ops/cross_entropy.ts";
import { linearCrossEntropy } from "../ops/linear_cross_entropy.ts";
import type { Word } from "../ops/word.ts";

/** Inputs of the loss. */
export interface CausalLmInputs {
  /** u32[N]. */
  readonly tokens: Value;
  /** u32[N]: the next token, or {@linkcode IGNORE} as a u32 word. */
  readonly labels: Value;
  /** Factor on the sum, usually one over the number of labels. */
  readonly scale: Word;
}

/** Options of {@linkcode causalLmLoss}. */
export interface CausalLmOptions {
  /** Label smoothing, in [0, 1). */
  readonly smoothing?: number;
}

/** The loss [1] of a batch. The logits are never materialized unless an adapter changes the output projection. */
export function causalLmLoss(
  m: ModelScope,
  architecture: Architecture,
  { tokens, labels, scale }: CausalLmInputs,
  { smoothing = 0 }: CausalLmOptions = {},
): Value {
  const hidden = architecture.hidden(m, tokens);
  const { info, weight } = architecture.head(m);
  const options = { smoothing, reduction: "sum" } as const;
  if (m.adapter?.linear && m.adapter.adapts(info)) {
    return m.graph.scope(
      info.path,
      () => crossEntropy(applySite(m, info, hidden, weight), labels, { ...options, scaleBy: scale }),
    );
  }
  m.leaves.site?.(info);
  return m.graph.scope(info.path, () => linearCrossEntropy({ hidden, weight, labels, scale }, options));
}

/** The logits [N, V] of a batch. */
export function causalLmLogits(m: ModelScope, architecture: Architecture, tokens: Value): Value {
  const hidden = architecture.hidden(m, tokens);
  const { info, weight } = architecture.head(m);
  return m.graph.scope(info.path, () => applySite(m, info, hidden, weight));
}

/** Labels of the next token: row by row one to the left, the last position ignored. labels[B][T] → i32[B·T]. */
export function shiftLabels(labels: readonly ArrayLike<number>[], T: number): Int32Array<ArrayBuffer> {
  const shifted = new Int32Array(labels.length * T).fill(IGNORE);
  labels.forEach((row, b) => {
    for (let t = 1; t < Math.min(row.length, T); t++) shifted[b * T + t - 1] = row[t]!;
  });
  return shifted;
}
