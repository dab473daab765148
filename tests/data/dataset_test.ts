import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { DataError, GraftError, UsageError } from "../../src/core/errors.ts";
import { type Dataset, type DatasetOptions, describe, loadDataset } from "../../src/data/dataset.ts";
import { trainedTokens } from "../../src/data/labels.ts";
import { createTokenizer, loadTokenizer } from "../../src/data/tokenizer.ts";
import { tiny, tinyFile } from "./tiny_tokenizer.ts";

const shared = new URL("../../../shared/", import.meta.url).pathname;

async function load(
  content: string | readonly unknown[],
  { name = "train.jsonl", ...options }: Partial<DatasetOptions> & { readonly name?: string } = {},
): Promise<Dataset> {
  const dir = await Deno.makeTempDir();
  try {
    const text = typeof content === "string" ? content : content.map((row) => JSON.stringify(row) + "\n").join("");
    await Deno.writeTextFile(`${dir}/${name}`, text);
    return await loadDataset(`${dir}/${name}`, { tokenizer: tiny, ...options });
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const code = async (...args: Parameters<typeof load>): Promise<string> =>
  (await assertRejects(() => load(...args), GraftError)).code;
const ids = ({ examples }: Dataset): number[][] => examples.map(({ ids }) => [...ids]);
const labels = ({ examples }: Dataset): number[][] => examples.map(({ labels }) => [...labels]);

Deno.test("text rows train every token and end with the end token, once", async () => {
  const data = await load([{ text: "ab c" }, { text: "the<|end|>" }]);
  assertEquals(ids(data), [[259, 260, 261], [257, 261]]);
  assertEquals(labels(data), ids(data));
  const { path: _, ...report } = data.report;
  assertEquals(report, {
    rows: 2,
    skipped: 0,
    dropped: 0,
    truncated: 0,
    tokensLost: 0,
    doubledBos: 0,
    examples: 2,
    ending: 2,
    tokens: 5,
    trainedTokens: 3, // 2 of the first row and 1 of the second: nothing predicts the first token
    longest: 3,
  });
  assert(/^2 rows of .*: 2 examples, 5 tokens \(60 % trained\), longest 3$/.test(describe(data.report)));
});

Deno.test("only completions are trained, and a token across the border belongs to the completion", async () => {
  const data = await load([
    { prompt: "ab", completion: " c" },
    { prompt: "xa", completion: "bc" },
    { prompt: "x", completion: "" },
    { prompt: "", completion: "ab" },
    { prompt: "x<|end|>", completion: "c" },
  ]);
  assertEquals(ids(data), [[259, 260, 261], [120, 259, 99, 261], [120, 261], [259, 261], [120, 261, 99, 261]]);
  assertEquals(labels(data), [
    [-100, 260, 261],
    [-100, 259, 99, 261],
    [-100, 261],
    [259, 261],
    [-100, -100, 99, 261],
  ]);
  assertEquals(data.report.trainedTokens, 2 + 3 + 1 + 1 + 2);
});

Deno.test("instructions use Alpaca's prompt", async () => {
  const data = await load([{ instruction: "Add.", input: "1 2", output: "3" }, { instruction: "Hi", output: "Yo" }]);
  const [first, second] = data.examples.map(({ ids }) => tiny.decode(ids));
  assert(first!.endsWith("### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:\n3<|end|>"), first);
  assert(second!.endsWith("request.\n\n### Instruction:\nHi\n\n### Response:\nYo<|end|>"), second);
  assertEquals(data.report.trainedTokens, 2 + 3);
});

Deno.test("rows of no known kind are named by line, fields and the kinds that are known", async () => {
  const error = await assertRejects(() => load([{ text: "a" }, { messages: [], constructor: 1 }]), DataError);
  assertEquals([error.code, error.line], ["data/field", 2]);
  assertStringIncludes(error.message, '"messages", "constructor"');
  assertStringIncludes(error.message, '{"prompt", "completion"}');
  for (
    const row of [{ text: null }, { text: ["a"] }, { text: 3 }, { prompt: "a", completion: {} }, {}, { prompt: "a" }]
  ) {
    assertEquals(await code([row]), "data/field");
  }
  const data = await load('{"text":"a"}\n{"no":1}\nbroken\n{"text":"ab"}\n', { skipBadRows: 2 });
  assertEquals([data.report.rows, data.report.skipped], [2, 2]);
  assertStringIncludes(describe(data.report), "2 bad rows left out");
  assertEquals(await code('{"text":"a"}\n{"no":1}\nbroken\n', { skipBadRows: 1 }), "data/json");
  assertEquals(await code('{"text":"\\ud83d"}\n'), "data/encoding");
  assertEquals(await code("a,b\n", { name: "train.parquet" }), "data/format");
});

Deno.test("long rows are cut and counted, or refused", async () => {
  const rows = [{ text: "xxxxxx" }, { text: "x" }, { prompt: "xxxx", completion: "x" }];
  const data = await load(rows, { maxLength: 4 });
  assertEquals(ids(data), [[120, 120, 120, 120], [120, 261]]);
  const { truncated, tokensLost, dropped, longest, ending } = data.report;
  assertEquals({ truncated, tokensLost, dropped, longest, ending }, {
    truncated: 2,
    tokensLost: 3 + 2,
    dropped: 1, // the row of which only the prompt is left
    longest: 4,
    ending: 1,
  });
  assertStringIncludes(describe(data.report), "2 rows truncated, 5 tokens lost");
  const error = await assertRejects(() => load(rows, { maxLength: 4, onOverflow: "error" }), DataError);
  assertEquals([error.code, error.line], ["data/too-long", 1]);
  assertEquals(await code([rows[2]], { maxLength: 4 }), "data/no-labels");
});

Deno.test("the length must fit the model, and every id its embedding", async () => {
  const rows = [{ text: "ab" }];
  const error = await assertRejects(() => load(rows, { maxLength: 513, positions: 512 }), UsageError);
  assertEquals(error.code, "usage/max-length");
  assertStringIncludes(error.message, "512");
  assertEquals(await code(rows, { maxLength: 1 }), "usage/max-length");
  assertEquals(await code(rows, { limit: 0 }), "usage/limit");
  assertEquals((await load([{ text: "x".repeat(20) }], { positions: 8 })).report.longest, 8);
  const range = await assertRejects(() => load(rows, { vocabSize: 261 }), DataError);
  assertEquals([range.code, range.line], ["data/token-range", 1]);
  assertStringIncludes(range.message, "id 261: the model has 261 rows");
});

Deno.test("a begin token is never doubled", async () => {
  const tokenizer = createTokenizer({
    tokenizer: tinyFile((file) => {
      file.added_tokens.push({ id: 262, content: "<s>", special: true });
      file.post_processor = {
        type: "TemplateProcessing",
        single: [{ SpecialToken: { id: "<s>" } }, { Sequence: { id: "A" } }],
      };
    }),
    config: { bos_token: "<s>", eos_token: "<|end|>" },
  });
  const data = await load([{ text: "<s>a" }, { text: "a" }, { prompt: "<s>x", completion: "a" }], { tokenizer });
  assertEquals(ids(data), [[262, 97, 261], [262, 97, 261], [262, 120, 97, 261]]);
  assertEquals(labels(data)[2], [-100, -100, 97, 261]);
  assertEquals(data.report.doubledBos, 2);
});

Deno.test("packing joins everything into full windows", async () => {
  const rows = [{ text: "xyz" }, { prompt: "x", completion: "y" }, { text: "z" }];
  const data = await load(rows, { packing: true, maxLength: 4 });
  assertEquals(ids(data), [[120, 121, 122, 261], [120, 121, 261, 122]]); // the last window, [261], trains nothing
  assertEquals(labels(data)[1], [-100, 121, 261, 122]);
  const long = await load([{ text: "x".repeat(10) }], { packing: true, maxLength: 4 });
  assertEquals(ids(long).map((row) => row.length), [4, 4, 3]);
  assertEquals(long.report.truncated, 0);
});

Deno.test("text files give paragraphs, or one stream", async () => {
  const text = "\nab\nab\r\n\r\n  \nthe\n\n";
  const data = await load(text, { name: "train.txt" });
  assertEquals(data.examples.map(({ ids }) => tiny.decode(ids)), ["ab\nab<|end|>", "the<|end|>"]);
  const stream = await load(text, { name: "train.txt", packing: true, maxLength: 5 });
  assertEquals(stream.examples.map(({ ids }) => tiny.decode(ids)).join(""), "\nab\nab\n\n  \nthe\n\n<|end|>");
  assertEquals(await code(" \n", { name: "train.txt" }), "data/empty");
});

Deno.test("a list of rows in .json, and its lines", async () => {
  const text = '[\n  {"text": "ab"},\n  {"text": "c"},\n  {"text": 1}\n]';
  const error = await assertRejects(() => load(text, { name: "train.json" }), DataError);
  assertEquals([error.code, error.line], ["data/field", 4]);
  assertEquals(ids(await load(text, { name: "train.json", skipBadRows: 1 })), [[259, 261], [99, 261]]);
  assertEquals(await code("{}", { name: "train.json" }), "data/empty");
  assertEquals(await code("[{]", { name: "train.json" }), "data/json");
});

Deno.test("a folder has splits", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${dir}/train.jsonl`, '{"text":"ab"}');
    await Deno.writeTextFile(`${dir}/test.txt`, "the");
    assertEquals(ids(await loadDataset(dir, { tokenizer: tiny })), [[259, 261]]);
    assertEquals(ids(await loadDataset(dir, { tokenizer: tiny, split: "test" })), [[257, 261]]);
    const missing = await assertRejects(() => loadDataset(dir, { tokenizer: tiny, split: "valid" }), DataError);
    assertEquals(missing.code, "data/missing");
    assertEquals(
      (await assertRejects(() => loadDataset(`${dir}/no`, { tokenizer: tiny }), DataError)).code,
      "data/missing",
    );
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("real sets: WikiSQL and instructions with stories260K", async () => {
  try {
    await Deno.stat(shared);
  } catch {
    return console.log("skipped, no ../shared");
  }
  const tokenizer = await loadTokenizer(`${shared}models/stories260K-hf`);
  const options = { tokenizer, maxLength: 128, positions: 512, vocabSize: 512 };
  const wikisql = await loadDataset(`${shared}datasets/wikisql-mlx`, { ...options, split: "valid" });
  assertEquals(wikisql.report.rows, 100);
  for (const { ids, labels } of wikisql.examples) {
    assert(ids.length <= 128 && ids[0] === 1 && ids[1] !== 1);
    assertEquals(trainedTokens(labels), ids.length - 1);
  }
  const folder = `${shared}datasets/instruct-rasbt/instruction-data.json`;
  const instruct = await loadDataset(folder, { ...options, maxLength: 512, limit: 50 });
  assertEquals([instruct.report.rows, instruct.report.dropped], [50, 0]);
  for (const { ids, labels } of instruct.examples) {
    const text = tokenizer.decode(ids.filter((_, t) => labels[t] === -100), { skipSpecialTokens: true });
    if (ids.length < 512) assert(text.endsWith("### Response:\n"), text);
  }
  console.log(`  ${describe(wikisql.report)}\n  ${describe(instruct.report)}`);
});
