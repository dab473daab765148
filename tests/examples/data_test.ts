// The bundled data: how texts are cut and cleaned, and what the files of examples/assets/ promise.
import { assert, assertEquals } from "@std/assert";
import { Tokenizer } from "@huggingface/tokenizers";
import { address, bible, mobyDick, type Passage, plainText, unrepeated } from "../../examples/lib/corpus.ts";

const assets = new URL("../../examples/assets/", import.meta.url);
const read = (name: string) => Deno.readTextFile(new URL(name, assets));
const rows = async (name: string) =>
  (await read(name)).trimEnd().split("\n").map((line) => (JSON.parse(line) as { text: string }).text);
const texts = (passages: readonly Passage[]) => passages.map(({ text }) => text);

Deno.test("corpus: typographic marks and accents become ASCII", () => {
  assertEquals(plainText("  “It’s” — a caf\u00e9 –\n 30° …  "), `"It's"--a cafe - 30 degrees ...`);
});

Deno.test("corpus: paragraphs, verses and sentences become passages", () => {
  assertEquals(texts(mobyDick("CHAPTER 1. Loomings.\n\nCall me\nIshmael.\n\n\n חן \n\n")), [
    "CHAPTER 1. Loomings.",
    "Call me Ishmael.",
  ]);
  // A passage never crosses a chapter, and closes at the first verse end from 300 characters on.
  const verse = "x".repeat(200);
  const lines = `Ge1:1 ${verse}\nGe1:2 ${verse}\nGe1:3 end\n1Cor2:1 first\n`;
  assertEquals(texts(bible(lines)), [`${verse} ${verse}`, "end", "first"]);
  const sentence = `Mr. Speaker and J. F. K. of the U.S. said "${"y".repeat(280)}."`;
  const speech = `${sentence} [Laughter] It is so.Then (Applause.) it ends.`;
  assertEquals(texts(address("2001_x", speech)), [sentence, "It is so. Then it ends."]);
});

Deno.test("corpus: a passage that shares eight words with another one is found", () => {
  const passage = (text: string) => ({ source: "bible", text });
  const [a, b] = [passage("one two three four five six seven eight nine"), passage("a b c d e f g h i")];
  const c = passage("Zero one two, three four five six seven eight!");
  assertEquals(unrepeated([a, b], [a, b, c]), [b]);
});

Deno.test("assets: row counts, lengths, disjoint splits, and 500 kB in all", async () => {
  const [train, valid, old] = [
    await rows("sotu/train.jsonl"),
    await rows("sotu/valid.jsonl"),
    await rows("old/valid.jsonl"),
  ];
  assertEquals([train.length, valid.length, old.length], [600, 60, 60]);
  assertEquals(new Set([...train, ...valid, ...old]).size, 720);
  for (const text of [...train, ...valid, ...old]) assert(/^[\x20-\x7e]{200,600}$/.test(text), text);
  const names = ["sotu/train.jsonl", "sotu/valid.jsonl", "old/valid.jsonl", "prompts.txt", "base/tokenizer.json"];
  const bytes = (await Promise.all(names.map(read))).reduce((sum, text) => sum + text.length, 0);
  assert(bytes < 500e3, `${bytes} bytes`);
});

Deno.test("assets: the base tokenizer has 1,536 ids without gaps and returns every bundled text", async () => {
  const file = JSON.parse(await read("base/tokenizer.json"));
  const tokenizer = new Tokenizer(file, JSON.parse(await read("base/tokenizer_config.json")));
  const ids = Object.values(file.model.vocab as Record<string, number>).sort((a, b) => a - b);
  assertEquals(ids, Array.from({ length: 1536 }, (_, id) => id));
  const all = [await rows("sotu/train.jsonl"), await rows("sotu/valid.jsonl"), await rows("old/valid.jsonl")].flat();
  for (const text of [...all, ...(await read("prompts.txt")).trimEnd().split("\n"), "Any bytes: ü 数 🙂\n"]) {
    assertEquals(tokenizer.decode(tokenizer.encode(text).ids), text);
  }
});
