// `evaluate` as users run it: figures with intervals, of language models and of tasks with labels.
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { answerScores, bleu, rouge } from "../../src/metrics/mod.ts";
import { graft, makeWorkspace, ROOT } from "./harness.ts";

interface Estimate {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}
type Metrics = Record<string, { base: Estimate; adapted: Estimate; difference: Estimate }>;

Deno.test("cli: evaluate reports token metrics and written texts, with intervals and their differences", async () => {
  const { model, adapter, data, folder, close } = await makeWorkspace();
  try {
    const rows = (await Deno.readTextFile(`${data}/valid.jsonl`)).trim().split("\n").map((line) => JSON.parse(line));
    const setting = ["--model", model, "--adapter", adapter, "--max-new-tokens", "5"];
    const prompts = `${folder}/prompts.jsonl`;
    await Deno.copyFile(`${data}/valid.jsonl`, prompts);
    const [json, text, written, few] = await Promise.all([
      graft(["evaluate", ...setting, "--data", data, "--generate", "--json"]),
      graft(["evaluate", ...setting, "--data", data, "--draws", "200"]),
      graft(["generate", ...setting, "--prompts", prompts, "--compare", "--json"]),
      graft([
        "evaluate",
        ...setting,
        "--data",
        data,
        "--generate",
        "--metrics",
        "rougeL,loss",
        "--limit",
        "3",
        "--json",
      ]),
    ]);
    for (const { code, stderr } of [json, text, written, few]) assertEquals(code, 0, stderr);
    const result = JSON.parse(json.stdout);
    const metrics = result.metrics as Metrics;
    assertEquals(Object.keys(metrics), [
      ...["loss", "perplexity", "token_accuracy", "exact_match", "f1", "bleu"],
      ...["rouge1", "rouge2", "rougeL", "rougeLsum"],
    ]);
    for (const [name, { base, adapted, difference }] of Object.entries(metrics)) {
      assertAlmostEquals(difference.value, adapted.value - base.value, 1e-12);
      for (const { value, low, high } of [base, adapted, difference]) {
        assert(low <= value && value <= high, `${name}: ${JSON.stringify({ value, low, high })}`);
      }
      assertEquals([result.base[name], result.adapted[name]], [base.value, adapted.value]);
    }
    assertAlmostEquals(metrics.perplexity!.base.value, Math.exp(metrics.loss!.base.value), 1e-9);
    assert(result.rows === 6 && result.base.tokens === result.adapted.tokens && result.base.tokens > 6);

    const { texts } = JSON.parse(written.stdout);
    const references = rows.map(({ completion }: { completion: string }) => completion.trim());
    for (const [side, key] of [["base", "base"], ["adapted", "text"]] as const) {
      const found = texts.map((row: Record<string, string>) => row[key]!.trim());
      assertAlmostEquals(metrics.bleu![side].value, bleu(found, references).score, 1e-9);
      assertAlmostEquals(metrics.rougeLsum![side].value, rouge(found, references).rougeLsum.f1, 1e-9);
      assertAlmostEquals(metrics.f1![side].value, answerScores(found, references.map((r) => [r])).f1, 1e-9);
    }
    for (const word of ["metric", "adapted", "difference", "token_accuracy", "95 % of 200 draws of 6 rows"]) {
      assert(text.stdout.includes(word), text.stdout);
    }
    assertEquals(Object.keys(JSON.parse(few.stdout).metrics), ["rougeL", "loss"]);
    assertEquals(JSON.parse(few.stdout).rows, 3);
  } finally {
    await close();
  }
});

Deno.test("cli: evaluate reports classes with their confusions, and refuses what does not fit", async () => {
  const { model, data, folder, close } = await makeWorkspace();
  try {
    const config = JSON.parse(await Deno.readTextFile(`${model}/config.json`));
    const labels = {
      id2label: { "0": "even", "1": "odd" },
      problem_type: "single_label_classification",
      pad_token_id: 0,
    };
    const classifier = { ...config, ...labels, architectures: ["LlamaForSequenceClassification"] };
    await Deno.mkdir(`${folder}/c`);
    for (const name of ["model.safetensors", "tokenizer.json", "tokenizer_config.json"]) {
      await Deno.copyFile(`${model}/${name}`, `${folder}/c/${name}`);
    }
    await Deno.writeTextFile(`${folder}/c/config.json`, JSON.stringify(classifier));
    const row = (i: number) => JSON.stringify({ text: `the number ${i}`, label: i % 2 === 0 ? "even" : "odd" });
    await Deno.writeTextFile(`${folder}/rows.jsonl`, Array.from({ length: 11 }, (_, i) => `${row(i)}\n`).join(""));
    const setting = ["evaluate", "--model", `${folder}/c`, "--data", `${folder}/rows.jsonl`];
    const [json, text, packed, written, unknown] = await Promise.all([
      graft([...setting, "--json"]),
      graft([...setting, "--metrics", "accuracy"]),
      graft([...setting, "--packing"]),
      graft(["evaluate", "--model", model, "--data", data, "--metrics", "accuracy"]),
      graft([...setting, "--generate"]),
    ]);
    assertEquals(json.code, 0, json.stderr);
    const { metrics, confusion: { base: { labels: names, counts } } } = JSON.parse(json.stdout);
    assertEquals(Object.keys(metrics), ["accuracy", "micro_f1", "macro_f1", "weighted_f1", "matthews"]);
    assertEquals(names, ["even", "odd"]);
    assertEquals(counts.map(([a, b]: [number, number]) => a + b), [6, 5]);
    assertAlmostEquals(metrics.accuracy.base.value, (counts[0][0] + counts[1][1]) / 11, 1e-12);
    assertEquals(text.code, 0, text.stderr);
    assert(text.stdout.includes("rows of a label, by what was predicted") && !text.stdout.includes("matthews"));
    const refused = [[packed, "--packing"], [written, 'no "accuracy" here'], [unknown, "a model that writes"]] as const;
    for (const [{ code, stderr }, word] of refused) {
      assertEquals(code, 2, stderr);
      assert(stderr.includes(word), stderr);
    }
  } finally {
    await close();
  }
});

Deno.test("cli: evaluate scores targets of encoder-decoders and what they write, against all references", async () => {
  const { model, folder, close } = await makeWorkspace();
  try {
    const t5 = `${folder}/t5`, fixture = `${ROOT}/tests/fixtures/t5-lora`;
    await Deno.mkdir(t5);
    for (const name of ["config.json", "model.safetensors"]) {
      await Deno.copyFile(`${fixture}/model/${name}`, `${t5}/${name}`);
    }
    for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
      await Deno.copyFile(`${model}/${name}`, `${t5}/${name}`);
    }
    const rows = ["a b c", "d e"].map((document, i) => JSON.stringify({ document, summary: `${i} 9` }));
    await Deno.writeTextFile(`${folder}/pairs.jsonl`, `${rows.join("\n")}\n`);
    const setting = [
      "evaluate",
      "--model",
      t5,
      "--adapter",
      `${fixture}/adapter_final`,
      "--data",
      `${folder}/pairs.jsonl`,
    ];
    const [json, text] = await Promise.all([
      graft([...setting, "--generate", "--max-new-tokens", "4", "--num-beams", "2", "--json"]),
      graft([...setting, "--source-prefix", "sum: ", "--metrics", "loss"]),
    ]);
    assertEquals(json.code, 0, json.stderr);
    const { metrics, base, rows: count } = JSON.parse(json.stdout);
    assertEquals([count, base.tokens], [2, 8]); // three letters and an end token each
    assert(Object.keys(metrics).includes("rougeLsum") && metrics.loss.difference.value !== 0);
    assertEquals(text.code, 0, text.stderr);
    assert(text.stdout.includes("loss") && !text.stdout.includes("perplexity"));
  } finally {
    await close();
  }
});
