// Many positions of every prompt a run, with the key/value caches that decode_sequence.ts goes on with.
import type { Graph, Value } from "../graph/graph.ts";
import { add } from "../ops/elementwise.ts";
import { embedding } from "../ops/embedding.ts";
import { leadAt } from "../ops/lead.ts";
import { attentionPrefill, attentionPrefillPacked } from "../ops/prefill.ts";
import { ropeAt } from "../ops/rope.ts";
import { cacheLeaves } from "./decode_sequence.ts";
import { seenHeads, type Sequence } from "./sequence.ts";

/** C positions of S sequences, which grow to at most Tmax. */
export interface PrefillSequenceOptions {
  readonly graph: Graph;
  readonly S: number;
  readonly C: number;
  readonly Tmax: number;
  /** Rows of a sequence in the caches, of which the first is filled (1). */
  readonly width?: number;
  /** Positions of the caches that are looked at: above all of this run's. */
  readonly seen: number;
  /** Position of every row, an input u32[S·C]; from width·Tmax on, a row is not entered. */
  readonly positions: Value;
  /** Put before the names of the caches. */
  readonly prefix: string;
}

/** The sequence of a program that reads a part of every prompt. */
export function prefillSequence({ graph, positions, prefix, width = 1, ...sizes }: PrefillSequenceOptions): Sequence {
  const { S, C, Tmax } = sizes;
  const caches = cacheLeaves({ graph, S, Tmax, width, prefix });
  const attended = { ...sizes, Tmax: width * Tmax };
  return {
    N: S * C,
    length: Tmax,
    addPositions: (x, table) => add(x, embedding(table, positions)),
    lead: (x, table, options = {}) => leadAt(x, table, { positions, ...options }),
    rotate: (x, tables, dims) => ropeAt(x, tables, { position: positions, ...dims }),
    attend({ bias, ...qkv }, heads) {
      if (bias) throw new TypeError("Cannot read a prompt in parts as its scores have a bias by distance");
      return attentionPrefill({ ...qkv, ...caches(heads), positions }, { ...attended, ...seenHeads(heads, Tmax) });
    },
    attendPacked: (qkv, heads) =>
      attentionPrefillPacked({ qkv, ...caches(heads), positions }, { ...attended, ...seenHeads(heads, Tmax) }),
  };
}
