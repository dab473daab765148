// What of a row is trained, and how rows open: shown before training, since a wrong mask is the commonest mistake.
import { type Example, IGNORE } from "../data/labels.ts";
import type { Tokenizer } from "../data/tokenizer.ts";
import { printableText } from "./command.ts";
import { OPENING_TOKENS } from "./defaults.ts";
import type { Style } from "./terminal.ts";

/** Letters shown of each part of a row. */
const SHOWN = 160;

/** A row as text: what is trained stands out, or in 「 」 where there are no colours. */
export function markedText({ ids, labels }: Example, tokenizer: Tokenizer, style: Style): string {
  const first = trainedStart(labels);
  const decode = (part: Uint32Array) => printableText(tokenizer.decode(part));
  const given = decode(ids.subarray(0, first)), trained = decode(ids.subarray(first));
  const head = given.length > SHOWN ? `…${given.slice(-SHOWN)}` : given;
  const tail = trained.length > 2 * SHOWN ? `${trained.slice(0, SHOWN)} … ${trained.slice(-SHOWN)}` : trained;
  return style.dim(head) + (style.colours ? style.good(tail) : `「${tail}」`);
}

/** Openings of sample texts from rows: the prompt, or the first words where there is none. */
export function openings(
  examples: readonly Example[],
  tokenizer: Tokenizer,
  { count, longest }: { readonly count: number; readonly longest: number },
): string[] {
  const found = new Set<string>();
  for (const { ids, labels } of examples) {
    if (found.size >= count) break;
    const prompt = trainedStart(labels);
    const end = prompt > 1 ? prompt : Math.min(OPENING_TOKENS, ids.length);
    const text = end <= longest ? tokenizer.decode(ids.subarray(0, end), { skipSpecialTokens: true }) : "";
    if (text.trim() !== "") found.add(text);
  }
  return [...found];
}

/** Tokens before the first that is trained; the first of a row is never predicted and counts as the text around it. */
function trainedStart(labels: Int32Array): number {
  const first = labels.findIndex((label) => label !== IGNORE);
  return first < 0 ? labels.length : first;
}
