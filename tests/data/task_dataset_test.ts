// Rows of tasks: which kinds there are, what becomes of labels, tags and answers, and what is refused.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { DataError, UsageError } from "../../mod.ts";
import { collate } from "../../src/data/batches.ts";
import { describe } from "../../src/data/dataset.ts";
import { frameOf } from "../../src/data/frame.ts";
import { maskTokens } from "../../src/data/mask_tokens.ts";
import { tokenOffsets } from "../../src/data/offsets.ts";
import { loadTaskDataset, type TaskDataset, type TaskDatasetOptions } from "../../src/data/task_dataset.ts";
import type { QuestionRow } from "../../src/data/task_rows.ts";
import { createTokenizer } from "../../src/data/tokenizer.ts";
import { sharedFolder } from "../shared.ts";
import { withFolder } from "../temp_folder.ts";
import { tiny } from "./tiny_tokenizer.ts";
import { wordpiece } from "./wordpiece.ts";

type Task = TaskDatasetOptions["task"];

/** The data set of a file with this content. */
async function load(
  content: string | readonly unknown[],
  task: Task,
  options: Partial<TaskDatasetOptions> & { name?: string } = {},
): Promise<TaskDataset> {
  const { name = "rows.jsonl", ...rest } = options;
  let data: TaskDataset | undefined;
  await withFolder(async (folder) => {
    const text = typeof content === "string" ? content : content.map((row) => JSON.stringify(row)).join("\n");
    await Deno.writeTextFile(`${folder}/${name}`, text);
    data = await loadTaskDataset(`${folder}/${name}`, { task, tokenizer: wordpiece, ...rest });
  });
  return data!;
}

const code = async (...args: Parameters<typeof load>): Promise<string> =>
  (await assertRejects(() => load(...args), DataError)).code;
const text = (ids: Iterable<number>) => [...ids].map((id) => wordpiece.token(id)).join(" ");

Deno.test("rows to classify: one text or two in the frame of the tokenizer, labels by name", async () => {
  const { examples, labels, problemType, report } = await load([
    { text: "The film is good", label: "pos" },
    { sentence: "it is bad", label: "neg" },
    { text: "walking", label: "pos" },
  ], "sequence-classification");
  assertEquals([labels, problemType], [["neg", "pos"], "single_label_classification"]);
  assertEquals(examples.map(({ label }) => label), [1, 0, 1]);
  assertEquals(examples.map(({ ids }) => text(ids)), [
    ...["[CLS] the film is good [SEP]", "[CLS] it is bad [SEP]", "[CLS] walk ##ing [SEP]"],
  ]);
  assertEquals(report.labelCounts, { neg: 1, pos: 2 });
  assert(describe(report).includes("labels: neg 1, pos 2"));

  const pairs = await load([{ premise: "the film", hypothesis: "it is good", label: 2 }, {
    text: "it",
    text_pair: "is",
    label: 0,
  }], "sequence-classification");
  assertEquals(text(pairs.examples[0]!.ids), "[CLS] the film [SEP] it is good [SEP]");
  assertEquals([...pairs.examples[0]!.types!], [0, 0, 0, 0, 1, 1, 1, 1]);
  assertEquals([pairs.labels, pairs.examples.map(({ label }) => label)], [["LABEL_0", "LABEL_1", "LABEL_2"], [2, 0]]);
  const batch = collate(pairs.examples);
  assertEquals(batch.token_type_ids, [[0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 0, 0, 0]]);
  assertEquals(batch.labels, [2, 0]);
});

Deno.test("labels: several by name or as 0 and 1, numbers to predict, and those of a model", async () => {
  const named = await load([{ text: "it", labels: ["b", "a"] }, { text: "is", labels: [] }, {
    text: "a",
    labels: ["c"],
  }], "sequence-classification");
  assertEquals([named.problemType, named.labels], ["multi_label_classification", ["a", "b", "c"]]);
  assertEquals(named.examples.map(({ label }) => label), [[1, 1, 0], [0, 0, 0], [0, 0, 1]]);
  const bits = await load([{ text: "it", labels: [1, 0] }, { text: "is", labels: [1, 1] }], "sequence-classification");
  assertEquals([bits.problemType, bits.labels.length, bits.examples[1]!.label], ["multi_label_classification", 2, [
    1,
    1,
  ]]);
  const numbers = await load([{ text: "it", label: 0.5 }, { text: "is", label: -2 }], "sequence-classification");
  assertEquals([numbers.problemType, numbers.labels, numbers.examples.map(({ label }) => label)], ["regression", [
    "LABEL_0",
  ], [0.5, -2]]);
  const whole = await load([{ text: "it", label: 3 }, { text: "is", label: 5 }], "sequence-classification", {
    problemType: "regression",
  });
  assertEquals([whole.labels.length, whole.examples[0]!.label], [1, 3]);
  const known = await load([{ text: "it", label: "pos" }, { text: "is", label: 0 }], "sequence-classification", {
    labels: ["pos", "neg"],
  });
  assertEquals(known.examples.map(({ label }) => label), [0, 0]);
  assertEquals(
    await code([{ text: "it", label: "other" }], "sequence-classification", { labels: ["pos", "neg"] }),
    "data/label",
  );
  assertEquals(await code([{ text: "it", label: { a: 1 } }], "sequence-classification"), "data/field");
  assertEquals(await code([{ txt: "it", label: 1 }], "sequence-classification"), "data/field");
  const skipped = await load([{ text: "it", label: "x" }, { text: "it", label: "pos" }], "sequence-classification", {
    labels: ["pos"],
    skipBadRows: 1,
    problemType: "single_label_classification",
  });
  assertEquals([skipped.report.skipped, skipped.rows.length, skipped.sources[0]!.row], [1, 1, 0]);
});

Deno.test("tables: .tsv without a header has literal quotes, .csv has quoted cells and names", async () => {
  const tsv = await load('"the film\t1\n\nit is bad\t0\n', "sequence-classification", { name: "train.tsv" });
  assertEquals(tsv.examples.map(({ label }) => label), [1, 0]);
  assertEquals(tsv.rows.map((row) => "text" in row ? row.text : ""), ['"the film', "it is bad"]);
  assertEquals(tsv.rows.map(({ line }) => line), [1, 3]);
  const csv = await load('\ufefftext,label\n"the ""film"", good",pos\r\n"it\nis",neg\n', "sequence-classification", {
    name: "x.csv",
  });
  assertEquals(csv.rows.map((row) => "text" in row ? row.text : ""), ['the "film", good', "it\nis"]);
  assertEquals(csv.labels, ["neg", "pos"]);
  const three = await load("sentence\tlabel\nit\t0.5\n", "sequence-classification", { name: "x.tsv" });
  assertEquals(three.examples[0]!.label, 0.5);
  assertEquals(await code("a,b\nc,d\n", "sequence-classification", { name: "x.csv" }), "data/header");
  assertEquals(await code("text,label\nc\n", "sequence-classification", { name: "x.csv" }), "data/csv");
  assertEquals(await code('text,label\n"c,1\n', "sequence-classification", { name: "x.csv" }), "data/csv");
  assertEquals(await code("", "sequence-classification", { name: "x.tsv" }), "data/empty");
  assertEquals(await code("x", "sequence-classification", { name: "x.parquet" }), "data/format");
});

Deno.test("long rows: a text is cut behind, of two the longer one", async () => {
  const rows = [{ text: "the film is good it is bad the film", label: 0 }, {
    text: "it is good film the",
    text_pair: "is bad",
    label: 1,
  }];
  const { examples, report } = await load(rows, "sequence-classification", { maxLength: 8 });
  assertEquals(examples.map(({ ids }) => text(ids)), [
    ...["[CLS] the film is good it is [SEP]", "[CLS] it is good [SEP] is bad [SEP]"],
  ]);
  assertEquals([report.truncated, report.tokensLost], [2, 5]);
  await assertRejects(() => load(rows, "sequence-classification", { maxLength: 4 }), UsageError, "at least 8");
});

Deno.test("tagged words: the first token of a word has its tag, the others none", async () => {
  const { examples, labels, sources } = await load([{
    tokens: ["Smith", "is", "walking", "!"],
    ner_tags: ["B-PER", "O", "O", "O"],
  }, { tokens: ["it"], tags: ["O"] }], "token-classification");
  assertEquals(labels, ["B-PER", "O"]);
  assertEquals(text(examples[0]!.ids), "[CLS] smith is walk ##ing ! [SEP]");
  assertEquals([...examples[0]!.labels], [-100, 0, 1, 1, -100, 1, -100]);
  assertEquals([...sources[0]!.words!], [-1, 0, 1, 2, -1, 3, -1]);
  assertEquals(collate(examples).labels, [[-100, 0, 1, 1, -100, 1, -100], [-100, 1, -100, -100, -100, -100, -100]]);
  // Byte-level tokenizers have the space in front of a word in its first token.
  const bytes = await load([{ tokens: ["ab", "the"], tags: ["x", "y"] }], "token-classification", { tokenizer: tiny });
  assertEquals([...bytes.examples[0]!.ids], [259, 258]);
  assertEquals([...bytes.examples[0]!.labels], [0, 1]);
  assertEquals(await code([{ tokens: ["a", "b"], tags: ["x"] }], "token-classification"), "data/field");
  assertEquals(await code([{ text: "a" }], "token-classification"), "data/field");
});

const question = (context: string, answer: string) => ({
  question: "who wrote it?",
  context,
  answers: { text: [answer], answer_start: [context.indexOf(answer)] },
});

Deno.test("questions: the answer's tokens behind the question, in windows where the context is long", async () => {
  const row = question("The film is good. Smith wrote it", "Smith");
  const { examples, sources } = await load([row], "question-answering");
  assertEquals(text(examples[0]!.ids), "[CLS] who wrote it ? [SEP] the film is good . smith wrote it [SEP]");
  assertEquals(examples[0]!.span, [11, 11]);
  const { first, offsets } = sources[0]!.context!;
  assertEquals([first, offsets[5]], [6, [18, 23]]);
  assertEquals([...examples[0]!.types!].lastIndexOf(0), 5);
  const batch = collate(examples);
  assertEquals([batch.start_positions, batch.end_positions, batch.labels], [[11], [11], undefined]);

  const windows = await load([row], "question-answering", { maxLength: 11, stride: 2 });
  assertEquals(windows.examples.map(({ ids }) => text(ids.subarray(6))), [
    ...["the film is good [SEP]", "is good . smith [SEP]", ". smith wrote it [SEP]"],
  ]);
  assertEquals(windows.examples.map(({ span }) => span), [[0, 0], [9, 9], [7, 7]]);
  assertEquals(windows.sources.map(({ row }) => row), [0, 0, 0]);
  const none = await load([{ ...row, answers: { text: [], answer_start: [] } }], "question-answering");
  assertEquals(none.examples[0]!.span, [0, 0]);
  assertEquals(
    await code([{ ...row, answers: { text: ["Smith"], answer_start: [3] } }], "question-answering"),
    "data/answer",
  );
  assertEquals(await code([{ question: "who" }], "question-answering"), "data/field");
});

Deno.test("offsets: accents, capitals, unknown letters, bytes and characters of several bytes", () => {
  const spans = (tokenizer: typeof wordpiece, string: string) => {
    const ids = tokenizer.encode(string, { specialTokens: false });
    return tokenOffsets(string, ids, tokenizer).map(([a, b]) => string.slice(a, b));
  };
  assertEquals(spans(wordpiece, "The Fílm  is\tgood."), ["The", "Fílm", "is", "good", "."]);
  assertEquals(spans(wordpiece, "walking ☃☃ it ☃"), ["walk", "ing", "☃☃", "it", "☃"]);
  assertEquals(spans(wordpiece, "☃"), ["☃"]);
  const joined = spans(tiny, "thé the c☃ab");
  assertEquals(joined.at(-1), "ab");
  assert(joined.includes("the") && joined.join("").includes("☃"));
});

Deno.test("hidden tokens: shares, kinds and seeds; special tokens stay", async () => {
  const rows = [{ text: "the film is good it is bad ".repeat(30) }];
  const data = await load(rows, "masked-lm", { maxLength: 64 });
  assertEquals(data.examples.length, Math.ceil(210 / 62));
  assertEquals([data.examples[0]!.ids[0], data.examples[0]!.ids.at(-1)], [2, 3]);
  const rule = { maskId: 4, vocabSize: 100, specialIds: new Set([0, 2, 3]), probability: 0.15 };
  const ids = new Uint32Array(20_000).fill(7);
  const example = { ids, labels: new Int32Array(20_000).fill(-100) };
  const hidden = maskTokens(example, rule, { seed: 1, epoch: 0, row: 0 });
  const chosen = [...hidden.labels.keys()].filter((i) => hidden.labels[i] !== -100);
  assert(chosen.every((i) => hidden.labels[i] === 7));
  const share = (test: (id: number) => boolean) => chosen.filter((i) => test(hidden.ids[i]!)).length / chosen.length;
  assert(Math.abs(chosen.length / 20_000 - 0.15) < 0.01); // four standard deviations
  assert(Math.abs(share((id) => id === 4) - 0.8) < 0.03 && Math.abs(share((id) => id === 7) - 0.1) < 0.025);
  assertEquals(maskTokens(example, rule, { seed: 1, epoch: 0, row: 0 }).ids, hidden.ids);
  assert(String(maskTokens(example, rule, { seed: 1, epoch: 1, row: 0 }).labels) !== String(hidden.labels));
  const short = { ids: Uint32Array.of(2, 9, 3), labels: new Int32Array(3).fill(-100) };
  assertEquals([...maskTokens(short, rule, { seed: 5, epoch: 2, row: 1 }).labels], [-100, 9, -100]);
  await assertRejects(() => load(rows, "masked-lm", { tokenizer: tiny }), UsageError, "no mask token");
});

Deno.test("frames: of tokenizers with and without special tokens", () => {
  assertEquals(frameOf(wordpiece).wrap([9], [8, 7]), {
    ids: [2, 9, 3, 8, 7, 3],
    types: [0, 0, 0, 1, 1, 1],
    starts: [1, 3],
  });
  assertEquals([frameOf(tiny).single, frameOf(tiny).pair, frameOf(tiny).wrap([5], [6]).ids], [0, 0, [5, 6]]);
});

Deno.test("SST-2, SQuAD's form and BERT's own tokenizer", async () => {
  const shared = sharedFolder();
  if (shared === undefined) return;
  const file = `${shared}/models/bert-uncased-tokenizer.json`;
  const tokenizer = createTokenizer({ tokenizer: JSON.parse(await Deno.readTextFile(file)) });
  // transformers: BertTokenizer("Hello, y'all! How are you?", "fine") of bert-base-uncased.
  assertEquals(tokenizer.encodePair("Hello, y'all! How are you?", "fine"), {
    ids: [101, 7592, 1010, 1061, 1005, 2035, 999, 2129, 2024, 2017, 1029, 102, 2986, 102],
    types: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1],
  });
  assertEquals([tokenizer.padId, tokenizer.maskId], [0, 103]);
  const { examples, labels, report } = await loadTaskDataset(`${shared}/datasets/sst2`, {
    task: "sequence-classification",
    tokenizer,
    split: "valid",
    limit: 200,
  });
  assertEquals([examples.length, labels.length, report.skipped], [200, 2, 0]);

  const { examples: windows, rows, sources } = await loadTaskDataset(
    `${shared}/datasets/qa-t0/adversarial_qa.squad.jsonl`,
    {
      task: "question-answering",
      tokenizer,
      maxLength: 384,
    },
  );
  let found = 0;
  const answered = new Set<number>();
  windows.forEach(({ span }, i) => {
    const { row, context } = sources[i]!;
    if (span![0] === 0) return;
    const { context: text, answers } = rows[row] as QuestionRow;
    const [from] = context!.offsets[span![0] - context!.first]!, [, to] = context!.offsets[span![1] - context!.first]!;
    answered.add(row);
    // The tokens of an answer cover it; where it starts or ends inside of a word, they cover the word.
    if (text.slice(from, to) === answers![0]) found++;
    else assert(text.slice(from, to).includes(answers![0]!), `${text.slice(from, to)} has no ${answers![0]}`);
  });
  console.log(
    `${rows.length} questions in ${windows.length} windows; ${answered.size} answered, ${found} windows to the letter`,
  );
  assertEquals(answered.size, rows.length);
  assert(found > 0.97 * windows.filter(({ span }) => span![0] > 0).length);
});
