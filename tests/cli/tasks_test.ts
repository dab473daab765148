// `finetune --task` and what comes after, each in a process with the permissions of its task.
import { assert, assertEquals } from "@std/assert";
import { wordpieceFile, WORDS } from "../data/wordpiece.ts";
import { BERT, randomWeights, writeModel } from "../models/folder.ts";
import { withFolder } from "../temp_folder.ts";
import { asciiTokenizer, graft, ROOT } from "./harness.ts";

const vocab_size = 96;

/** A BERT without a head, its tokenizer, and sentences that are good or bad. */
async function prepare(folder: string): Promise<{ readonly model: string; readonly data: string }> {
  const config = { ...BERT, architectures: ["BertForMaskedLM"], vocab_size, max_position_embeddings: 64 };
  const [model, data] = [`${folder}/model`, `${folder}/data`];
  await writeModel(model, config, randomWeights(config));
  await Deno.writeTextFile(`${model}/tokenizer.json`, JSON.stringify(wordpieceFile(WORDS)));
  await Deno.mkdir(data);
  const rows = (count: number) =>
    Array.from(
      { length: count },
      (_, i) => `the film ${"abcdef"[i % 6]} is ${i % 3 ? "good" : "bad"}\t${i % 3 ? "pos" : "neg"}`,
    );
  await Deno.writeTextFile(`${data}/train.tsv`, rows(48).join("\n"));
  await Deno.writeTextFile(`${data}/dev.tsv`, rows(12).join("\n"));
  return { model, data };
}

Deno.test("cli: a classifier is trained from a .tsv, inspected and merged, with the labels of its rows", () =>
  withFolder(async (folder) => {
    const { model, data } = await prepare(folder);
    const out = `${folder}/out`;
    const base = ["finetune", "--model", model, "--data", data, "--task", "seqcls", "--json"];
    const ended = await graft([...base, "--output", out, "--epochs", "6", "--learning-rate", "2e-2"]);
    assertEquals(ended.code, 0, ended.stderr);
    const { after, before } = JSON.parse(ended.stdout);
    assert(after.domains[0].figures.accuracy === 1 && before.domains[0].figures.accuracy < 1, ended.stdout);
    assertEquals(JSON.parse(await Deno.readTextFile(`${out}/config.json`)).id2label, { "0": "neg", "1": "pos" });
    assertEquals(JSON.parse(await Deno.readTextFile(`${out}/adapter_config.json`)).task_type, "SEQ_CLS");
    const log = (await Deno.readTextFile(`${out}/metrics.jsonl`)).trim().split("\n").map((line) => JSON.parse(line));
    assert(log.some((line) => line.eval_accuracy === 1), JSON.stringify(log.at(-1)));

    const inspected = await graft(["inspect", out, "--model", model, "--json"]);
    assertEquals([inspected.code, JSON.parse(inspected.stdout).problems], [0, []], inspected.stdout + inspected.stderr);
    const merged = await graft(["merge", "--model", model, "--adapter", out, "--output", `${folder}/merged`]);
    assertEquals(merged.code, 0, merged.stderr);
    assert(
      JSON.parse(await Deno.readTextFile(`${folder}/merged/config.json`)).architectures[0].endsWith(
        "ForSequenceClassification",
      ),
    );

    // The merged model has a head with these labels: other rows are read by their names.
    const again = await graft([
      "finetune",
      "--model",
      `${folder}/merged`,
      "--data",
      data,
      "--dry-run",
      "--output",
      `${folder}/x`,
    ]);
    assertEquals(again.code, 0, again.stderr);
    assert(again.stdout.includes("labels: neg 16, pos 32") && again.stdout.includes("task: sequence-classification"));
    assert(!again.stderr.includes("will be new"), again.stderr);
  }));

Deno.test("cli: an encoder-decoder is trained from pairs of texts, and shows what it writes", () =>
  withFolder(async (folder) => {
    const model = `${folder}/t5`, data = `${folder}/rows.jsonl`;
    await Deno.mkdir(model);
    for (const name of ["config.json", "model.safetensors"]) {
      await Deno.copyFile(`${ROOT}/tests/fixtures/t5-lora/model/${name}`, `${model}/${name}`);
    }
    await Deno.writeTextFile(`${model}/tokenizer.json`, JSON.stringify(asciiTokenizer(1)));
    await Deno.writeTextFile(`${model}/tokenizer_config.json`, '{"eos_token": "<|end|>"}');
    const rows = Array.from({ length: 8 }, (_, i) => JSON.stringify({ document: `text ${i}`, summary: `${i}` }));
    await Deno.writeTextFile(data, rows.join("\n"));
    const args = ["finetune", "--model", model, "--data", data, "--eval-data", data, "--output", `${folder}/out`];
    const options = ["--source-prefix", "sum: ", "--samples", "1", "--sample-tokens", "4", "--json"];
    const { code, stdout, stderr } = await graft([...args, ...options, "--epochs", "4", "--learning-rate", "1e-2"]);
    assertEquals(code, 0, stderr);
    const { before, after } = JSON.parse(stdout);
    assert(after.domains[0].loss < before.domains[0].loss, stdout);
    assertEquals(after.samples[0].prompt, "sum: text 0");
    assertEquals(JSON.parse(await Deno.readTextFile(`${folder}/out/adapter_config.json`)).task_type, "SEQ_2_SEQ_LM");
    const asked = ["generate", "--model", model, "--adapter", `${folder}/out`, "--prompt", "sum: text 0"];
    const answer = await graft([...asked, "--max-new-tokens", "4"]);
    assert(answer.code === 0 && answer.stdout.startsWith("sum: text 0 → "), answer.stdout + answer.stderr);
  }));

Deno.test("cli: what a task cannot have is refused before anything is written", () =>
  withFolder(async (folder) => {
    const { model, data } = await prepare(folder);
    const refused = async (...args: string[]) => {
      const { code, stderr } = await graft([
        "finetune",
        "--model",
        model,
        "--data",
        data,
        "--output",
        `${folder}/out`,
        ...args,
      ]);
      assert(code !== 0, args.join(" "));
      return stderr;
    };
    assert((await refused("--task", "seqcls", "--packing")).includes("--packing"));
    assert((await refused("--task", "mlm", "--source-prefix", "x")).includes("--source-prefix"));
    assert((await refused("--task", "causal-lm")).includes("causal-lm"));
    assert((await refused("--task", "tokcls")).includes('"tokens"'));
    await assertMissing(`${folder}/out`);
  }));

async function assertMissing(path: string): Promise<void> {
  const found = await Deno.stat(path).catch(() => undefined);
  assertEquals(found, undefined);
}
