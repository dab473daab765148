// Byte-level byte-pair encoding as GPT-2 has it: train, encode, decode, and save as a Hugging Face tokenizer.
//
// Text is cut into words by the GPT-2 pattern; a word's UTF-8 bytes are its first tokens, each shown as one printable
// character. Training repeats: find the pair of neighbours that is most frequent over all words, make it one token.
// Equal counts go to the pair with the smaller ids, as in the Hugging Face trainer, so that a text has one result.

/** Text that closes a document and fills the roles of first and last token. Its id is 0. */
export const END = "<|endoftext|>";
/** Text of the token that pads short rows. Its id is 1. */
export const PAD = "<|pad|>";

/** A trained tokenizer. */
export interface Bpe {
  /** Token text (bytes as printable characters) to id; ids run from 0 without gaps. */
  readonly vocab: ReadonlyMap<string, number>;
  /** Pairs of token texts to join, the first to apply first. */
  readonly merges: readonly (readonly [string, string])[];
}

/** Options of {@linkcode trainBpe}. */
export interface TrainOptions {
  /** Tokens in all: {@linkcode END}, {@linkcode PAD}, 256 bytes, and the rest merges. */
  readonly vocabSize: number;
  /** Pairs seen less often than this are not merged, even if the vocabulary then stays smaller. */
  readonly minCount?: number;
}

const WORD = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;
const SPECIALS = [END, PAD] as const;

// Bytes that print as themselves in Latin-1 stay; the others get the characters from U+0100 on, in order.
const BYTE_TO_CHAR: readonly string[] = (() => {
  const prints = (b: number) => (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
  let next = 0x100;
  return Array.from({ length: 256 }, (_, b) => String.fromCharCode(prints(b) ? b : next++));
})();
const CHAR_TO_BYTE: ReadonlyMap<string, number> = new Map(BYTE_TO_CHAR.map((char, byte) => [char, byte]));

const utf8 = new TextEncoder();
const words = (text: string): readonly string[] => text.match(WORD) ?? [];
const printableBytes = (word: string) => Array.from(utf8.encode(word), (b) => BYTE_TO_CHAR[b]!);

/**
 * Train a tokenizer on `texts`.
 *
 * @throws {RangeError} Where `vocabSize` leaves no room for the 256 bytes and the special tokens.
 */
export function trainBpe(texts: Iterable<string>, { vocabSize, minCount = 2 }: TrainOptions): Bpe {
  const names = [...SPECIALS, ...BYTE_TO_CHAR.toSorted()];
  if (!Number.isInteger(vocabSize) || vocabSize < names.length) {
    throw new RangeError(`Cannot train a tokenizer as it needs ${names.length} tokens or more: received ${vocabSize}`);
  }
  const ids = new Map(names.map((name, id) => [name, id]));

  const counts = new Map<string, number>();
  for (const text of texts) for (const word of words(text)) counts.set(word, (counts.get(word) ?? 0) + 1);
  const lists = Array.from(counts, ([word, count]) => ({ ids: printableBytes(word).map((c) => ids.get(c)!), count }));

  // A pair is one number, left * SPAN + right, so that the smaller number is also the smaller pair.
  const SPAN = 2 ** 24;
  const pairs = new Map<number, { count: number; readonly inLists: Set<number> }>();
  const change = (list: number, left: number, right: number, by: number) => {
    const key = left * SPAN + right;
    const pair = pairs.get(key) ?? { count: 0, inLists: new Set<number>() };
    pair.count += by;
    if (by > 0) pair.inLists.add(list);
    pairs.set(key, pair);
  };
  const countPairs = (list: number, sign: 1 | -1) => {
    const { ids, count } = lists[list]!;
    for (let i = 1; i < ids.length; i++) change(list, ids[i - 1]!, ids[i]!, sign * count);
  };
  lists.forEach((_, list) => countPairs(list, 1));

  const merges: [string, string][] = [];
  while (names.length < vocabSize) {
    let best = -1, most = 0;
    for (const [key, { count }] of pairs) {
      if (count > most || (count === most && key < best)) [best, most] = [key, count];
    }
    if (most < minCount) break;
    const [left, right] = [Math.floor(best / SPAN), best % SPAN];
    // Two different pairs can spell the same token ("a"+"bc", "ab"+"c"); they then share its id.
    const joined = names[left]! + names[right]!;
    const id = ids.get(joined) ?? names.push(joined) - 1;
    ids.set(joined, id);
    merges.push([names[left]!, names[right]!]);
    for (const list of pairs.get(best)!.inLists) {
      countPairs(list, -1);
      lists[list]!.ids = join(lists[list]!.ids, left, right, id);
      countPairs(list, 1);
    }
    pairs.delete(best);
  }
  return { vocab: ids, merges };
}

/** `ids` with each `left`, `right` replaced by `id`, from the left and without overlap. */
function join<T>(ids: readonly T[], left: T, right: T, id: T): T[] {
  const out: T[] = [];
  for (let i = 0; i < ids.length; i++) {
    if (ids[i] === left && i + 1 < ids.length && ids[i + 1] === right) out.push(id), i++;
    else out.push(ids[i]!);
  }
  return out;
}

/** A function from text to ids. It treats {@linkcode END} and {@linkcode PAD} in the text as ordinary characters. */
export function bpeEncoder({ vocab, merges }: Bpe): (text: string) => number[] {
  const ranks = new Map(merges.map(([a, b], rank) => [`${a} ${b}`, rank]));
  const known = new Map<string, readonly number[]>();
  const encodeWord = (word: string) => {
    let parts = printableBytes(word);
    while (parts.length > 1) {
      let best = Infinity;
      for (let i = 1; i < parts.length; i++) {
        best = Math.min(best, ranks.get(`${parts[i - 1]} ${parts[i]}`) ?? Infinity);
      }
      if (best === Infinity) break;
      const [left, right] = merges[best]!;
      parts = join(parts, left, right, left + right);
    }
    return parts.map((part) => vocab.get(part)!);
  };
  return (text) =>
    words(text).flatMap((word) => {
      const ids = known.get(word) ?? encodeWord(word);
      known.set(word, ids);
      return ids;
    });
}

/** The bytes that `ids` stand for, special tokens left out. */
export function bpeBytes({ vocab }: Bpe, ids: Iterable<number>): Uint8Array {
  const texts = [...vocab.keys()];
  const bytes: number[] = [];
  for (const id of ids) {
    if (id < SPECIALS.length) continue;
    for (const char of texts[id] ?? "") bytes.push(CHAR_TO_BYTE.get(char)!);
  }
  return Uint8Array.from(bytes);
}

/** The files of a Hugging Face tokenizer folder: name to text. */
export function tokenizerFiles({ vocab, merges }: Bpe): Readonly<Record<string, string>> {
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const added = SPECIALS.map((content, id) => ({ id, content, ...flags }));
  const roles = { bos_token: END, eos_token: END, unk_token: END, pad_token: PAD };
  const bytes = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  const tokenizer = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: bytes,
    post_processor: { ...bytes, trim_offsets: false },
    decoder: bytes,
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(vocab),
      merges: merges.map((pair) => pair.join(" ")),
    },
  };
  const config = {
    add_prefix_space: false,
    added_tokens_decoder: Object.fromEntries(added.map(({ id, ...token }) => [id, token])),
    ...roles,
    clean_up_tokenization_spaces: false,
    tokenizer_class: "PreTrainedTokenizerFast",
  };
  const text = (value: unknown) => `${JSON.stringify(value, null, 1)}\n`;
  return {
    "tokenizer.json": text(tokenizer),
    "tokenizer_config.json": text(config),
    "special_tokens_map.json": text(roles),
  };
}
