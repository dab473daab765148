// A WordPiece tokenizer as BERT's, small enough to read.
import { createTokenizer, type Tokenizer } from "../../src/data/tokenizer.ts";

const SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
const LETTERS = [..."abcdefghijklmnopqrstuvwxyz0123456789.,?!'-"];

/** The tokenizer.json of BERT with a vocabulary of letters and some words. */
export function wordpieceFile(words: readonly string[] = []): unknown {
  const vocab = [...SPECIAL, ...LETTERS, ...LETTERS.slice(0, 36).map((c) => `##${c}`), ...words];
  const special = (content: string, id: number) => ({
    ...{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true },
  });
  const token = (id: string, type_id: number) => ({ SpecialToken: { id, type_id } });
  const text = (id: string, type_id: number) => ({ Sequence: { id, type_id } });
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: SPECIAL.map(special),
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: {
      type: "TemplateProcessing",
      single: [token("[CLS]", 0), text("A", 0), token("[SEP]", 0)],
      pair: [token("[CLS]", 0), text("A", 0), token("[SEP]", 0), text("B", 1), token("[SEP]", 1)],
      special_tokens: {
        "[CLS]": { id: "[CLS]", ids: [2], tokens: ["[CLS]"] },
        "[SEP]": { id: "[SEP]", ids: [3], tokens: ["[SEP]"] },
      },
    },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(vocab.map((token, id) => [token, id])),
    },
  };
}

/** Words that the tests use beside letters. */
export const WORDS = ["the", "film", "is", "good", "bad", "who", "wrote", "it", "##ing", "walk", "smith"];

/** [PAD] 0, [UNK] 1, [CLS] 2, [SEP] 3, [MASK] 4, letters, parts, then {@linkcode WORDS}. */
export const wordpiece: Tokenizer = createTokenizer({ tokenizer: wordpieceFile(WORDS) });
