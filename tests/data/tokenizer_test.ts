import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { DataError, FormatError, GraftError, ModelError } from "../../src/core/errors.ts";
import { decodeStream, streamDecoder } from "../../src/data/decode_stream.ts";
import { createTokenizer, loadTokenizer } from "../../src/data/tokenizer.ts";
import { mayRunAway } from "../../src/data/tokenizer_file.ts";
import { tiny, tinyFile } from "./tiny_tokenizer.ts";

const shared = new URL("../../../shared/", import.meta.url).pathname;
const texts = [
  "the cab, that thé  other",
  "Héllo 😀 wörld 日本語\n\n\ttabs  ",
  " leading and trailing ",
  "don't . , it 's",
  "constructor __proto__ toString",
  "a\u0000b\u0085\ufeff\ufffd",
  "👩‍👩‍👧‍👦🇪🇺",
];

function present(path: string): boolean {
  try {
    return Deno.statSync(path) !== undefined;
  } catch {
    console.log("skipped, no ../shared");
    return false;
  }
}

Deno.test("byte-level BPE: hand-made ids, special tokens and round trips", () => {
  assertEquals(tiny.encode("the ab c"), [257, 32, 259, 260]);
  assertEquals(tiny.encode(" the"), [258]);
  assertEquals(tiny.encode("é"), [0xc3, 0xa9]);
  assertEquals(tiny.encode("a<|end|>b"), [97, 261, 98]);
  assertEquals(tiny.decode([97, 261, 98]), "a<|end|>b");
  assertEquals(tiny.decode([97, 261, 98, 99_999], { skipSpecialTokens: true }), "ab");
  assertEquals([tiny.encode(""), tiny.decode([])], [[], ""]);
  assertEquals([tiny.vocabSize, tiny.eosIds, tiny.bosId, tiny.padId], [262, [261], undefined, undefined]);
  assertEquals([tiny.tokenId("constructor"), tiny.tokenId("the"), tiny.token(258)], [undefined, 257, "Ġthe"]);
  for (const text of texts) assertEquals(tiny.decode(tiny.encode(text)), text);
  const error = assertThrows(() => tiny.encode("\ud83d"), DataError);
  assertEquals(error.code, "data/encoding");
});

Deno.test("a stream gives the same text in pieces that never hold half a character", async () => {
  for (const text of texts.filter((text) => !text.includes("\ufffd"))) {
    const pieces = await Array.fromAsync(decodeStream(tiny, tiny.encode(text)));
    assertEquals(pieces.join(""), text);
    assert(pieces.every((piece) => piece !== "" && !piece.includes("\ufffd") && piece.isWellFormed()));
  }
  assertEquals(await Array.fromAsync(decodeStream(tiny, tiny.encode("a😀"))), ["a", "😀"]);
  const decoder = streamDecoder(tiny);
  assertEquals([0xf0, 0x9f, 261].map((id) => decoder.push(id)), ["", "", ""]);
  assertEquals([decoder.flush(), decoder.flush()], ["\ufffd", ""]);
});

Deno.test("stories260K: golden ids, byte fallback, streams, the word constructor", async () => {
  const dir = `${shared}models/stories260K-hf`;
  if (!present(dir)) return;
  const tokenizer = await loadTokenizer(dir, { rows: 512 });
  const golden = JSON.parse(await Deno.readTextFile(`${dir}/golden.json`));
  assertEquals(tokenizer.encode(golden.text), golden.input_ids);
  assertEquals(tokenizer.decode(golden.input_ids, { skipSpecialTokens: true }), golden.text);
  assertEquals([tokenizer.bosId, tokenizer.eosIds, tokenizer.padId, tokenizer.vocabSize], [1, [2, 1], undefined, 512]);
  assertEquals(tokenizer.encode("x", { specialTokens: false })[0] === 1, false);
  for (const text of texts) {
    const ids = tokenizer.encode(text);
    assert(ids.every((id) => Number.isInteger(id) && id < 512));
    assertEquals(tokenizer.decode(ids, { skipSpecialTokens: true }), text);
    if (text.includes("\ufffd")) continue;
    const pieces = await Array.fromAsync(decodeStream(tokenizer, ids));
    assertEquals(pieces.join(""), text);
    assert(!pieces.some((piece) => piece.includes("\ufffd")));
  }
  // The text of a continuation keeps its first space.
  const [context, rest] = [golden.input_ids.slice(0, 5), golden.input_ids.slice(5)];
  const before = tokenizer.decode(context, { skipSpecialTokens: true });
  const after = (await Array.fromAsync(decodeStream(tokenizer, rest, { context }))).join("");
  assertEquals(before + after, golden.text);
  await assertRejects(() => loadTokenizer(dir, { rows: 500 }), FormatError, "[0, 500)");
});

/** Byte-pair encoding as it is defined: merge the pair of lowest rank, leftmost first, until none is left. */
function naiveBpe(text: string, merges: readonly [string, string][]): string[] {
  const rank = new Map(merges.map(([a, b], i) => [`${a} ${b}`, i]));
  const pieces = Array.from(text);
  while (true) {
    let best = -1;
    let lowest = Infinity;
    for (let i = 0; i + 1 < pieces.length; i++) {
      const r = rank.get(`${pieces[i]} ${pieces[i + 1]}`) ?? Infinity;
      if (r < lowest) [best, lowest] = [i, r];
    }
    if (best < 0) return pieces;
    pieces.splice(best, 2, pieces[best]! + pieces[best + 1]!);
  }
}

Deno.test("the library's BPE equals the definition on WikiSQL and Shakespeare", async () => {
  const dir = `${shared}models/stories260K-hf`;
  if (!present(dir)) return;
  const file = JSON.parse(await Deno.readTextFile(`${dir}/tokenizer.json`));
  const tokenizer = await loadTokenizer(dir);
  const sql = (await Deno.readTextFile(`${shared}datasets/wikisql-mlx/test.jsonl`)).trim().split("\n").slice(0, 40);
  const plays = (await Deno.readTextFile(`${shared}datasets/tinyshakespeare/input.txt`)).slice(0, 9000).split("\n\n");
  let tokens = 0;
  for (const text of [...sql.map((line) => JSON.parse(line).text as string), ...plays]) {
    const expected = naiveBpe("▁" + text.replaceAll(" ", "▁"), file.model.merges);
    const known = expected.flatMap((piece) =>
      tokenizer.tokenId(piece) ?? [...new TextEncoder().encode(piece)].map((byte) => byte + 3)
    );
    assertEquals(tokenizer.encode(text, { specialTokens: false }), known);
    tokens += known.length;
  }
  console.log(`  ${tokens} tokens compared`);
});

Deno.test("babyllama105: golden ids, and unknown characters become one unknown token", async () => {
  const dir = `${shared}models/babyllama105-hf`;
  if (!present(dir)) return;
  const tokenizer = await loadTokenizer(dir);
  const golden = JSON.parse(await Deno.readTextFile(`${dir}/golden.json`));
  assertEquals(tokenizer.encode(golden.text).slice(0, golden.input_ids.length), golden.input_ids);
  assertEquals(tokenizer.encode("日本", { specialTokens: false }), [3, 0]);
});

Deno.test("bert-uncased: template, lower case, word pieces", async () => {
  const path = `${shared}models/bert-uncased-tokenizer.json`;
  if (!present(path)) return;
  const tokenizer = createTokenizer({ tokenizer: JSON.parse(await Deno.readTextFile(path)) });
  // Published ids of bert-base-uncased: [CLS] hello , world ! [SEP]
  assertEquals(tokenizer.encode("Hello, world!"), [101, 7592, 1010, 2088, 999, 102]);
  assertEquals(tokenizer.encode("Embeddings", { specialTokens: false }), [7861, 8270, 4667, 2015]);
  assertEquals(tokenizer.decode([101, 7592, 2088, 102], { skipSpecialTokens: true }), "hello world");
  assertEquals(tokenizer.vocabSize, 30522);
});

Deno.test("parts that the library reads otherwise than Rust does are repaired", () => {
  const words = (pre: unknown, text: string, letters: string): string[] => {
    const vocab = Object.fromEntries(["[UNK]", ...new Set(letters.split("|"))].map((word, id) => [word, id]));
    const model = { type: "WordLevel", vocab, unk_token: "[UNK]" };
    const tokenizer = createTokenizer({ tokenizer: { model, pre_tokenizer: pre, added_tokens: [] } });
    return tokenizer.encode(text).map((id) => tokenizer.token(id)!);
  };
  const dash = (behavior: string) =>
    words(
      { type: "Split", pattern: { String: "-" }, behavior, invert: false },
      "the-final--countdown",
      "the|the-|-|--|final|final-|-final|countdown|-countdown",
    );
  // The examples of the Rust documentation of SplitDelimiterBehavior.
  assertEquals(dash("Removed"), ["the", "final", "countdown"]);
  assertEquals(dash("Isolated"), ["the", "-", "final", "-", "-", "countdown"]);
  assertEquals(dash("MergedWithPrevious"), ["the-", "final-", "-", "countdown"]);
  assertEquals(dash("MergedWithNext"), ["the", "-final", "-", "-countdown"]);
  assertEquals(dash("Contiguous"), ["the", "-", "final", "--", "countdown"]);
  assertEquals(words({ type: "Whitespace" }, "wörld is 日本!", "wörld|is|日本|!"), ["wörld", "is", "日本", "!"]);
  assertEquals(words({ type: "Punctuation" }, "a!!b", "a|!|b"), ["a", "!", "!", "b"]);
  assertEquals(words({ type: "Digits", individual_digits: true }, "a12", "a|1|2"), ["a", "1", "2"]);
  assertEquals(words({ type: "Digits" }, "a١٢", "a|١٢"), ["a", "١٢"]);
  assertEquals(words({ type: "Metaspace", replacement: "▁" }, "a b", "▁a|▁b"), ["▁a", "▁b"]);
  assertEquals(words({ type: "Metaspace", add_prefix_space: false }, "a b", "a|▁b"), ["a", "▁b"]);
  assertEquals(words({ type: "Metaspace", split: false }, "a b", "▁a▁b"), ["▁a▁b"]);
});

Deno.test("a tokenizer.json that contradicts itself is refused with all its problems", () => {
  // deno-lint-ignore no-explicit-any
  const code = (edit: (file: any) => void, rows?: number): string => {
    const options = rows === undefined ? {} : { rows };
    return assertThrows(() => createTokenizer({ tokenizer: tinyFile(edit) }, options), GraftError).code;
  };
  assertEquals(code((f) => delete f.model), "tokenizer/model");
  assertEquals(code((f) => f.model.vocab = "x"), "tokenizer/vocab");
  assertEquals(code((f) => f.model.merges.push(["q", "zz"])), "tokenizer/merge");
  assertEquals(code((f) => f.model.merges.push("a b c")), "tokenizer/merge");
  assertEquals(code((f) => f.model.merges.push(["a", "c"])), "tokenizer/merge");
  assertEquals(code((f) => delete f.model.merges), "tokenizer/merge");
  assertEquals(code((f) => f.model.vocab.other = 97), "tokenizer/duplicate-id");
  assertEquals(code((f) => f.model.vocab.other = 1.5), "tokenizer/range");
  assertEquals(code((f) => f.model.vocab.other = -1), "tokenizer/range");
  assertEquals(code(() => {}, 261), "tokenizer/range");
  assertEquals(code((f) => f.added_tokens[0].id = 2 ** 30), "tokenizer/range");
  assertEquals(code((f) => f.added_tokens[0].content = ""), "tokenizer/added-token");
  assertEquals(code((f) => f.added_tokens[0].content = "a"), "tokenizer/added-token");
  assertEquals(code((f) => f.added_tokens[0].single_word = true), "tokenizer/unsupported");
  assertEquals(code((f) => f.model.type = "Magic"), "tokenizer/unsupported");
  assertEquals(code((f) => f.pre_tokenizer = { type: "Magic" }), "tokenizer/unsupported");
  assertEquals(
    code((f) => f.post_processor = { type: "TemplateProcessing", single: [{ SpecialToken: { id: "<no>" } }] }),
    "tokenizer/template",
  );
  assertEquals(
    code((f) => f.pre_tokenizer = { type: "Split", pattern: { Regex: "(a+)+$" }, behavior: "Isolated" }),
    "security/regex",
  );
  const error = assertThrows(
    () =>
      createTokenizer({
        tokenizer: tinyFile((f) => {
          f.model.vocab["\u001b[2J"] = 97;
          f.model.merges.push(["q", "zz"]);
        }),
      }),
    FormatError,
  );
  assertStringIncludes(error.message, "id 97");
  assertStringIncludes(error.message, '"zz"');
  assert(!error.message.includes("\u001b"));
});

Deno.test("names of Object.prototype may be tokens", () => {
  const file = tinyFile((f) => f.model.vocab = { ...f.model.vocab, constructor: 262, ["__proto__"]: 263 });
  const tokenizer = createTokenizer({ tokenizer: file });
  assertEquals(tokenizer.tokenId("constructor"), 262);
  assertEquals(tokenizer.tokenId("toString"), undefined);
  assertEquals(tokenizer.decode(tokenizer.encode("constructor toString")), "constructor toString");
});

Deno.test("patterns of known tokenizers pass, exploding ones do not", () => {
  const known = [
    String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`, // GPT-2
    String
      .raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`, // Llama 3
    String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t)?|[+(]*`, // o200k
  ];
  for (const pattern of known) assertEquals(mayRunAway(pattern), false, pattern);
  for (const pattern of ["(a+)+", "(a|a)*b", "((a*)b)+", "(?:x{2,})*", "(a*){3,}", "([)]+)+"]) {
    assertEquals(mayRunAway(pattern), true, pattern);
  }
});

Deno.test("files of a folder: settings, missing and broken files", async () => {
  const dir = await Deno.makeTempDir();
  const write = (name: string, value: unknown) =>
    Deno.writeTextFile(`${dir}/${name}`, typeof value === "string" ? value : JSON.stringify(value));
  try {
    assertEquals((await assertRejects(() => loadTokenizer(dir), ModelError)).code, "tokenizer/missing");
    await write("tokenizer.json", tinyFile());
    await write("special_tokens_map.json", { eos_token: { content: "<|end|>" }, pad_token: "t", bos_token: "missing" });
    await write("config.json", { eos_token_id: [98, 261, 5000] });
    await write("tokenizer_config.json", {
      chat_template: [{ name: "default", template: "{{ x }}" }],
      eos_token: null,
    });
    const tokenizer = await loadTokenizer(dir);
    assertEquals([tokenizer.eosIds, tokenizer.padId, tokenizer.chatTemplate], [[261, 98], 116, "{{ x }}"]);
    assertEquals(tokenizer.bosId, undefined);
    await write("tokenizer.json", '{"model": {}, "model": {}}');
    assertEquals((await assertRejects(() => loadTokenizer(dir), FormatError)).code, "tokenizer/json");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
