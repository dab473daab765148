// T5 against the float64 reference: logits of every form, padding on both sides, and gradients of all weights.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { type Batch, ConfigError, createModel, loadModel, prefixTuning, train, UsageError } from "../../mod.ts";
import { normal, randomKey } from "../../src/core/random.ts";
import { architectureOf } from "../../src/models/mod.ts";
import { taskOf } from "../../src/objectives/tasks.ts";
import { gpuTest } from "../device.ts";
import { withFolder } from "../temp_folder.ts";
import { randomWeights, T5, worstDifference, writeModel } from "./folder.ts";
import { t5Logits, t5Loss } from "./t5_reference.ts";
import { withModel } from "./with_model.ts";

type Config = Readonly<Record<string, unknown>>;

const configs: Readonly<Record<string, Config>> = {
  "t5: relu, tied": T5,
  "t5: exact gelu, deeper decoder, heads wider than D/H, odd buckets": {
    ...{ ...T5, feed_forward_proj: "gelu", num_layers: 1, num_decoder_layers: 3, d_kv: 12 },
    ...{ relative_attention_num_buckets: 10, relative_attention_max_distance: 11 },
  },
  "flan-t5: gated, untied": { ...T5, feed_forward_proj: "gated-gelu", tie_word_embeddings: false },
  "mt5: gated, tied but not scaled, other start": {
    ...{ ...T5, model_type: "mt5", feed_forward_proj: "gated-gelu", architectures: ["MT5ForConditionalGeneration"] },
    ...{ scale_decoder_outputs: false, decoder_start_token_id: 3, pad_token_id: 2 },
  },
};

const row = (length: number, start = 7): number[] =>
  Array.from({ length }, (_, t) => 4 + (start * (t + 3) + t * t) % 57);

/** Three pairs: one full, one padded behind, one padded in front; labels of different lengths, and one left out inside. */
const pairs = [
  { source: row(13), mask: row(13).map(() => 1), labels: row(9, 5) },
  {
    source: [...row(8, 3), 0, 0, 0, 0, 0],
    mask: row(13).map((_, s) => s < 8 ? 1 : 0),
    labels: [...row(5), -100, -100, -100, -100],
  },
  {
    source: [0, 0, 0, ...row(10, 9)],
    mask: row(13).map((_, s) => s < 3 ? 0 : 1),
    labels: [...row(4, 2), -100, ...row(4)],
  },
];

const batch: Batch = {
  input_ids: pairs.map(({ source }) => source),
  attention_mask: pairs.map(({ mask }) => mask),
  labels: pairs.map(({ labels }) => labels),
};

for (const [name, config] of Object.entries(configs)) {
  gpuTest(
    `${name}: logits and loss are the reference's`,
    (device) =>
      withModel(device, config, async (model, reference) => {
        const { loss, logits: { shape, data } } = await model.forward(batch);
        const [start, pad] = [config.decoder_start_token_id ?? 0, config.pad_token_id ?? 0] as [number, number];
        const expected = pairs.flatMap(({ labels, ...pair }) => {
          const target = [start, ...labels.slice(0, -1).map((label) => label === -100 ? pad : label)];
          return t5Logits(reference, { ...pair, target });
        }).flat();
        const size = Math.max(...expected.map(Math.abs)), worst = worstDifference(data, expected);
        const lossError = Math.abs(loss! - t5Loss(reference, pairs));
        console.log(
          `logits up to ${size.toFixed(1)}, worst difference ${worst.toExponential(1)}, loss ${
            lossError.toExponential(1)
          }`,
        );
        assertEquals(shape, [3, 9, 61]);
        assert(size > 0.5);
        assert(worst < 1e-5 * Math.max(1, size)); // f32 sums of 12 to 40 terms through two layers and two halves
        assert(lossError < 1e-5);
      }),
  );
}

for (const name of ["t5: relu, tied", "flan-t5: gated, untied"]) {
  gpuTest(
    `${name}: gradients of all weights are the reference's`,
    (device) =>
      withModel(device, configs[name]!, async (model, reference) => {
        await model.unfreeze();
        const { gradients } = await model.gradients(batch);
        assertEquals(new Set(gradients.keys()), new Set(reference.weights.keys()));
        // The derivative halfway between the gradient itself and a random direction, by central differences in f64.
        let worst = 0;
        const step = 1e-6;
        for (const [tensor, g] of gradients) {
          const size = Math.hypot(...g), key = randomKey(5, tensor);
          const direction = Array.from(g, (x, i) => x / size + normal(key, i) / Math.sqrt(g.length));
          const at = (by: number) => {
            const moved = Float64Array.from(reference.weights.get(tensor)!, (w, i) => w + by * direction[i]!);
            return t5Loss({ ...reference, weights: new Map([...reference.weights, [tensor, moved]]) }, pairs);
          };
          const expected = (at(step) - at(-step)) / (2 * step);
          const found = direction.reduce((sum, d, i) => sum + d * g[i]!, 0);
          worst = Math.max(worst, Math.abs(found - expected) / size);
        }
        console.log(`${gradients.size} tensors, worst error ${worst.toExponential(1)} of a tensor's gradient`);
        // Central differences leave about 1e-7, f32 through the model about 1e-6; relu's corners add to the former.
        assert(worst < 2e-5);
      }),
  );
}

gpuTest(
  "t5: a row gives the same alone as padded in a batch; without labels the decoder has its start token",
  (device) =>
    withModel(device, T5, async (model) => {
      const { source, labels } = pairs[1]!;
      const alone = await model.forward({ input_ids: [source.slice(0, 8)], labels: [labels.slice(0, 5)] });
      const { logits } = await model.forward(batch);
      const [, T, V] = logits.shape as [number, number, number];
      const padded = logits.data.subarray(T * V, (T + 5) * V);
      assert(worstDifference(alone.logits.data, padded) < 1e-5);
      const first = await model.forward({ input_ids: [source.slice(0, 8)] });
      assertEquals([first.logits.shape, first.loss], [[1, 1, V], undefined]);
      assert(worstDifference(first.logits.data, alone.logits.data.subarray(0, V)) < 1e-5);
    }),
);

gpuTest(
  "t5: the table of token vectors may have any of its names, and leftovers of old checkpoints are no news",
  (device) =>
    withFolder(async (folder) => {
      const weights = randomWeights(T5), { data, shape } = weights.get("shared.weight")!;
      await writeModel(`${folder}/a`, T5, weights);
      const bias = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight";
      const others = new Map([...weights].filter(([name]) => name !== "shared.weight"));
      others.set("decoder.embed_tokens.weight", { data, shape });
      others.set(bias, { data: data.slice(0, 32), shape: [8, 4] });
      await writeModel(`${folder}/b`, T5, others);
      const losses: unknown[] = [], warnings: string[] = [];
      for (const name of ["a", "b"]) {
        const model = await loadModel(device, `${folder}/${name}`, { warn: (text) => warnings.push(text) });
        losses.push((await model.forward(batch)).loss);
        model.destroy();
      }
      assertEquals(losses[0], losses[1]);
      assertEquals(warnings, []);
    }),
);

gpuTest(
  "t5: labels that do not fit are refused with all that is wrong",
  (device) =>
    withModel(device, T5, async (model) => {
      const wrong = { input_ids: [[5, 6], [7, 8]], labels: [[4, 61, 3], [4, 5]] };
      const error = await assertRejects(() => model.forward(wrong), ConfigError);
      assert(error.message.includes("labels[0][1] must be -100 or an integer in [0, 61): received 61"), error.message);
      assert(error.message.includes("labels[1] must have 3 values: received 2"), error.message);
    }),
);

gpuTest("t5: methods that put positions in front are refused", (device) =>
  withModel(device, T5, async (model) => {
    const method = prefixTuning({ virtualTokens: 3 });
    await assertRejects(() => model.addAdapter(method), UsageError, "a t5 model");
  }));

Deno.test("t5: what a config.json cannot mean is refused; the task follows from the family", () => {
  const wrong = { ...T5, feed_forward_proj: "gated-swish2", relative_attention_max_distance: 4, num_heads: 0 };
  const error = assertThrows(() => architectureOf(wrong), ConfigError);
  for (const field of ["feed_forward_proj", "relative_attention_max_distance", "num_heads"]) {
    assert(error.message.includes(`"${field}"`), error.message);
  }
  const { architectures: _, ...bare } = T5;
  assertEquals(taskOf(bare, architectureOf(bare)).name, "seq2seq-lm");
  const causal = { ...T5, architectures: ["T5ForCausalLM"] };
  assertThrows(() => taskOf(causal, architectureOf(causal)), ConfigError, "causal-lm");
});

gpuTest(
  "t5: a fresh model starts as transformers does, learns with all weights trained, and its folder reloads",
  async (device) => {
    const model = await createModel(device, T5, { seed: 3 });
    const weights = await model.weights();
    const spread = (name: string) =>
      Math.sqrt(weights.get(name)!.reduce((a, x) => a + x * x, 0) / weights.get(name)!.length);
    // T5PreTrainedModel._init_weights: shared 1, q (D·E)^-½, k, v and wi D^-½, wo F^-½, distances D^-½.
    const expected = {
      "shared.weight": 1,
      "encoder.block.1.layer.0.SelfAttention.q.weight": (32 * 8) ** -0.5,
      "decoder.block.0.layer.1.EncDecAttention.k.weight": 32 ** -0.5,
      "decoder.block.1.layer.2.DenseReluDense.wo.weight": 40 ** -0.5,
      "decoder.final_layer_norm.weight": 1,
    };
    for (const [name, std] of Object.entries(expected)) {
      assert(Math.abs(spread(name) / std - 1) < 0.1, `${name}: ${spread(name)} against ${std}`);
    }
    await model.unfreeze();
    const { loss: before } = await model.forward(batch);
    let tokens = 0;
    const run = train(model, { data: [batch], learningRate: 0.02, epochs: 40, warmupSteps: 5 });
    for await (const record of run) ({ tokens } = record);
    assertEquals(tokens, 40 * (13 + 8 + 10 + 9 + 5 + 8)); // read and written
    const { loss: after } = await model.forward(batch);
    console.log(`loss ${before!.toFixed(2)} → ${after!.toFixed(2)}`);
    assert(after! < 0.1 * before!);
    await withFolder(async (folder) => {
      await model.saveMerged(`${folder}/m`);
      const again = await loadModel(device, `${folder}/m`);
      assertEquals((await again.forward(batch)).loss, after);
      again.destroy();
    });
    model.destroy();
  },
);
