// Models that learn a rule from rows, end to end: data set, training, predictions, figures.
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  createModel,
  evaluate,
  type GraftDevice,
  loadTaskDataset,
  type Model,
  type TaskChoice,
  type TaskDataset,
  type TaskDatasetOptions,
  taskMetrics,
  taskPredictions,
  train,
  UsageError,
} from "../../mod.ts";
import { bestAnswer, classOf } from "../../src/train/predict.ts";
import { wordpiece } from "../data/wordpiece.ts";
import { gpuTest } from "../device.ts";
import { BERT, DISTILBERT, GPT2, ROBERTA } from "../models/folder.ts";
import { withFolder } from "../temp_folder.ts";

const config = { ...BERT, vocab_size: wordpiece.vocabSize, max_position_embeddings: 64 };

interface Learned {
  readonly rows: readonly unknown[];
  readonly task: TaskDatasetOptions["task"];
  readonly choice: TaskChoice;
  readonly epochs: number;
}

/** Train all weights of a small BERT on rows, and do something with it. */
async function learn(
  device: GraftDevice,
  { rows, task, choice, epochs }: Learned,
  act: (model: Model, data: TaskDataset) => Promise<void>,
): Promise<void> {
  await withFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/train.jsonl`, rows.map((row) => JSON.stringify(row)).join("\n"));
    const data = await loadTaskDataset(folder, { task, tokenizer: wordpiece, maxLength: 40 });
    const labels = data.labels.length > 0 ? { labels: data.labels, problemType: data.problemType } : {};
    const problem = task === "sequence-classification" ? labels : { labels: labels.labels };
    const model = await createModel(device, config, { tokenizer: wordpiece, task: choice, ...problem });
    await model.unfreeze();
    const losses: number[] = [];
    for await (const { loss } of train(model, { data, epochs, batchSize: 16, learningRate: 1e-2, warmupSteps: 5 })) {
      losses.push(loss);
    }
    console.log(`${choice}: loss ${losses[0]!.toFixed(3)} to ${losses.at(-1)!.toFixed(3)} in ${losses.length} steps`);
    assert(losses.at(-1)! < 0.3 * losses[0]!);
    await act(model, data);
    model.destroy();
  });
}

/** Sentences of letters around the words that matter. */
const filler = (i: number) => ["it is", "the film is", "a", "b c is", "who wrote it"][i % 5]!;

gpuTest("sentences are classified, and the figures are those of the rows", (device) => {
  const rows = Array.from({ length: 64 }, (_, i) => ({
    text: `${filler(i)} ${i % 3 === 0 ? "bad" : "good"} ${"xyz"[i % 3]!}`,
    label: i % 3 === 0 ? "negative" : "positive",
  }));
  return learn(device, { rows, task: "sequence-classification", choice: "seqcls", epochs: 12 }, async (model, data) => {
    const [good, bad] = await model.predict(["the film is good y", { text: "a bad film" }]);
    assertEquals([good!.label, bad!.label], ["positive", "negative"]);
    assert(Math.abs(Object.values(good!.scores).reduce((a, b) => a + b, 0) - 1) < 1e-6 && good!.score > 0.8);
    const found = await taskPredictions(model, data);
    assertEquals(found.kind, "classes");
    assertEquals(taskMetrics(found), { accuracy: 1, f1: 1, macro_f1: 1, matthews: 1 });
    assertEquals((await evaluate(model, data)).tokens, 64);
    await assertRejects(() => model.predict([{ tokens: ["a"] }]), UsageError, "token-classification");
  });
});

gpuTest("words are tagged", (device) => {
  const rows = Array.from({ length: 48 }, (_, i) => {
    const words = [
      ...filler(i).split(" "),
      ...["Smith walking it", "walking Smith", "Smith Smith is"][i % 3]!.split(" "),
    ];
    return { tokens: words, tags: words.map((word) => word === "Smith" ? "B-PER" : "O") };
  });
  return learn(device, { rows, task: "token-classification", choice: "tokcls", epochs: 8 }, async (model, data) => {
    const [{ tags, scores }] = await model.predict([{ tokens: ["who", "is", "walking", "Smith"] }]) as [
      { tags: string[]; scores: number[] },
    ];
    assertEquals(tags, ["O", "O", "O", "B-PER"]);
    assertEquals(scores.length, 4);
    assertEquals(taskMetrics(await taskPredictions(model, data)), { precision: 1, recall: 1, f1: 1, accuracy: 1 });
  });
});

gpuTest("questions are answered by spans of their contexts", (device) => {
  const rows = Array.from({ length: 96 }, (_, i) => {
    const context = `${filler(i)}. Smith${i % 2 === 0 ? "-x" : ""} wrote ${filler(i + 1)}`;
    return {
      question: "who wrote it?",
      context,
      answers: { text: ["Smith"], answer_start: [context.indexOf("Smith")] },
    };
  });
  return learn(device, { rows, task: "question-answering", choice: "qa", epochs: 6 }, async (model, data) => {
    const context = "b c is. Smith wrote it";
    const [found] = await model.predict([{ question: "who wrote it?", context }]);
    assertEquals([found!.answer, found!.start, found!.end], ["Smith", 8, 13]);
    assertEquals(taskMetrics(await taskPredictions(model, data)), { exact_match: 1, f1: 1 });
  });
});

gpuTest("hidden tokens are predicted: other ones in every epoch, the same ones in every evaluation", (device) => {
  const rows = Array.from({ length: 32 }, () => ({ text: "the film is good the film is good" }));
  return learn(device, { rows, task: "masked-lm", choice: "mlm", epochs: 15 }, async (model, data) => {
    assertEquals(await evaluate(model, data), await evaluate(model, data));
    await assertRejects(() => model.predict(["a"]), UsageError, "sequence-classification");
  });
});

gpuTest("two texts of a row reach models with and without vectors for them", (device) =>
  withFolder(async (folder) => {
    const rows = [{ premise: "the film", hypothesis: "it is good", label: 1 }, {
      premise: "a",
      hypothesis: "b",
      label: 0,
    }];
    await Deno.writeTextFile(`${folder}/train.jsonl`, rows.map((row) => JSON.stringify(row)).join("\n"));
    const data = await loadTaskDataset(folder, { task: "sequence-classification", tokenizer: wordpiece });
    const vocab_size = wordpiece.vocabSize;
    for (const base of [BERT, ROBERTA, DISTILBERT, { ...GPT2, architectures: ["GPT2ForSequenceClassification"] }]) {
      const model = await createModel(device, { ...base, vocab_size, id2label: { 0: "a", 1: "b" } }, {
        tokenizer: wordpiece,
      });
      await model.unfreeze();
      const losses = await Array.fromAsync(train(model, { data, maxSteps: 2, evalData: data }), ({ loss }) => loss);
      assert(losses.every(Number.isFinite));
      const [found] = await model.predict([{ text: "the film", text_pair: "it is good" }]);
      assert(["a", "b"].includes(found!.label));
      model.destroy();
    }
  }));

Deno.test("answers: the best span in order and of the longest length; none where the first token says so", () => {
  const context = "ab cd ef";
  const offsets = [[0, 2], [3, 5], [6, 8]] as const;
  const window = { context: { first: 1, offsets } };
  const z = (start: number[], end: number[]) => Float32Array.from(start.flatMap((s, t) => [s, end[t]!]));
  const logits = z([5, 0, 1, 3], [5, 0, 4, 2]); // the best end stands before the best start
  const answer = (options = {}) => bestAnswer(context, [window], [logits], options).answer;
  assertEquals(answer(), "cd");
  assertEquals(answer({ noAnswer: true }), "");
  assertEquals(bestAnswer(context, [window], [z([0, 9, 0, 0], [0, 0, 1, 9])], {}).answer, "ab cd ef");
  assertEquals(bestAnswer(context, [window], [z([0, 9, 0, 0], [0, 0, 1, 9])], { maxAnswer: 2 }).answer, "ab cd");
  const several = classOf(Float32Array.of(2, -1, 0.5), { names: ["a", "b", "c"], kind: "multi_label_classification" });
  assertEquals([several.labels, several.label], [["a", "c"], "a, c"]);
});

Deno.test("figures of several labels and of numbers", () => {
  const predictions = [[1, 0], [1, 1], [0, 0]], references = [[1, 0], [0, 1], [0, 1]];
  // Label 0: one hit, two predicted, one actual; label 1: one hit, one predicted, two actual.
  const { accuracy, micro_f1, macro_f1 } = taskMetrics({
    kind: "memberships",
    labels: ["a", "b"],
    predictions,
    references,
  });
  assertEquals([accuracy, micro_f1, macro_f1], [1 / 3, 4 / 6, 2 / 3]);
  const { mse, pearson } = taskMetrics({ kind: "numbers", predictions: [[1], [2]], references: [[2], [4]] });
  assertEquals([mse, pearson], [2.5, 1]);
});
