// A batch as the arrays that programs read: tokens, shifted labels, and a mask where one is needed.
import type { Batch } from "../data/batch.ts";
import { IGNORE } from "../data/labels.ts";
import { shiftLabels } from "../objectives/causal_lm.ts";

/** Rows are padded to a multiple of this many tokens, so that few program shapes serve all batches. */
export const LENGTH_MULTIPLE = 32;

/** Arrays of one batch, padded on the right to T positions. */
export interface BatchInputs {
  readonly B: number;
  readonly T: number;
  /** Columns that the batch had before it was padded. */
  readonly columns: number;
  /** u32[B·T]. */
  readonly tokens: Uint32Array<ArrayBuffer>;
  /** i32[B·T], the next token or -100. */
  readonly labels: Int32Array<ArrayBuffer>;
  /** u32[B·T], only where padding comes before a real token: causal attention never looks at padding behind. */
  readonly mask: Uint32Array<ArrayBuffer> | undefined;
  /** Labels that are not -100. */
  readonly items: number;
}

/** Options of {@linkcode batchInputs}. */
export interface BatchInputOptions {
  /** T is rounded up to a multiple of this, so that few program shapes serve all batches. */
  readonly multiple?: number;
  /** T never exceeds this. */
  readonly positions?: number;
}

/** Arrange a batch; a batch without labels has none that count. */
export function batchInputs(batch: Batch, { multiple = 1, positions = Infinity }: BatchInputOptions = {}): BatchInputs {
  const B = batch.input_ids.length;
  const columns = batch.input_ids[0]!.length;
  const T = Math.max(columns, Math.min(Math.ceil(columns / multiple) * multiple, positions));
  const tokens = new Uint32Array(B * T);
  batch.input_ids.forEach((row, b) => tokens.set(row, b * T));
  const labels = batch.labels ? shiftLabels(batch.labels, T) : new Int32Array(B * T).fill(IGNORE);
  const items = labels.reduce((count, label) => count + (label === IGNORE ? 0 : 1), 0);
  return { B, T, columns, tokens, labels, mask: paddingMask(batch.attention_mask, T), items };
}

function paddingMask(rows: Batch["attention_mask"], T: number): Uint32Array<ArrayBuffer> | undefined {
  if (!rows?.some((row) => row.lastIndexOf(1) > row.indexOf(0) && row.includes(0))) return undefined;
  const mask = new Uint32Array(rows.length * T);
  rows.forEach((row, b) => mask.set(row, b * T));
  return mask;
}
