// Where each token stands in its text. The tokenizer gives no offsets, so text and tokens are folded to the same letters
// (lower case, no accents, no spaces) and walked along together; every letter of the folded text knows where it came from.
import type { Tokenizer } from "./tokenizer.ts";

/** First and one past the last UTF-16 unit of a token in its text; both the same where it stands for no letter. */
export type Offset = readonly [start: number, end: number];

/** What continues a word in WordPiece, and what stands for a space in byte-level BPE and SentencePiece. */
const MARKS = /^##|[\u2581\u0120]/gu;

/** The offsets of the tokens of `text`. A token that cannot be found stands for what lies between its neighbours. */
export function tokenOffsets(text: string, ids: readonly number[], tokenizer: Tokenizer): Offset[] {
  const { letters, places } = foldText(text);
  const offsets: Offset[] = [];
  let at = 0;
  let open: number | undefined; // the first token since the last that was found
  const close = (end: number) => {
    if (open === undefined) return;
    const start = places[at]?.[0] ?? text.length;
    for (let i = open; i < offsets.length; i++) offsets[i] = [start, Math.max(start, end)];
    open = undefined;
  };
  for (const id of ids) {
    const surface = surfaceOf(id, tokenizer);
    const found = surface === undefined
      ? -1
      : open === undefined
      ? (letters.startsWith(surface, at) ? at : -1)
      : letters.indexOf(surface, at);
    if (surface === "" && open === undefined) {
      const here = places[at]?.[0] ?? text.length;
      offsets.push([here, here]);
    } else if (surface === undefined || surface === "" || found < 0) {
      open ??= offsets.length;
      offsets.push([0, 0]);
    } else {
      close(found === 0 ? 0 : places[found - 1]![1]);
      at = found + surface.length;
      offsets.push([places[found]![0], places[at - 1]![1]]);
    }
  }
  close(places.at(-1)?.[1] ?? text.length);
  return offsets;
}

/** Tokens whose offsets overlap [start, end): the first and the last; undefined where there is none. */
export function tokensOf(offsets: readonly Offset[], [start, end]: Offset): readonly [number, number] | undefined {
  const touches = ([a, b]: Offset) => a < end && b > start;
  const first = offsets.findIndex(touches);
  return first < 0 ? undefined : [first, offsets.findLastIndex(touches)];
}

/** The letters of a text and, for each, the units that it came from. */
function foldText(text: string): { readonly letters: string; readonly places: Offset[] } {
  const places: Offset[] = [];
  let letters = "", at = 0;
  for (const character of text) {
    const end = at + character.length;
    const folded = fold(character);
    for (let i = 0; i < folded.length; i++) places.push([at, end]);
    letters += folded;
    at = end;
  }
  return { letters, places };
}

function fold(text: string): string {
  return text.toLowerCase().normalize("NFKD").replace(/[\p{Mn}\s\p{C}]/gu, "");
}

/** The letters of a token; undefined where it is a part of a character of several bytes. */
function surfaceOf(id: number, tokenizer: Tokenizer): string | undefined {
  const written = tokenizer.token(id) ?? "";
  const read = /^##/.test(written) ? written : tokenizer.decode([id]);
  return read.includes("\ufffd") ? undefined : fold(read.replace(MARKS, ""));
}
