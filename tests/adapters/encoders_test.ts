// Methods on encoders and decoders with heads: positions in front stand for no sequence, and all else stays as it is.
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import {
  type Batch,
  bitfit,
  bottleneck,
  lnTuning,
  loadModel,
  lora,
  prefixTuning,
  promptTuning,
  train,
} from "../../mod.ts";
import { gpuTest } from "../device.ts";
import { worstDifference, writeModel } from "../models/folder.ts";
import { randomWeights } from "../models/folder.ts";
import { withFolder } from "../temp_folder.ts";

const BERT = {
  architectures: ["BertForSequenceClassification"],
  model_type: "bert",
  vocab_size: 29,
  hidden_size: 16,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  intermediate_size: 20,
  max_position_embeddings: 24,
  type_vocab_size: 2,
  pad_token_id: 1,
  id2label: { 0: "a", 1: "b", 2: "c" },
  torch_dtype: "float32",
};

const BATCH: Batch = {
  input_ids: [[3, 5, 9, 4, 7], [6, 3, 11, 1, 1]],
  attention_mask: [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]],
  labels: [2, 0],
};

gpuTest(
  "encoders: a prefix stands for no sequence, and its rows leave no trace",
  (device) =>
    withFolder(async (folder) => {
      const weights = randomWeights(BERT);
      await writeModel(`${folder}/a`, BERT, weights);
      // Tokens in front have the id 0: another vector for it changes nothing that is read.
      const table = weights.get("bert.embeddings.word_embeddings.weight")!;
      table.data.fill(3, 0, 16);
      await writeModel(`${folder}/b`, BERT, weights);
      const found: Float32Array[] = [];
      for (const name of ["a", "b"]) {
        const model = await loadModel(device, `${folder}/${name}`);
        const base = await model.forward(BATCH);
        await model.addAdapter(prefixTuning({ virtualTokens: 3 }), { seed: 2 });
        const { logits } = await model.forward(BATCH);
        assertEquals(logits.shape, [2, 3]);
        assertNotEquals(logits.data, base.logits.data);
        found.push(logits.data);
        model.destroy();
      }
      assert(worstDifference(found[0]!, found[1]!) === 0);
    }),
);

for (
  const [name, config] of [
    ["LoRA", lora({ rank: 2 })],
    ["LayerNorm tuning", lnTuning({ targetModules: ["LayerNorm"] })],
    ["BitFit", bitfit()],
    ["Pfeiffer", bottleneck({ reductionFactor: 4 })],
    ["prompt tuning", promptTuning({ virtualTokens: 2 })],
  ] as const
) {
  gpuTest(
    `encoders: ${name} trains beside the head, and a file is the same adapter`,
    (device) =>
      withFolder(async (folder) => {
        await writeModel(`${folder}/model`, BERT);
        const model = await loadModel(device, `${folder}/model`);
        const base = (await model.forward(BATCH)).logits.data;
        await model.addAdapter(config);
        const losses: number[] = [];
        for await (const { loss } of train(model, { data: Array(6).fill(BATCH), learningRate: 2e-2 })) {
          losses.push(loss);
        }
        assert(losses.at(-1)! < losses[0]!, String(losses));
        const trained = (await model.forward(BATCH)).logits.data;
        await model.saveAdapter(`${folder}/adapter`);
        await model.loadAdapter(`${folder}/adapter`, { name: "again" });
        assertEquals((await model.forward(BATCH)).logits.data, trained);
        model.disableAdapter();
        assertEquals((await model.forward(BATCH)).logits.data, base);
        model.destroy();
      }),
  );
}
