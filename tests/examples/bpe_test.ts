// The tokenizer trainer of examples/: hand-worked merges, any bytes, and the Hugging Face reader as the reference.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { Tokenizer } from "@huggingface/tokenizers";
import { type Bpe, bpeBytes, bpeEncoder, END, PAD, tokenizerFiles, trainBpe } from "../../examples/lib/bpe.ts";

const BYTES = 256 + 2;
const decode = (bpe: Bpe, ids: Iterable<number>) => new TextDecoder().decode(bpeBytes(bpe, ids));
const prose = "It's 1776: we'll hug the pug, don't we? \n\n  Ünïcödé — “naïve” 数学 🙂👍🏽 \t hugs, bugs & HUGS… ";

// The example of the Hugging Face course, each word a text of its own.
const toy = Object.entries({ hug: 10, pug: 5, pun: 12, bun: 4, hugs: 5 }).flatMap(([word, n]) => Array(n).fill(word));

Deno.test("bpe: merges of a hand-worked text come in the order of their counts", () => {
  // ug 20, un 16, h+ug 15, p+un 12, p+ug 5, hug+s 5, b+un 4. Of the two fives "p" is the smaller id: bytes come before
  // joined tokens.
  const { merges, vocab } = trainBpe(toy, { vocabSize: BYTES + 7 });
  assertEquals(merges.map((pair) => pair.join("+")), ["u+g", "u+n", "h+ug", "p+un", "p+ug", "hug+s", "b+un"]);
  assertEquals([vocab.get(END), vocab.get(PAD), vocab.get("ug"), vocab.size], [0, 1, BYTES, BYTES + 7]);
});

Deno.test("bpe: overlapping pairs count once where they are joined", () => {
  // "aaaa" has the pair a+a three times; joined from the left it is aa aa, then aaaa.
  const bpe = trainBpe(["aaaa"], { vocabSize: BYTES + 9, minCount: 1 });
  assertEquals(bpe.merges.map((pair) => pair.join("+")), ["a+a", "aa+aa"]);
  assertEquals(bpeEncoder(bpe)("aaaaa"), [bpe.vocab.get("aaaa")!, bpe.vocab.get("a")!]);
});

Deno.test("bpe: counts kept step by step equal counts taken anew before each merge", () => {
  const text = Array.from({ length: 400 }, (_, i) => "abcab".slice(i % 3, 2 + i * 7 % 4) + " bacca"[i % 6]).join("");
  const { merges } = trainBpe([text], { vocabSize: BYTES + 60 });
  for (let n = 0; n < merges.length; n++) {
    const before: Bpe = { vocab: trainBpe([text], { vocabSize: BYTES + n }).vocab, merges: merges.slice(0, n) };
    const encode = bpeEncoder(before);
    const names = [...before.vocab.keys()];
    const counts = new Map<string, number>();
    for (const word of text.match(/ ?[a-z]+/g) ?? []) {
      const ids = encode(word);
      for (let i = 1; i < ids.length; i++) {
        const pair = `${names[ids[i - 1]!]}+${names[ids[i]!]}`;
        counts.set(pair, (counts.get(pair) ?? 0) + 1);
      }
    }
    assertEquals(counts.get(merges[n]!.join("+")), Math.max(...counts.values()), `merge ${n}`);
  }
});

Deno.test("bpe: any text comes back from its ids, whatever the training text was", () => {
  const bpe = trainBpe([prose], { vocabSize: BYTES + 20 });
  const encode = bpeEncoder(bpe);
  const every = Array.from({ length: 0x3000 }, (_, i) => String.fromCodePoint(i)).join("");
  for (const text of ["", " ", "\0", "\n\n\n", prose, every, `${END} in the text ${PAD}`]) {
    assertEquals(decode(bpe, encode(text)), text);
  }
  assertEquals(bpeBytes(bpe, bpe.vocab.values()).length > 256, true);
  assertEquals(new Set(bpeBytes(bpe, bpe.vocab.values())).size, 256, "every byte has a token");
});

Deno.test("bpe: training twice gives the same files", () => {
  const files = () => tokenizerFiles(trainBpe([prose, ...toy], { vocabSize: BYTES + 40 }));
  assertEquals(files(), files());
});

Deno.test("bpe: @huggingface/tokenizers reads the files and gives the ids of our encoder", () => {
  const bpe = trainBpe([prose, ...toy], { vocabSize: BYTES + 40 });
  const files = tokenizerFiles(bpe);
  const tokenizer = new Tokenizer(JSON.parse(files["tokenizer.json"]!), JSON.parse(files["tokenizer_config.json"]!));
  for (const text of [prose, ...new Set(toy), "Unseen words: wug, 42 xyz.", "  two  spaces "]) {
    const { ids } = tokenizer.encode(text);
    assertEquals(ids, bpeEncoder(bpe)(text));
    assertEquals(tokenizer.decode(ids, { skip_special_tokens: true }), text);
  }
  assertEquals(tokenizer.encode(`hug${END}hug`).ids.filter((id: number) => id === 0), [0]);
  assert(tokenizer.token_to_id(PAD) === 1);
});

Deno.test("bpe: too small a vocabulary is refused", () => {
  assertThrows(() => trainBpe([], { vocabSize: 257 }), RangeError, "needs 258 tokens or more: received 257");
});
