// All positions of a batch at once: training, evaluation, scoring.
import type { Value } from "../graph/graph.ts";
import { attention, attentionPacked } from "../ops/attention.ts";
import { add } from "../ops/elementwise.ts";
import { embedding } from "../ops/embedding.ts";
import { lead } from "../ops/lead.ts";
import { addPositions } from "../ops/positions.ts";
import { relativeBias } from "../ops/relative_bias.ts";
import { rope, ropeAt } from "../ops/rope.ts";
import { seenHeads, type Sequence } from "./sequence.ts";

/** A batch of B sequences of T positions. */
export interface FullSequenceOptions {
  readonly B: number;
  readonly T: number;
  /** mask u32[B, T], 1 for real tokens; needed only where padding comes before a real token. */
  readonly mask?: Value | undefined;
  /** Position of every row, u32[B·T], below T; their columns by default. */
  readonly positions?: Value | undefined;
  /** Whether a position sees only itself and those before it (true). */
  readonly causal?: boolean;
}

/** T rows of every sequence; row n is position n mod T unless the positions say otherwise. */
export function fullSequence({ B, T, mask, positions, causal = true }: FullSequenceOptions): Sequence {
  const padding = mask ? { mask } : {};
  return {
    N: B * T,
    length: T,
    addPositions: (x, table) => positions ? add(x, embedding(table, positions)) : addPositions(x, table, { T }),
    lead: (x, table, options = {}) => lead(x, table, { T, ...options }),
    rotate: (x, tables, dims) =>
      positions ? ropeAt(x, tables, { position: positions, ...dims }) : rope(x, tables, { B, T, ...dims }),
    attend({ q, k, v, bias }, heads) {
      const distances = bias ? { bias: relativeBias(bias, { T, S: T }) } : {};
      return attention({ q, k, v, ...padding, ...distances }, { B, T, causal, ...seenHeads(heads, T) });
    },
    attendPacked: (qkv, heads) => attentionPacked({ qkv, ...padding }, { B, T, causal, ...seenHeads(heads, T) }),
  };
}
