// A text as its tokens come: whole characters, and nothing from a stop text on, which may lie across tokens.
import { streamDecoder } from "../data/decode_stream.ts";
import type { Tokenizer } from "../data/tokenizer.ts";

/** Turns tokens into text that can be shown at once. */
export interface TextStream {
  /** Take a token and return the text that is certain now, which may be "". */
  push(id: number): string;
  /** The rest of the text. */
  flush(): string;
  /** Whether a stop text came: nothing is added any more. */
  readonly stopped: boolean;
}

/** The text behind `prompt`, up to the first of the texts `stop`. */
export function textStream(tokenizer: Tokenizer, prompt: readonly number[], stop: readonly string[] = []): TextStream {
  const decoder = streamDecoder(tokenizer, { context: prompt, skipSpecialTokens: true });
  const held = Math.max(0, ...stop.map((text) => text.length - 1)); // a stop text may begin in what is not given yet
  let text = "", given = 0, stopped = false;
  const take = (piece: string, wait: number): string => {
    if (stopped) return "";
    text += piece;
    const found = stop.map((s) => text.indexOf(s, Math.max(0, given - held))).filter((at) => at >= 0);
    stopped = found.length > 0;
    const safe = Math.max(given, Math.min(...found, text.length - wait));
    const certain = text.slice(given, safe);
    given = safe;
    return certain;
  };
  return {
    push: (id) => take(decoder.push(id), held),
    flush: () => take(decoder.flush(), 0),
    get stopped() {
      return stopped;
    },
  };
}
