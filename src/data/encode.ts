// From a text to token ids and labels.
//
// A prompt and its completion are tokenized once, together, since two tokenizations shift the border (trl#6105). The
// tokenizer gives no offsets, so the border is where the ids of the whole leave those of the prompt alone: the longest
// common prefix. A token that is merged across the border is thus part of the completion, and so are, rarely, a few
// last tokens of the prompt that are cut otherwise because of what follows.
import { type Example, IGNORE } from "./labels.ts";
import type { Sample } from "./rows.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** An example and whether a begin token had to be taken out because the text wrote it again. */
export interface Encoded extends Example {
  /** True where the text itself started with the begin token that the tokenizer adds. */
  readonly doubledBos: boolean;
}

/** Encode a sample: begin token where the tokenizer adds one, never twice; end token where it is missing. */
export function encodeSample({ prompt, completion }: Sample, tokenizer: Tokenizer): Encoded {
  const { ids, doubledBos } = withoutDoubledBos(tokenizer.encode(prompt + completion), tokenizer);
  const given = prompt === "" ? 0 : commonPrefix(withoutDoubledBos(tokenizer.encode(prompt), tokenizer).ids, ids);
  const [eos] = tokenizer.eosIds;
  // The last token of the prompt may be an end token too; the completion still needs its own.
  const ended = ids.length > given && tokenizer.eosIds.includes(ids.at(-1)!);
  if (eos !== undefined && !ended) ids.push(eos);
  const labels = Int32Array.from(ids);
  labels.fill(IGNORE, 0, given);
  return { ids: Uint32Array.from(ids), labels, doubledBos };
}

/** Encode a part of a longer text: the begin token only before the first part, and no end token. */
export function encodePiece(
  { completion }: Sample,
  tokenizer: Tokenizer,
  { first }: { readonly first: boolean },
): Encoded {
  const { ids, doubledBos } = withoutDoubledBos(tokenizer.encode(completion, { specialTokens: first }), tokenizer);
  return { ids: Uint32Array.from(ids), labels: Int32Array.from(ids), doubledBos };
}

/** The end token that closes a text of several pieces; empty where the tokenizer has none. */
export function endOfStream({ eosIds }: Tokenizer): Example {
  const ids = eosIds.slice(0, 1);
  return { ids: Uint32Array.from(ids), labels: Int32Array.from(ids) };
}

/**
 * Join examples and cut the result into windows of `length` tokens; the last one may be shorter. Attention crosses the
 * borders of the examples, as in pre-training.
 */
export function pack(examples: readonly Example[], length: number): Example[] {
  const total = examples.reduce((sum, { ids }) => sum + ids.length, 0);
  const ids = new Uint32Array(total);
  const labels = new Int32Array(total);
  let at = 0;
  for (const example of examples) {
    ids.set(example.ids, at);
    labels.set(example.labels, at);
    at += example.ids.length;
  }
  return Array.from({ length: Math.ceil(total / length) }, (_, i) => ({
    ids: ids.subarray(i * length, (i + 1) * length),
    labels: labels.subarray(i * length, (i + 1) * length),
  }));
}

function withoutDoubledBos(
  ids: number[],
  { bosId }: Tokenizer,
): { readonly ids: number[]; readonly doubledBos: boolean } {
  const doubledBos = bosId !== undefined && ids[0] === bosId && ids[1] === bosId;
  return { ids: doubledBos ? ids.slice(1) : ids, doubledBos };
}

function commonPrefix(a: readonly number[], b: readonly number[]): number {
  let i = 0;
  while (i < a.length && a[i] === b[i]) i++;
  return i;
}
