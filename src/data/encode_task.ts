// From rows of tasks to examples: token ids in the tokenizer's frame, with classes of rows or words, or the place of an
// answer. What is too long is cut behind (texts, words) or seen through windows that overlap (answers, hidden tokens).
import { frameOf } from "./frame.ts";
import { type Example, IGNORE } from "./labels.ts";
import { type Offset, tokenOffsets, tokensOf } from "./offsets.ts";
import type { QuestionRow, TagRow, TextRow } from "./task_rows.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** How rows are encoded. */
export interface EncodeOptions {
  readonly tokenizer: Tokenizer;
  /** Tokens of the longest example. */
  readonly maxLength: number;
}

/** An example, what it lost, and how its tokens belong to its row. */
export interface TaskExample {
  readonly example: Example;
  /** Tokens that were cut off. */
  readonly lost: number;
  /** Word of each token that begins one, else -1. */
  readonly words?: Int32Array;
  /** Where the tokens of the context begin, and where each stands in its text. */
  readonly context?: { readonly first: number; readonly offsets: readonly Offset[] };
}

/** One text or two; of two, the longer one is cut first. */
export function encodeText({ text, pair }: TextRow, { tokenizer, maxLength }: EncodeOptions): TaskExample {
  const frame = frameOf(tokenizer);
  const first = plain(text, tokenizer), second = pair === undefined ? undefined : plain(pair, tokenizer);
  const room = maxLength - (second ? frame.pair : frame.single);
  const lost = Math.max(0, first.length + (second?.length ?? 0) - room);
  while (first.length + (second?.length ?? 0) > room) {
    if (second && second.length >= first.length) second.pop();
    else first.pop();
  }
  return { example: exampleOf(frame.wrap(first, second)), lost };
}

/** Words; the first token of each carries its class. */
export function encodeWords(
  { words }: TagRow,
  classes: readonly number[] | undefined,
  { tokenizer, maxLength }: EncodeOptions,
): TaskExample {
  const frame = frameOf(tokenizer);
  const spaced = needsSpaces(tokenizer);
  const ids: number[] = [], owners: number[] = [];
  words.forEach((word, w) => {
    for (const [i, id] of plain(spaced && w > 0 ? ` ${word}` : word, tokenizer).entries()) {
      ids.push(id);
      owners.push(i === 0 ? w : -1);
    }
  });
  const room = maxLength - frame.single, lost = Math.max(0, ids.length - room);
  const framed = frame.wrap(ids.slice(0, room));
  const first = framed.starts[0], count = Math.min(room, ids.length);
  const own = Int32Array.from(framed.ids, (_, t) => t >= first && t < first + count ? owners[t - first]! : -1);
  const labels = own.map((w) => w >= 0 && classes ? classes[w]! : IGNORE);
  return { example: { ...exampleOf(framed), labels }, lost, words: own };
}

/** Options of {@linkcode encodeQuestion}. */
export interface QuestionOptions extends EncodeOptions {
  /** Tokens that neighbouring windows share. */
  readonly stride: number;
}

/** The windows of a context behind its question. A window without the whole answer has it at its first token. */
export function encodeQuestion(row: QuestionRow, { tokenizer, maxLength, stride }: QuestionOptions): TaskExample[] {
  const frame = frameOf(tokenizer);
  const half = Math.max(1, Math.floor((maxLength - frame.pair) / 2));
  const question = plain(row.question, tokenizer).slice(0, half);
  const context = plain(row.context, tokenizer);
  const offsets = tokenOffsets(row.context, context, tokenizer);
  const answer = row.answers?.[0], start = row.answerStart;
  const found = answer !== undefined && start !== undefined
    ? tokensOf(offsets, [start, start + answer.length])
    : undefined;
  const room = maxLength - frame.pair - question.length;
  const step = Math.max(1, room - Math.min(stride, Math.floor(room / 2)));
  const examples: TaskExample[] = [];
  for (let from = 0; from === 0 || from + room - step < context.length; from += step) {
    const framed = frame.wrap(question, context.slice(from, from + room));
    const first = framed.starts[1]!;
    const inside = found && found[0] >= from && found[1] < from + room;
    const span = inside ? [first + found[0] - from, first + found[1] - from] as const : [0, 0] as const;
    const example = { ...exampleOf(framed), ...(row.answers ? { span } : {}) };
    examples.push({ example, lost: 0, context: { first, offsets: offsets.slice(from, from + room) } });
  }
  return examples;
}

/** The windows of a text whose tokens are to be hidden; they do not overlap. */
export function encodeHidden({ text }: TextRow, { tokenizer, maxLength }: EncodeOptions): TaskExample[] {
  const frame = frameOf(tokenizer);
  const ids = plain(text, tokenizer), room = maxLength - frame.single;
  return Array.from({ length: Math.ceil(ids.length / room) }, (_, i) => ({
    example: exampleOf(frame.wrap(ids.slice(i * room, (i + 1) * room))),
    lost: 0,
  }));
}

function exampleOf({ ids, types }: { readonly ids: number[]; readonly types: number[] }): Example {
  return {
    ids: Uint32Array.from(ids),
    labels: new Int32Array(ids.length).fill(IGNORE),
    ...(types.some((type) => type > 0) ? { types: Uint8Array.from(types) } : {}),
  };
}

function plain(text: string, tokenizer: Tokenizer): number[] {
  return tokenizer.encode(text, { specialTokens: false });
}

/** Whether the space between two words is a part of the second one's tokens. */
function needsSpaces(tokenizer: Tokenizer): boolean {
  return String(plain("a b", tokenizer)) !== String([...plain("a", tokenizer), ...plain("b", tokenizer)]);
}
