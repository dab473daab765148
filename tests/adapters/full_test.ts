// Weights that an adapter trains in full: modules_to_save and biases. Full fine-tuning, which is checked against
// PyTorch, is the reference of their gradients.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { type Batch, lora, type LoraOptions, type Model, train } from "../../mod.ts";
import { CheckpointError } from "../../src/core/errors.ts";
import { readAdapterFolder, writeAdapterFolder } from "../../src/io/adapter_file.ts";
import { loadModel } from "../../src/train/load.ts";
import { isSaved } from "../../src/adapters/full.ts";
import { gpuTest } from "../device.ts";
import { GPT2, LLAMA, worstDifference, writeModel } from "../models/folder.ts";
import { withFolder } from "../temp_folder.ts";

const BATCH: Batch = {
  input_ids: [[3, 5, 9, 4, 7, 8], [6, 3, 3, 9, 1, 2]],
  labels: [[3, 5, 9, 4, 7, 8], [6, 3, 3, 9, 1, 2]],
};
const PREFIX = "base_model.model.";

interface FullCase {
  readonly name: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly options: LoraOptions;
  /** Weight → name in the file, for all that are trained in full. */
  readonly names: (weights: readonly string[]) => readonly (readonly [string, string])[];
  readonly merges: boolean;
}

const kept = (weight: string) => [weight, `${PREFIX}${weight}`] as const;
const wrapped = (weight: string) => [weight, `${PREFIX}${weight.replace(/bias$/, "base_layer.bias")}`] as const;
const isBias = (name: string) => name.endsWith(".bias");

const CASES: readonly FullCase[] = [
  {
    name: "an untied head and the norms of Llama",
    config: LLAMA,
    options: { targetModules: ["q_proj"], modulesToSave: ["lm_head", "layernorm"] },
    names: (weights) => weights.filter((name) => /lm_head|layernorm/.test(name)).map(kept),
    merges: true,
  },
  {
    name: "all biases of GPT-2",
    config: GPT2,
    options: { targetModules: ["c_attn"], bias: "all" },
    names: (weights) => weights.filter(isBias).map((name) => name.includes("c_attn") ? wrapped(name) : kept(name)),
    merges: true,
  },
  {
    name: "the biases of the targets",
    config: { ...LLAMA, attention_bias: true },
    options: { targetModules: ["q_proj", "up_proj"], bias: "lora_only" },
    names: (weights) => weights.filter((name) => name.endsWith("q_proj.bias")).map(wrapped),
    merges: true,
  },
  {
    name: "the table of token vectors of a tied model, untied",
    config: { ...LLAMA, tie_word_embeddings: true },
    options: { targetModules: ["q_proj"], modulesToSave: ["embed_tokens", "lm_head"] },
    names: () => [],
    merges: false,
  },
];

for (const { name, config, options, names, merges } of CASES) {
  gpuTest(`trained in full: ${name}`, (device) =>
    withFolder(async (folder) => {
      await writeModel(`${folder}/model`, config);
      const [model, reference] = [
        await loadModel(device, `${folder}/model`),
        await loadModel(device, `${folder}/model`),
      ];
      await reference.unfreeze();
      const base = await logits(model);
      const weights = await model.weights();
      const wanted = new Map(names([...weights.keys()]));

      await model.addAdapter(lora({ rank: 2, ...options }));
      assertEquals(await logits(model), base);
      const [{ gradients }, { gradients: full }] = [await model.gradients(BATCH), await reference.gradients(BATCH)];
      for (const [weight, saved] of wanted) {
        assert(worstDifference(gradients.get(saved)!, full.get(weight)!) < 1e-6, saved); // sums in another order
      }
      if (!merges) {
        // The two uses of a tied weight have gradients of their own, whose sum is that of the shared weight.
        const [table, head] = ["model.embed_tokens", "lm_head"].map((path) =>
          gradients.get(`${PREFIX}${path}.weight`)!
        );
        const sum = table!.map((x, i) => x + head![i]!);
        assert(worstDifference(sum, full.get("model.embed_tokens.weight")!) < 1e-6);
      }

      for await (const _ of train(model, { data: [BATCH, BATCH], learningRate: 1e-2 }));
      const trained = await logits(model);
      await model.saveAdapter(`${folder}/adapter`);
      const { tensors, config: json } = await readAdapterFolder(`${folder}/adapter`);
      const own = [...tensors.keys()].filter((key) => !key.includes(".lora_")).sort();
      if (merges) assertEquals(own, [...wanted.values()].sort());
      assertEquals([json.bias, json.modules_to_save], [options.bias ?? "none", options.modulesToSave ?? null]);
      await model.loadAdapter(`${folder}/adapter`, { name: "again" });
      assertEquals(await logits(model), trained);
      if (merges) {
        await model.merge();
        assert(worstDifference(await logits(model), trained) < 1e-5); // f32 logits around 1
        await model.unmerge();
      } else {
        const error = await assertRejects(() => model.merge(), CheckpointError, "whose weight is also that of");
        assertEquals(error.code, "merge/method");
      }
      model.disableAdapter();
      assertEquals(await logits(model), base);
      for (const [key, values] of await model.weights()) assertEquals(values, weights.get(key), key);
      [model, reference].forEach((each) => each.destroy());
    }));
}

gpuTest(
  "copies of the base's tables in PEFT's files are told apart from the adapter",
  (device) =>
    withFolder(async (folder) => {
      await writeModel(`${folder}/model`, { ...LLAMA, tie_word_embeddings: true });
      const model = await loadModel(device, `${folder}/model`);
      await model.addAdapter(lora({ rank: 2, init: false, targetModules: ["embed_tokens", "lm_head"] }));
      const adapted = await logits(model);
      await model.saveAdapter(`${folder}/adapter`);
      const { config, tensors } = await readAdapterFolder(`${folder}/adapter`);
      const data = (await model.weights()).get("model.embed_tokens.weight")!;
      const shape = [LLAMA.vocab_size, LLAMA.hidden_size];
      const names = [`${PREFIX}model.embed_tokens.base_layer.weight`, `${PREFIX}lm_head.base_layer.weight`];
      const withCopies = (copy: Float32Array) =>
        new Map([...tensors, ...names.map((name) => [name, { shape, data: copy }] as const)]);
      const warnings: string[] = [];
      await writeAdapterFolder(`${folder}/copies`, { config, tensors: withCopies(data) });
      await model.loadAdapter(`${folder}/copies`, { name: "copies", warn: (text) => warnings.push(text) });
      assertEquals([await logits(model), warnings], [adapted, []]);
      await writeAdapterFolder(`${folder}/others`, { config, tensors: withCopies(data.map((x) => 2 * x)) });
      await model.loadAdapter(`${folder}/others`, { name: "others", warn: (text) => warnings.push(text) });
      assertEquals(warnings.length, 2);
      assert(warnings.some((text) => text.includes("embed_tokens.base_layer.weight that is not the model's")));
      model.destroy();
    }),
);

Deno.test("modules_to_save: the end of a path, with all that is below", () => {
  assert(isSaved(["classifier"], "classifier.dense"));
  assert(isSaved(["score"], "model.foo_score"));
  assert(!isSaved(["classifier"], "classifiers.dense"));
  assert(!isSaved([], "lm_head"));
});

async function logits(model: Model): Promise<Float32Array> {
  return (await model.forward(BATCH)).logits.data;
}
