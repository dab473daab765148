// How the rows of a program map to positions. A model says "attend" or "rotate"; whether all positions of a batch are
// computed at once (training, evaluation) or one position a run with a cache (generation) is decided here.
import type { Value } from "../graph/graph.ts";
import type { LeadOptions } from "../ops/lead.ts";

/** Heads of an attention layer. */
export interface Heads {
  /** Query heads. */
  readonly H: number;
  /** Key/value heads; divides H. */
  readonly K: number;
  /** Width of a head. */
  readonly E: number;
  /** Factor on the scores. */
  readonly scale: number;
  /** How many positions a row sees, its own included; all before it without. */
  readonly window?: number;
  /** Scaled scores are bent to softcap · tanh(score / softcap). */
  readonly softcap?: number;
}

/** The same heads, without a window that sequences of so many positions never fill: programs stay alike. */
export function seenHeads(heads: Heads, positions: number): Heads {
  if (heads.window === undefined || heads.window < positions) return heads;
  const { window: _, ...rest } = heads;
  return rest;
}

/** Columns of x[N, heads·E] that a rotary embedding turns. */
export interface RotatedHeads {
  readonly heads: number;
  /** Width of a head. */
  readonly E: number;
  /** How many heads turn, the first ones; all by default. */
  readonly turned?: number;
  /** How many columns of a head turn, the first ones; E by default. The tables have half as many. */
  readonly columns?: number;
}

/** Tables of rotary angles: cos and sin [positions, columns / 2]. */
export interface RotaryTables {
  readonly cos: Value;
  readonly sin: Value;
}

/** What {@linkcode Sequence.attend} reads. */
export interface AttendInputs {
  /** [N, H·E]. */
  readonly q: Value;
  /** [N, K·E]. */
  readonly k: Value;
  /** [N, K·E]. */
  readonly v: Value;
  /** Added to the scores by distance, [2·length − 1, H]: row d is for keys d − (length − 1) positions behind the row's own. */
  readonly bias?: Value;
}

/** The other sequence that a decoder looks at: what the encoder made of it. */
export interface Source {
  /**
   * Attention of q[N, H·E] over all of the other sequence. `project` makes keys and values [rows, K·E] of its states
   * [rows, D]; it is not called where they are cached.
   */
  attend(
    q: Value,
    project: (states: Value) => { readonly k: Value; readonly v: Value },
    heads: Heads,
  ): Value;
}

/** The operations that depend on where a row stands. */
export interface Sequence {
  /** Rows of a program: B·T, or the number of sequences when decoding. */
  readonly N: number;
  /** Positions that tables must cover. */
  readonly length: number;
  /** Positions of the text, where `length` is not what rotary scaling goes by. */
  readonly context?: number;
  /** x[N, D] plus the row's entry of table[P, D]. */
  addPositions(x: Value, table: Value): Value;
  /** x[N, C] with columns of table[P, W] in the first P positions of every sequence, in place of their own. */
  lead(x: Value, table: Value, options?: LeadOptions): Value;
  /** Rotary embedding of x[N, heads·E]. */
  rotate(x: Value, tables: RotaryTables, dims: RotatedHeads): Value;
  /** Attention within each sequence: q[N, H·E], k and v[N, K·E] → [N, H·E]. */
  attend(inputs: AttendInputs, heads: Heads): Value;
  /** The same on one packed value [N, (H + 2·K)·E]. */
  attendPacked(qkv: Value, heads: Heads): Value;
  /** Of decoders that look at another sequence. */
  readonly source?: Source;
}
