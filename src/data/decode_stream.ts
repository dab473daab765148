// Text of tokens as they come. A token may hold part of a character, and its text may depend on the token before it
// (a leading space), so each piece is the difference of two decodings: that of the tokens since the piece before last,
// with and without the new ones. While the text ends with U+FFFD a character may be unfinished, and nothing is given.
import type { Tokenizer } from "./tokenizer.ts";

/** Options of {@linkcode decodeStream}. */
export interface DecodeOptions {
  /** Tokens before the first one, such as the prompt; they decide whether the text starts with a space. */
  readonly context?: readonly number[];
  /** Leave out tokens such as `</s>` (true). */
  readonly skipSpecialTokens?: boolean;
}

/** Turns tokens into text one by one. */
export interface StreamDecoder {
  /** Take a token and return the text that is now complete, which may be "". */
  push(id: number): string;
  /** The rest, in which an unfinished character is U+FFFD. */
  flush(): string;
}

/** Context tokens that may change the text of the next one: the bytes of one character, and the token before it. */
const CONTEXT = 8;

/** A decoder that never gives half a character. */
export function streamDecoder(
  tokenizer: Tokenizer,
  { context = [], skipSpecialTokens = true }: DecodeOptions = {},
): StreamDecoder {
  let ids = context.slice(-CONTEXT);
  let done = ids.length; // tokens whose text was given
  const text = (tokens: readonly number[]): string => tokenizer.decode(tokens, { skipSpecialTokens });
  const advance = (): string => {
    const before = text(ids.slice(0, done));
    const piece = text(ids).slice(before.length);
    if (piece === "") return ""; // a special token: the next one's text still depends on those before it
    ids = ids.slice(done);
    done = ids.length;
    return piece;
  };
  return {
    push(id) {
      ids.push(id);
      return text(ids).endsWith("\ufffd") ? "" : advance();
    },
    flush: advance,
  };
}

/**
 * The text of tokens, piece by piece as they come; a piece never holds half a character. The pieces together are the
 * decoded text.
 *
 * @example Usage
 * ```ts no-eval
 * import { decodeStream, loadTokenizer } from "@graft/graft";
 *
 * const tokenizer = await loadTokenizer("models/smollm2");
 * for await (const piece of decodeStream(tokenizer, tokenizer.encode("Héllo 😀"))) console.log(piece);
 * ```
 */
export async function* decodeStream(
  tokenizer: Tokenizer,
  ids: Iterable<number> | AsyncIterable<number>,
  options: DecodeOptions = {},
): AsyncGenerator<string, void, void> {
  const decoder = streamDecoder(tokenizer, options);
  for await (const id of ids) {
    const piece = decoder.push(id);
    if (piece !== "") yield piece;
  }
  const rest = decoder.flush();
  if (rest !== "") yield rest;
}
