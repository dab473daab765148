// Rows of two texts: which kinds there are, what becomes of both texts, and what is refused.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { DataError, loadPairDataset, type PairDataset, type PairDatasetOptions, UsageError } from "../../mod.ts";
import { collate } from "../../src/data/batches.ts";
import { describe } from "../../src/data/dataset.ts";
import { createTokenizer } from "../../src/data/tokenizer.ts";
import { batchSource } from "../../src/train/source.ts";
import { sharedFolder } from "../shared.ts";
import { withFolder } from "../temp_folder.ts";
import { endedFile } from "./tiny_tokenizer.ts";

const tokenizer = createTokenizer({ tokenizer: endedFile(), config: { eos_token: "<|end|>" } });

async function load(
  rows: readonly unknown[],
  options: Partial<PairDatasetOptions> = {},
): Promise<PairDataset> {
  let data: PairDataset | undefined;
  await withFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/rows.jsonl`, rows.map((row) => JSON.stringify(row)).join("\n"));
    data = await loadPairDataset(`${folder}/rows.jsonl`, { tokenizer, ...options });
  });
  return data!;
}

const text = (ids: Iterable<number>) => tokenizer.decode(ids);

Deno.test("pairs: every kind of row gives a source and a target", async () => {
  const { rows, examples, report } = await load([
    { document: "the cat", summary: "cat" },
    { article: "the cat", highlights: "cat" },
    { prompt: "the cat", completion: "cat" },
    { input: "the cat", output: "cat" },
    { source: "the cat", target: "cat" },
    { question: "who?", context: "the cat", answer: "cat" },
    { question: "who?", context: "the cat", answers: { text: ["cat", "the cat"], answer_start: [4, 0] } },
    { question: "who?", answers: [] },
    { instruction: "name it", input: "the cat", output: "cat" },
  ]);
  assertEquals(rows.slice(0, 5).map(({ source, target }) => [source, target]), Array(5).fill(["the cat", "cat"]));
  assertEquals(rows[5]!.source, "question: who? context: the cat");
  assertEquals(rows[6]!.references, ["cat", "the cat"]);
  assertEquals([rows[7]!.source, rows[7]!.target, rows[7]!.references], ["question: who?", "", [""]]);
  assert(rows[8]!.source.includes("### Instruction:\nname it\n\n### Input:\nthe cat\n\n### Response:"));
  assertEquals([text(examples[0]!.ids), text(examples[0]!.target!)], ["the cat<|end|>", "cat<|end|>"]);
  assertEquals([...examples[7]!.target!], [261]);
  assertEquals([report.rows, report.examples, report.ending, report.task], [9, 9, 9, "seq2seq-lm"]);
  const sum = (f: (e: typeof examples[number]) => number) => examples.reduce((a, e) => a + f(e), 0);
  assertEquals(report.trainedTokens, sum(({ target }) => target!.length));
  assertEquals(report.tokens, sum(({ ids, target }) => ids.length + target!.length));
  assert(describe(report).includes(`longest ${report.longest} and 4`), describe(report));
});

Deno.test("pairs: a prefix comes first; what is too long loses its end, not its end token", async () => {
  const rows = [{ source: "abcdefgh", target: "the cat" }];
  const { examples, report } = await load(rows, { sourcePrefix: "cut: ", maxLength: 8, maxTargetLength: 3 });
  assertEquals([text(examples[0]!.ids), text(examples[0]!.target!)], ["cut: abc<|end|>", "the c<|end|>"]);
  assertEquals([report.truncated, report.tokensLost], [1, 5 + 2]);
});

Deno.test("pairs: a batch has rows of both lengths; the largest batch has the longest of both", async () => {
  const { examples } = await load([
    { source: "the cat", target: "c" },
    { source: "the", target: "the cats" },
  ]);
  const { input_ids, attention_mask, labels } = collate(examples, { padId: 9 });
  assertEquals(input_ids.map((row) => row.length), [5, 5]);
  assertEquals(input_ids[1], [257, 261, 9, 9, 9]);
  assertEquals(attention_mask![1], [1, 1, 0, 0, 0]);
  assertEquals(labels, [[99, 261, -100, -100, -100, -100], [257, 260, 97, 116, 115, 261]]);
  const { largest } = batchSource({ examples }, {
    batchSize: 2,
    gradientAccumulation: 1,
    seed: 1,
    padId: 9,
    types: false,
  });
  assertEquals(largest.input_ids.map((row) => row.length), [5, 5]);
  assertEquals((largest.labels as number[][]).map((row) => row.length), [6, 6]);
});

Deno.test("pairs: rows that mean nothing are named, or left out as far as is allowed", async () => {
  const good = { source: "a", target: "b" };
  const error = await assertRejects(() => load([good, { text: "a" }]), DataError);
  assertEquals([error.code, error.line], ["data/field", 2]);
  assert(error.message.includes('{"document", "summary"}'), error.message);
  await assertRejects(() => load([{ source: 1, target: "b" }]), DataError, '"source" 1');
  await assertRejects(() => load([{ question: "a", answer: 3 }]), DataError, "a list of texts");
  const { report } = await load([good, { text: "a" }, 7], { skipBadRows: 2 });
  assertEquals([report.rows, report.skipped], [1, 2]);
  await assertRejects(() => load([good], { vocabSize: 98 }), DataError, "id 261: the model has 98 rows");
  await assertRejects(() => load([good], { maxTargetLength: 1 }), UsageError, "at least 2");
  await assertRejects(() => load([good], { limit: 0 }), UsageError, "at least 1");
  await assertRejects(() => load([{ text: "a" }], { skipBadRows: 1 }), DataError, "none is left");
});

Deno.test("pairs: summaries and questions of ../shared", async () => {
  const shared = sharedFolder();
  if (shared === undefined) return;
  const options = { tokenizer, sourcePrefix: "summarize: ", maxLength: 256, limit: 20 };
  const data = await loadPairDataset(`${shared}/datasets/summarization-debian`, options);
  assertEquals(data.rows[0]!.target, "Mobile oriented web comics reader client");
  assert(text(data.examples[0]!.ids).startsWith("summarize: Piperka is a web comic"));
  for (const file of ["qa-t0/adversarial_qa.squad.jsonl", "medical-pubmedqa/pubmedqa_pqal.jsonl"]) {
    const { rows, report } = await loadPairDataset(`${shared}/datasets/${file}`, { ...options, sourcePrefix: "" });
    assert(rows[0]!.source.startsWith("question: ") && report.rows === 20);
  }
});
