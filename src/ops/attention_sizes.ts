// What attention is computed over, and where its heads lie: columns of a value [N, heads·E].
import type { Value, Values } from "../graph/graph.ts";
import type { MatrixRef } from "./product.ts";

/** Sizes of an attention, and which keys a row sees. */
export interface AttentionSizes {
  /** Sequences. */
  readonly B: number;
  /** Rows of a sequence. */
  readonly T: number;
  /** Keys of a sequence. */
  readonly S: number;
  /** Heads of the queries. */
  readonly H: number;
  /** Heads of the keys and values, a divisor of H: query head h reads head floor(h / (H / K)). */
  readonly K: number;
  /** Columns of a head. */
  readonly E: number;
  /** Factor on the scores. */
  readonly scale: number;
  /** Whether a row sees only itself and earlier rows. */
  readonly causal: boolean;
  /** With `causal`: how many keys a row sees, its own included. */
  readonly window?: number;
  /** Scaled scores are bent to softcap · tanh(score / softcap), as in Gemma 2. */
  readonly softcap?: number;
}

function headsOf(value: Value, rows: number, { E }: AttentionSizes, column: number): MatrixRef {
  const stride = value.shape[1]!;
  return { value, offset: column, stride, outer: rows * stride, inner: E };
}

/** The first head of queries or results [B·T, heads·E] from a column on, and the way to the others. */
export function heads(value: Value, sizes: AttentionSizes, column = 0): MatrixRef {
  return headsOf(value, sizes.T, sizes, column);
}

/** The first head of keys or values [B·S, heads·E]. */
export function keyHeads(value: Value, sizes: AttentionSizes, column = 0): MatrixRef {
  return headsOf(value, sizes.S, sizes, column);
}

/** Keys or values as query heads see them. */
export function shared(matrix: MatrixRef, { H, K }: AttentionSizes): MatrixRef {
  return { ...matrix, group: H / K };
}

/** Queries, keys and values as columns of one value. */
export function columns(
  qkv: Value,
  sizes: AttentionSizes,
): { readonly q: MatrixRef; readonly k: MatrixRef; readonly v: MatrixRef } {
  const { H, K, E } = sizes;
  return { q: heads(qkv, sizes), k: heads(qkv, sizes, H * E), v: heads(qkv, sizes, (H + K) * E) };
}

/** Sizes, and which inputs a node has: [q, k, v] or, packed, [qkv]; then mask and bias where there are. */
export interface AttentionAttrs extends AttentionSizes {
  readonly packed: boolean;
  readonly mask: boolean;
  readonly bias: boolean;
}

/** The mask and the bias among the inputs of a node. */
export function optional(
  inputs: Values,
  { packed, mask, bias }: AttentionAttrs,
): { readonly mask: Value | undefined; readonly bias: Value | undefined } {
  const first = packed ? 1 : 3;
  return { mask: mask ? inputs[first] : undefined, bias: bias ? inputs[mask ? first + 1 : first] : undefined };
}
