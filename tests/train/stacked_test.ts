// Linear maps that share their input as one product: the same numbers as each by itself, and nothing else changes.
import { assert, assertEquals } from "@std/assert";
import { createModel, lnTuning, lora, type Model } from "../../mod.ts";
import type { GraftDevice } from "../../src/gpu/device.ts";
import type { Shape } from "../../src/core/dims.ts";
import type { Graph } from "../../src/graph/graph.ts";
import { adamw } from "../../src/optim/adam.ts";
import { endTraining, microProgram, trainedLayout } from "../../src/train/step.ts";
import { traceStep } from "../../src/train/trace.ts";
import { weightTensors } from "../../src/train/tensors.ts";
import { gpuTest, sharedDevice } from "../device.ts";
import { BERT, bits, DISTILBERT, T5 } from "../models/folder.ts";

const CONFIG = {
  model_type: "llama",
  vocab_size: 48,
  hidden_size: 32,
  intermediate_size: 64,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 32,
  hidden_act: "silu",
  rms_norm_eps: 1e-5,
  tie_word_embeddings: true,
};

const ids = [3, 9, 27, 41, 5, 15, 45, 11];
const batch = { input_ids: [ids, ids.toReversed()], labels: [ids, ids.toReversed()] };
const wide = { hidden_size: 64, num_attention_heads: 4 };

const QWEN3 = { ...CONFIG, model_type: "qwen3", head_dim: 16 };

type Settings = Parameters<typeof lora>[0];

/** What the training program of a fresh model, with this adapter or of all weights, reads for several maps at once. */
async function gradients(
  device: GraftDevice,
  settings: Settings | undefined,
  config: object = CONFIG,
): Promise<{ found: Awaited<ReturnType<Model["gradients"]>>; stacks: string[] }> {
  const model = await createModel(device, "model_type" in config ? config : { ...CONFIG, ...config }, { seed: 7 });
  if (settings) await model.addAdapter(lora({ rank: 8, alpha: 16, init: false, ...settings }));
  else await model.unfreeze();
  const labels = model.state.task.taskType === "SEQ_CLS" ? [0, 1] : batch.labels;
  const found = await model.gradients({ ...batch, labels });
  const leaves = model.state.programs.values().flatMap(({ executable }) => [...executable.graph.leaves.keys()]);
  const stacks = [...leaves].filter((name) => name.includes(" | ") && /(layers?|block)\.0\./.test(name));
  model.destroy();
  return { found, stacks };
}

// Stacks of the first layer: each is a weight or a bias of the base, or A or B.
const cases: readonly (readonly [name: string, maps: string[] | undefined, stacks: number, config?: object])[] = [
  ["all maps", ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"], 6],
  ["some of them", ["q_proj", "v_proj", "up_proj"], 4], // a single up_proj has A and B of its own
  ["none of them", ["o_proj"], 2],
  ["with biases", ["q_proj", "k_proj"], 5, {
    attention_bias: true,
    num_attention_heads: 1,
    num_key_value_heads: 1,
    head_dim: 64,
  }],
  ["biases that are not aligned", ["q_proj", "k_proj"], 1, { attention_bias: true }],
  ["Qwen3, whose heads are normed", ["q_proj", "v_proj"], 4, QWEN3],
  ["all weights", undefined, 2],
  ["all weights with biases", undefined, 3, { attention_bias: true, hidden_size: 64, num_key_value_heads: 4 }],
  ["Qwen3, all weights", undefined, 1, QWEN3], // the norms of heads are trained one by one
  ["BERT, all weights", undefined, 2, { ...BERT, ...wide }],
  ["BERT", ["query", "value"], 4, { ...BERT, ...wide }],
  ["DistilBERT", ["q_lin", "k_lin", "v_lin"], 4, { ...DISTILBERT, dim: 64, n_heads: 4 }],
  ["T5's gates", ["wi_0", "wi_1"], 6, { ...T5, d_model: 64, d_ff: 32, feed_forward_proj: "gated-gelu" }],
];
for (const [name, targetModules, count, config] of cases) {
  gpuTest(`stacked maps, ${name}: gradients as of single maps, as they are on a software driver`, async (device) => {
    const settings = targetModules && { targetModules };
    const together = await gradients(device, settings, config);
    const apart = await gradients(await sharedDevice({ kind: "software" }), settings, config);
    assertEquals(apart.stacks, []);
    assertEquals(together.stacks.length, count);
    assert(Math.abs(together.found.loss - apart.found.loss) < 2e-6);
    assertEquals([...together.found.gradients.keys()], [...apart.found.gradients.keys()]);
    const size = (gradient: Float32Array) => Math.max(...gradient.map(Math.abs));
    const largest = Math.max(...apart.found.gradients.values().map(size));
    for (const [key, expected] of apart.found.gradients) {
      assert(size(expected) > 0, `${key} is zero`);
      const scale = Math.max(size(expected), 1e-4 * largest); // a bias of keys has none but rounding errors
      const error = Math.max(...together.found.gradients.get(key)!.map((x, i) => Math.abs(x - expected[i]!))) / scale;
      assert(error < 2e-5, `${key}: ${error}`); // f32 sums in another order
    }
  }, { kind: "gpu" });
}

for (const kind of ["software", "gpu"] as const) {
  gpuTest(`stacked maps: the program that estimates look at is the one that trains (${kind})`, async (device) => {
    const adapters = [0, 0.1].map((dropout) => (
      lora({ rank: 8, alpha: 16, dropout, targetModules: ["q_proj", "v_proj", "gate_proj"] })
    ));
    for (const chosen of [...adapters, undefined]) {
      const model = await createModel(device, CONFIG, { seed: 7 });
      await (chosen ? model.addAdapter(chosen) : model.unfreeze());
      const { state } = model, { architecture, task } = state;
      const options = { optimizer: adamw(), gradientAccumulation: 1, smoothing: 0, decayAll: false, recompute: false };
      const arranged = task.arrange(task.specimen({ B: 2, T: 8 }), architecture);
      const { executable } = await microProgram(state, arranged, options);
      const adapter = state.adapters.get("default")?.config;
      const { graph } = traceStep(architecture, { task, adapter, B: 2, T: 8, target: device.target });
      const shown = ({ nodes }: Graph) =>
        nodes.map(({ op, outputs }) => `${op.name} ${outputs.map(({ shape }: { shape: Shape }) => `[${shape}]`)}`);
      assertEquals(shown(graph), shown(executable.graph));
      endTraining(state, trainedLayout(state, options));
      model.destroy();
    }
  }, { kind });
}

gpuTest("stacked maps: norms of heads that are trained have gradients", async (device) => {
  const norms = async (device: GraftDevice) => {
    const model = await createModel(device, QWEN3, { seed: 7 });
    await model.addAdapter(lnTuning({ targetModules: ["q_norm", "k_norm"] }));
    const { gradients } = await model.gradients(batch);
    model.destroy();
    return gradients;
  };
  const expected = await norms(await sharedDevice({ kind: "software" })), actual = await norms(device);
  assertEquals(expected.size, 4);
  for (const [name, values] of expected) {
    const scale = Math.max(...values.map(Math.abs));
    const error = Math.max(...values.map((x, i) => Math.abs(x - actual.get(name)![i]!)));
    assert(scale > 0 && error < 2e-5 * scale, `${name}: ${error} of ${scale}`);
  }
}, { kind: "gpu" });

gpuTest("stacked maps: those with another rank, scale or DoRA are applied one by one", async (device) => {
  const targetModules = ["q_proj", "v_proj"];
  for (const settings of [{ rankPattern: { v_proj: 4 } }, { alphaPattern: { v_proj: 4 } }, { dora: true }]) {
    const { stacks } = await gradients(device, { targetModules, ...settings });
    assertEquals(stacks, ["model.layers.0.mlp.gate_proj.weight | model.layers.0.mlp.up_proj.weight"]);
  }
}, { kind: "gpu" });

gpuTest("stacked maps: weights keep their bits through merging, unmerging and training in full", async (device) => {
  const model = await createModel(device, CONFIG, { seed: 7 });
  const first = await weightTensors(model.state);
  const same = async () => {
    const now = await weightTensors(model.state);
    assertEquals(now.size, first.size);
    for (const [name, values] of first) assertEquals(bits(now.get(name)!), bits(values), name);
  };
  await model.addAdapter(lora({ rank: 8, alpha: 16, init: false, targetModules: "all-linear" }));
  const adapted = await model.forward(batch);
  await model.merge();
  const merged = await model.forward(batch);
  assert(Math.abs(merged.loss! - adapted.loss!) < 2e-6);
  await model.unmerge();
  await same();
  assertEquals((await model.forward(batch)).loss, adapted.loss);
  model.deleteAdapter("default");
  const { loss } = await model.forward(batch);
  await model.unfreeze();
  await same();
  assertEquals((await model.forward(batch)).loss, loss);
  assertEquals([...model.state.store.buffers.keys()].filter((name) => name.startsWith("stack of")), []);
  model.destroy();
}, { kind: "gpu" });
