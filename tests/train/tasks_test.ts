// A new head on a known trunk: trained with the adapter, saved as PEFT's modules_to_save, its labels in config.json.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { adapterTask, ConfigError, loadModel, lora, UsageError } from "../../mod.ts";
import { readAdapterFolder } from "../../src/io/adapter_file.ts";
import { adapterFromJson, buildAdapter, resolveAdapter } from "../../src/adapters/mod.ts";
import { Graph } from "../../src/graph/graph.ts";
import type { Json } from "../../src/models/config.ts";
import { architectureOf } from "../../src/models/mod.ts";
import { visitModel } from "../../src/objectives/build.ts";
import { chooseTask } from "../../src/objectives/choose_task.ts";
import { taskOf } from "../../src/objectives/tasks.ts";
import { modulesOfTask } from "../../src/train/adapter_task.ts";
import { withModules } from "../../src/train/adapters.ts";
import { baseFacts } from "../../src/train/base_facts.ts";
import { recordingLeaves } from "../../src/train/leaves.ts";
import { takeInventory } from "../../src/train/load.ts";
import { gpuTest } from "../device.ts";
import { sharedFolder } from "../shared.ts";
import {
  BERT,
  bits,
  DISTILBERT,
  fixture,
  GPT2,
  randomWeights,
  ROBERTA,
  type Weights,
  writeModel,
} from "../models/folder.ts";
import { withFolder } from "../temp_folder.ts";
import { records } from "./harness.ts";

/** The weights of the bare model. */
const trunk = (weights: Weights): Weights =>
  new Map([...weights].filter(([name]) => !/^(?:classifier|score|qa_outputs|pre_classifier|lm_head|cls)\b/.test(name)));

const row = (length: number, start = 7): number[] =>
  Array.from({ length }, (_, t) => 2 + (start * (t + 3) + t * t) % 59);
const batch = { input_ids: [row(8), row(8, 5), row(8, 11)], labels: [0, 1, 0] };
const bare = { bert: BERT, roberta: ROBERTA, distilbert: DISTILBERT, gpt2: GPT2 } as const;

for (const [name, config] of Object.entries(bare)) {
  gpuTest(
    `${name}: a new head is trained, saved and found again with its labels`,
    (device) =>
      withFolder(async (folder) => {
        const { architectures: _, ...plain } = { architectures: 0, ...config };
        const full = { ...config, architectures: ["XForSequenceClassification"] };
        await writeModel(`${folder}/base`, plain, trunk(randomWeights(full)));
        const warnings: string[] = [];
        const labels = ["negative", "positive"];
        const options = { task: "seqcls", labels, warn: (text: string) => void warnings.push(text) } as const;
        const model = await loadModel(device, `${folder}/base`, options);
        assert(warnings.some((text) => text.includes("start at random")), warnings.join("; "));
        const untrained = await model.forward(batch);
        await model.addAdapter(lora({ rank: 2, alpha: 4 }));
        const steps = await records(model, { data: Array(12).fill(batch), learningRate: 2e-2 });
        assert(steps.at(-1)!.loss < 0.5 * steps[0]!.loss);
        const trained = await model.forward(batch);
        await model.saveAdapter(`${folder}/adapter`);
        await model.saveMerged(`${folder}/merged`);
        model.disableAdapter();
        assertEquals(bits((await model.forward(batch)).logits.data), bits(untrained.logits.data)); // the head is off too
        model.destroy();

        const file = await readAdapterFolder(`${folder}/adapter`);
        assertEquals(file.config.task_type, "SEQ_CLS");
        const saved = file.config.modules_to_save as string[];
        assertEquals(saved.slice(0, 2), ["classifier", "score"]);
        const head = [...file.tensors.keys()].filter((key) => !key.includes("lora_"));
        assert(
          head.length > 0 && head.every((key) => /^base_model\.model\.\w+(\.\w+)*\.(weight|bias)$/.test(key)),
          `${head}`,
        );

        const chosen = await adapterTask(`${folder}/adapter`);
        assertEquals(chosen, { task: "sequence-classification", labels });
        const again = await loadModel(device, `${folder}/base`, chosen);
        await again.loadAdapter(`${folder}/adapter`);
        assertEquals(bits((await again.forward(batch)).logits.data), bits(trained.logits.data));
        again.destroy();

        const merged = await loadModel(device, `${folder}/merged`, { warn: (text) => void warnings.push(text) });
        assertEquals(merged.state.config.id2label, { "0": "negative", "1": "positive" });
        assertEquals(merged.state.config.label2id, { negative: 0, positive: 1 });
        assert(String(merged.state.config.architectures).endsWith("ForSequenceClassification"));
        const { loss } = await merged.forward(batch);
        assert(Math.abs(loss! - trained.loss!) < 1e-5);
        merged.destroy();
      }),
  );
}

gpuTest(
  "other labels than a checkpoint has replace its head; a wrong head is refused",
  (device) =>
    withFolder(async (folder) => {
      await writeModel(`${folder}/m`, { ...BERT, id2label: { "0": "a", "1": "b" } });
      const warnings: string[] = [];
      const more = await loadModel(device, `${folder}/m`, { labels: 5, warn: (text) => void warnings.push(text) });
      assertEquals((await more.forward({ input_ids: [row(4)] })).logits.shape, [1, 5]);
      assert(warnings[0]!.includes("classifier"));
      more.destroy();
      const same = await loadModel(device, `${folder}/m`, { labels: ["x", "y"] });
      assertEquals(same.state.fresh, []);
      same.destroy();

      const code = async (options: Parameters<typeof loadModel>[2]) =>
        (await assertRejects(() => loadModel(device, `${folder}/m`, options), ConfigError)).code;
      assertEquals(await code({ task: "causal-lm" }), "config/architectures");
      await assertRejects(() => loadModel(device, `${folder}/m`, { labels: ["x", "x"] }), UsageError, "comes twice");
      await writeModel(`${folder}/wrong`, { ...BERT, id2label: { "0": "a", "2": "b" } }, randomWeights(BERT));
      const error = await assertRejects(() => loadModel(device, `${folder}/wrong`), ConfigError);
      assertEquals(error.code, "config/id2label");
    }),
);

gpuTest(
  "norms under TensorFlow's names, without the prefix of the bare model",
  (device) =>
    withFolder(async (folder) => {
      const weights = randomWeights(BERT);
      await writeModel(`${folder}/new`, BERT, weights);
      const old = (name: string) =>
        name.replace(/^bert\./, "").replace("LayerNorm.weight", "LayerNorm.gamma").replace(
          "LayerNorm.bias",
          "LayerNorm.beta",
        );
      await writeModel(`${folder}/old`, BERT, new Map([...weights].map(([name, value]) => [old(name), value])));
      const logits: Uint32Array[] = [];
      for (const name of ["new", "old"]) {
        const model = await loadModel(device, `${folder}/${name}`);
        assertEquals(model.state.fresh, []);
        logits.push(bits((await model.forward(batch)).logits.data));
        model.destroy();
      }
      assertEquals(logits[0], logits[1]);
    }),
);

gpuTest("a regression and several labels are trained through the same head", (device) =>
  withFolder(async (folder) => {
    await writeModel(`${folder}/m`, DISTILBERT, randomWeights(DISTILBERT));
    const cases = [
      { task: "regression", labels: [0.5, -1.5, 2], problem: "regression", width: 1 },
      { task: "seqcls", labels: [[1, 0, 1], [0, 1, 1], [0, 0, 0]], problem: undefined, width: 3 },
    ] as const;
    for (const { task, labels, width } of cases) {
      const model = await loadModel(device, `${folder}/m`, { task, ...width === 1 ? {} : { labels: width } });
      await model.addAdapter(lora({ rank: 2, alpha: 4 }));
      const steps = await records(model, { data: Array(25).fill({ ...batch, labels }), learningRate: 2e-2 });
      console.log(`${task}: loss ${steps[0]!.loss.toFixed(3)} to ${steps.at(-1)!.loss.toFixed(3)}`);
      assert(steps.at(-1)!.loss < 0.3 * steps[0]!.loss);
      assertEquals(
        (await model.forward(batch.input_ids.length ? { input_ids: batch.input_ids } : batch)).logits.shape,
        [3, width],
      );
      await assertRejects(
        () => records(model, { data: [{ ...batch, labels }], labelSmoothing: 0.1 }),
        UsageError,
        "Cannot smooth the labels",
      );
      model.destroy();
    }
  }));

gpuTest(
  "adapters of tasks are saved with the task, the modules and the class that PEFT writes",
  (device) =>
    withFolder(async (folder) => {
      for (const name of ["bert-seqcls", "bert-tokcls", "bert-qa", "bert-mlm", "gpt2-seqcls"]) {
        const model = await loadModel(device, `${fixture(name)}/model`);
        await model.loadAdapter(`${fixture(name)}/adapter_init`);
        await model.saveAdapter(`${folder}/${name}`);
        model.destroy();
        const [known, saved] = [
          await readAdapterFolder(`${fixture(name)}/adapter_init`),
          await readAdapterFolder(`${folder}/${name}`),
        ];
        for (const field of ["task_type", "auto_mapping", "modules_to_save", "fan_in_fan_out"]) {
          assertEquals(saved.config[field], known.config[field], `${name}: ${field}`);
        }
        assertEquals([...saved.tensors.keys()].sort(), [...known.tensors.keys()].sort());
        for (const [key, { shape, data }] of known.tensors) {
          assertEquals(saved.tensors.get(key)!.shape, shape);
          assertEquals(bits(saved.tensors.get(key)!.data), bits(data), key);
        }
      }
    }),
);

Deno.test("adapterTask: folders of PEFT without config.json say how many labels there are", async () => {
  const known = new URL("../fixtures/", import.meta.url).pathname;
  assertEquals(await adapterTask(`${known}bert-seqcls/adapter_init`), { task: "sequence-classification", labels: 3 });
  assertEquals(await adapterTask(`${known}gpt2-seqcls/adapter_init`), { task: "sequence-classification", labels: 3 });
  assertEquals(await adapterTask(`${known}bert-tokcls/adapter_init`), { task: "token-classification", labels: 3 });
  assertEquals(await adapterTask(`${known}bert-qa/adapter_init`), { task: "question-answering" });
  assertEquals(await adapterTask(`${known}bert-mlm/adapter_init`), {});
  assertEquals(await adapterTask(`${known}llama-lora/adapter_init`), {});
});

/** The tensors of an adapter on a model of this configuration, without a device. */
function tensorsOf(json: Readonly<Record<string, unknown>>, config: Json): Map<string, readonly number[]> {
  const architecture = architectureOf(config), task = taskOf(config, architecture);
  const settings = withModules(adapterFromJson(json), modulesOfTask(json.task_type));
  const facts = baseFacts({ architecture, inventory: takeInventory(architecture, task), config });
  const { leaves, inventory } = recordingLeaves();
  const adapter = buildAdapter(resolveAdapter(settings, facts), "eval");
  visitModel(architecture, task, { graph: new Graph(), adapter, leaves });
  return new Map([...inventory.params.values()].map(({ name, shape }) => [name, shape]));
}

Deno.test("adapters of the Hub with heads: every tensor of DistilBERT on IMDB and of GPT-2, by name and shape", async () => {
  const shared = sharedFolder();
  if (shared === undefined) return;
  const read = async (name: string) =>
    JSON.parse(await Deno.readTextFile(`${shared}/models/peft-adapter-headers/${name}.json`));
  const bases: Readonly<Record<string, Json>> = {
    "distilbert-lora-imdb": chooseTask({
      ...{ model_type: "distilbert", vocab_size: 30522, dim: 768, hidden_dim: 3072, n_layers: 6, n_heads: 12 },
      max_position_embeddings: 512,
    }, { task: "seqcls", labels: 2 }),
    "gpt2-lora-seqcls": chooseTask({
      ...{ model_type: "gpt2", vocab_size: 50257, n_embd: 768, n_layer: 12, n_head: 12, n_positions: 1024 },
    }, { task: "seqcls", labels: 6 }),
  };
  for (const [name, base] of Object.entries(bases)) {
    const { __metadata__: _, ...header } = await read(`${name}.header`);
    const expected = Object.entries(header as Record<string, { shape: number[] }>).map((
      [key, { shape }],
    ) => [key, shape]);
    const found = [...tensorsOf(await read(`${name}.adapter_config`), base)];
    const missing = expected.filter(([key]) => !found.some(([own]) => own === key)).map(([key]) => key);
    const extra = found.filter(([own]) => !expected.some(([key]) => key === own)).map(([own]) => own);
    console.log(`${name}: ${expected.length} tensors of the file, ${missing.length} missing, ${extra.length} more`);
    assertEquals(missing, []);
    assertEquals(extra, []);
    for (const [key, shape] of expected) assertEquals(new Map(found).get(key as string), shape, key as string);
  }
});
