// A byte-level BPE tokenizer small enough to read: 256 bytes, a few merges, one end token.
import { createTokenizer, type Tokenizer } from "../../src/data/tokenizer.ts";

/** The parsed tokenizer.json; `edit` changes it before use. */
// deno-lint-ignore no-explicit-any
export function tinyFile(edit: (file: any) => void = () => {}): unknown {
  const printable = [[33, 126], [161, 172], [174, 255]] as const;
  const letters = Array.from({ length: 256 }, (_, b) => printable.some(([lo, hi]) => b >= lo && b <= hi) ? b : -1);
  let next = 256;
  const bytes = letters.map((b) => String.fromCharCode(b < 0 ? next++ : b));
  const merges = [["t", "h"], ["th", "e"], ["Ġ", "the"], ["a", "b"], ["Ġ", "c"]];
  const vocab = Object.fromEntries([...bytes, ...merges.map((m) => m.join(""))].map((token, id) => [token, id]));
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  const end = {
    content: "<|end|>",
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  };
  const file = {
    version: "1.0",
    added_tokens: [{ id: 261, ...end }],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: byteLevel,
    decoder: byteLevel,
    model: { type: "BPE", unk_token: null, vocab, merges },
  };
  edit(file);
  return file;
}

/** The same with an end token behind every text, as T5 has it. */
export function endedFile(): unknown {
  return tinyFile((file) => {
    const end = { SpecialToken: { id: "<|end|>", type_id: 0 } };
    const text = (id: string) => ({ Sequence: { id, type_id: 0 } });
    file.post_processor = {
      type: "TemplateProcessing",
      single: [text("A"), end],
      pair: [text("A"), end, text("B"), end],
      special_tokens: { "<|end|>": { id: "<|end|>", ids: [261], tokens: ["<|end|>"] } },
    };
  });
}

/** 262 ids: byte b has the id b, "th" 256, "the" 257, " the" 258, "ab" 259, " c" 260, the end 261. */
export const tiny: Tokenizer = createTokenizer({ tokenizer: tinyFile(), config: { eos_token: "<|end|>" } });
