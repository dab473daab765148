// What the batches of all tasks have: tokens, their padding, and what encoders want to know about their places.
import type { Shape } from "../core/dims.ts";
import { ConfigError, printable } from "../core/errors.ts";
import type { Batch } from "../data/batch.ts";
import { IGNORE } from "../data/labels.ts";
import type { Architecture } from "../models/architecture.ts";
import type { ArrangeOptions, ArrayInput } from "./task.ts";

/** Rows are padded to a multiple of this many tokens, so that few program shapes serve all batches. */
export const LENGTH_MULTIPLE = 32;

/** Labelled positions are padded to a power of two, so that few program shapes serve all batches; at least to this. */
const FEWEST = 16;

/** Tokens of a batch, padded on the right to T positions. */
export interface ArrangedTokens {
  readonly B: number;
  readonly T: number;
  /** Columns that the batch had before. */
  readonly columns: number;
  readonly inputs: {
    readonly input_ids: ArrayInput;
    /** For causal models only where padding comes before a real token: they never look at padding behind. */
    readonly attention_mask?: ArrayInput;
    readonly token_type_ids?: ArrayInput;
    readonly position_ids?: ArrayInput;
  };
}

/**
 * Tokens, mask, types and positions of a batch, for this architecture.
 *
 * @throws {ConfigError} `data/batch` where the batch has positions that the architecture counts itself.
 */
export function arrangeTokens(
  batch: Batch,
  { type, positions, causal, tokenTypes = 0, positionIds }: Architecture,
  { multiple = 1 }: ArrangeOptions = {},
): ArrangedTokens {
  const B = batch.input_ids.length;
  const columns = batch.input_ids[0]!.length;
  const T = Math.max(columns, Math.min(Math.ceil(columns / multiple) * multiple, positions));
  const rows = (values: Batch["input_ids"]) => {
    const data = new Uint32Array(B * T);
    values.forEach((row, b) => data.set(row, b * T));
    return data;
  };
  const mask = causal && !paddedInFront(batch.attention_mask)
    ? undefined
    : batch.attention_mask ?? batch.input_ids.map((row) => row.map(() => 1));
  if (positionIds && batch.position_ids) {
    const problem = `position_ids must be left out: a ${printable(type)} model counts the tokens that are no padding`;
    throw new ConfigError("data/batch", "this batch", [problem]);
  }
  const places = positionIds ? batch.input_ids.map(positionIds) : batch.position_ids;
  const N = [B * T];
  return {
    ...{ B, T, columns },
    inputs: {
      input_ids: words(N, rows(batch.input_ids)),
      ...(mask ? { attention_mask: words([B, T], rows(mask)) } : {}),
      ...(tokenTypes > 0 ? { token_type_ids: words(N, rows(batch.token_type_ids ?? [])) } : {}),
      ...(places ? { position_ids: words(N, rows(places)) } : {}),
    },
  };
}

/** A u32 input. */
export function words(shape: Shape, data: Uint32Array<ArrayBuffer> | Int32Array<ArrayBuffer>): ArrayInput {
  return { shape, dtype: "u32", data };
}

/** An f32 input. */
export function numbers(shape: Shape, data: Float32Array<ArrayBuffer>): ArrayInput {
  return { shape, dtype: "f32", data };
}

/** Labels that are not -100. */
export function countLabels(labels: Int32Array): number {
  return labels.reduce((count, label) => count + (label === IGNORE ? 0 : 1), 0);
}

/** labels[B][…] → i32[B·T], row by row `shift` to the left, -100 where there is none. */
export function tokenLabels(
  labels: Batch["labels"],
  { B, T, shift = 0 }: { readonly B: number; readonly T: number; readonly shift?: number },
): Int32Array<ArrayBuffer> {
  const result = new Int32Array(B * T).fill(IGNORE);
  for (const [b, row] of (labels ?? []).entries()) {
    if (typeof row === "number") continue;
    for (let t = shift; t < Math.min(row.length, T); t++) result[b * T + t - shift] = row[t]!;
  }
  return result;
}

/** Positions with a label, and the labels. */
export interface Labelled {
  readonly rows: Uint32Array<ArrayBuffer>;
  readonly labels: Int32Array<ArrayBuffer>;
}

/** The positions whose label counts, `items` of them; behind them the first position, with labels of -100. */
export function packLabelled(labels: Int32Array, items: number): Labelled {
  const length = Math.min(labels.length, Math.max(FEWEST, 2 ** Math.ceil(Math.log2(Math.max(1, items)))));
  const packed = { rows: new Uint32Array(length), labels: new Int32Array(length).fill(IGNORE) };
  let at = 0;
  for (const [n, label] of labels.entries()) {
    if (label === IGNORE) continue;
    packed.rows[at] = n;
    packed.labels[at++] = label;
  }
  return packed;
}

function paddedInFront(rows: Batch["attention_mask"]): boolean {
  return rows?.some((row) => row.lastIndexOf(1) > row.indexOf(0) && row.includes(0)) ?? false;
}
