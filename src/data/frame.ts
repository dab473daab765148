// What a tokenizer puts around a text, and around and between two texts: learned from how it encodes a probe, since a
// text that is cut to a length has to be cut before it is framed.
import { DataError } from "../core/errors.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** One or two texts as the model reads them. */
export interface Framed {
  readonly ids: number[];
  /** Which text each token belongs to, as the tokenizer numbers them. */
  readonly types: number[];
  /** Index of the first token of each text. */
  readonly starts: readonly [number, number?];
}

/** Special tokens of a tokenizer by their places. */
export interface Frame {
  /** Special tokens around one text. */
  readonly single: number;
  /** Special tokens around and between two. */
  readonly pair: number;
  /** Put the tokens of one or two texts into their places. */
  wrap(first: readonly number[], second?: readonly number[]): Framed;
}

interface Part {
  readonly ids: readonly number[];
  readonly types: readonly number[];
}

/** A text that every tokenizer has tokens for and none puts around another text. */
const PROBE = "a";

const frames = new WeakMap<Tokenizer, Frame>();

/**
 * The frame of a tokenizer.
 *
 * @throws {DataError} `tokenizer/frame` if texts cannot be found again in what it makes of them.
 */
export function frameOf(tokenizer: Tokenizer): Frame {
  const known = frames.get(tokenizer);
  if (known) return known;
  const probe = tokenizer.encode(PROBE, { specialTokens: false });
  const single = cut(tokenizer.encodePair(PROBE), [probe]);
  const pair = cut(tokenizer.encodePair(PROBE, PROBE), [probe, probe]);
  const frame: Frame = {
    single: count(single.gaps),
    pair: count(pair.gaps),
    wrap(first, second) {
      const { gaps, texts } = second ? pair : single;
      const parts = second ? [first, second] : [first];
      const ids: number[] = [], types: number[] = [], starts: number[] = [];
      gaps.forEach((gap, i) => {
        ids.push(...gap.ids);
        types.push(...gap.types);
        if (i >= parts.length) return;
        starts.push(ids.length);
        for (const id of parts[i]!) {
          ids.push(id);
          types.push(texts[i]!);
        }
      });
      return { ids, types, starts: starts as [number, number?] };
    },
  };
  frames.set(tokenizer, frame);
  return frame;
}

function count(gaps: readonly Part[]): number {
  return gaps.reduce((sum, { ids }) => sum + ids.length, 0);
}

/** What stands before, between and behind the texts, and the types of the texts. */
function cut({ ids, types }: Omit<Framed, "starts">, texts: readonly number[][]): {
  readonly gaps: Part[];
  readonly texts: number[];
} {
  const gaps: Part[] = [], found: number[] = [];
  let from = 0;
  const gap = (to: number) => gaps.push({ ids: ids.slice(from, to), types: types.slice(from, to) });
  for (const text of texts) {
    const at = ids.findIndex((_, i) => i >= from && text.every((id, j) => ids[i + j] === id));
    if (at < 0 || text.length === 0) {
      throw new DataError(
        "tokenizer/frame",
        `Cannot find "${PROBE}" in what the tokenizer makes of it: received ${ids}`,
      );
    }
    gap(at);
    found.push(types[at]!);
    from = at + text.length;
  }
  gap(ids.length);
  return { gaps, texts: found };
}
