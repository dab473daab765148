// What stands for a sequence: the hidden state of one of its tokens, or the mean of all that are no padding.
import type { Batch } from "../data/batch.ts";
import type { Value } from "../graph/graph.ts";
import type { Architecture, HeadName } from "../models/architecture.ts";
import type { ModelScope } from "../nn/scope.ts";
import { gatherRows } from "../ops/embedding.ts";
import { pool } from "../ops/pool.ts";
import { numbers, words } from "./arrange.ts";
import { headOf, hiddenStates } from "./head.ts";
import type { ArrayInput, Inputs } from "./task.ts";

/** Options of {@linkcode arrangeSequences}. */
export interface SequenceOptions {
  readonly head: HeadName;
  /** Columns of the arranged batch. */
  readonly T: number;
  /** Id of the padding token: the last token of a sequence is the right-most one that is none. */
  readonly padId?: number | undefined;
  /** Columns in front that stand for nothing (0). */
  readonly prefix?: number | undefined;
}

/** The input that says what stands for each sequence: `rows`, or `weights` of the mean. */
export function arrangeSequences(
  { input_ids, attention_mask }: Batch,
  architecture: Architecture,
  { head, T, padId, prefix = 0 }: SequenceOptions,
): { readonly rows: ArrayInput } | { readonly weights: ArrayInput } {
  const { reads } = headOf(architecture, head);
  const B = input_ids.length;
  if (reads === "mean") {
    const weights = new Float32Array(B * T);
    for (const [b, row] of input_ids.entries()) {
      const mask = row.map((_, t) => t < prefix ? 0 : attention_mask?.[b]?.[t] ?? 1);
      const count = Math.max(1, mask.reduce((sum, one) => sum + one, 0));
      mask.forEach((one, t) => weights[b * T + t] = one / count);
    }
    return { weights: numbers([B, T], weights) };
  }
  const rows = Uint32Array.from(input_ids, (row, b) => {
    if (reads === "first") return b * T + prefix;
    const real = (id: number, t: number) => id !== padId && attention_mask?.[b]?.[t] !== 0;
    return b * T + Math.max(prefix, row.findLastIndex(real));
  });
  return { rows: words([B], rows) };
}

/** What stands for each sequence [B, D]. */
export function representation(m: ModelScope, architecture: Architecture, inputs: Inputs): Value {
  const hidden = hiddenStates(m, architecture, inputs);
  return inputs.weights ? pool(hidden, inputs.weights) : gatherRows(hidden, inputs.rows!);
}
