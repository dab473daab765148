// Every family and method with layers that are computed again: each layer is, and gradients keep their bits.
import { assert, assertEquals } from "@std/assert";
import {
  type AdapterConfig,
  bitfit,
  bottleneck,
  createModel,
  type GraftDevice,
  ia3,
  lnTuning,
  lora,
  type Model,
  prefixTuning,
  promptTuning,
  vera,
} from "../../mod.ts";
import { fuse } from "../../src/graph/fuse.ts";
import { layerOf, recompute } from "../../src/graph/recompute.ts";
import { architectureOf } from "../../src/models/mod.ts";
import { taskOf } from "../../src/objectives/tasks.ts";
import { traceStep } from "../../src/train/trace.ts";
import { gpuTest } from "../device.ts";
import { verify } from "../graph/verify_plan.ts";
import { DECODERS } from "../models/families.ts";
import { BERT, bits, DISTILBERT, GPT2, LLAMA, ROBERTA, T5 } from "../models/folder.ts";

type Config = Readonly<Record<string, unknown>>;

const labelled = { id2label: { 0: "a", 1: "b" } };
const families: Readonly<Record<string, Config>> = {
  gpt2: GPT2,
  llama: LLAMA,
  ...DECODERS,
  bert: { ...BERT, ...labelled },
  roberta: { ...ROBERTA, ...labelled },
  distilbert: { ...DISTILBERT, ...labelled },
  t5: T5,
};

/** Gradients of a batch that the task itself makes up, with and without. */
async function compare(model: Model, config: Config): Promise<void> {
  const { state } = model;
  const { input_ids, ...others } = state.task.specimen({ B: 2, T: 8 });
  const tokens = input_ids.map((row, b) => [...row].map((_, t) => 2 + (7 * t + 11 * b) % 50));
  const labels = state.task.taskType === "SEQ_CLS" ? [0, 1] : tokens;
  const batch = { ...others, input_ids: tokens, labels };
  const kept = await model.gradients(batch);
  const again = await model.gradients(batch, { recompute: true });
  assertEquals(again.loss, kept.loss);
  assert(
    kept.gradients.size > 0 && [...kept.gradients.values()].some((g) => g.some((x) => x !== 0)),
    `${config.model_type}`,
  );
  for (const [key, gradient] of kept.gradients) assertEquals(bits(again.gradients.get(key)!), bits(gradient), key);
}

for (const [name, config] of Object.entries(families)) {
  gpuTest(
    `${name}: every layer is computed again, and all gradients have the same bits`,
    async (device: GraftDevice) => {
      const architecture = architectureOf(config), task = taskOf(config, architecture);
      const { graph } = traceStep(architecture, { task, adapter: undefined, B: 2, T: 8, recompute: true });
      const listed = fuse(graph), listing = recompute(listed);
      const before = new Set(listed.nodes.map(({ outputs }) => outputs[0]));
      const layers = (nodes: typeof graph.nodes) =>
        new Set(nodes.map(({ scope }) => layerOf(scope)).filter((l) => l !== undefined));
      assert(layers(graph.nodes).size >= 2);
      assertEquals(
        layers(listing.nodes.filter(({ outputs }) => outputs.length > 0 && !before.has(outputs[0]))),
        layers(graph.nodes),
      );
      verify(listing);
      const model = await createModel(device, config);
      await model.unfreeze();
      await compare(model, config);
      model.destroy();
    },
  );
}

const methods: Readonly<Record<string, AdapterConfig>> = {
  DoRA: lora({ rank: 2, alpha: 4, dora: true, dropout: 0.2, init: false, targetModules: ["q_proj", "down_proj"] }),
  "IA³": ia3(),
  VeRA: vera({ rank: 4, targetModules: ["q_proj", "v_proj"] }),
  LN: lnTuning(),
  BitFit: bitfit(),
  bottleneck: bottleneck(),
  prefix: prefixTuning({ virtualTokens: 3 }),
  prompt: promptTuning({ virtualTokens: 3 }),
};

for (const [name, adapter] of Object.entries(methods)) {
  gpuTest(`${name}: the same`, async (device) => {
    const config = { ...LLAMA, attention_bias: true };
    const model = await createModel(device, config);
    await model.addAdapter(adapter, { seed: 5 });
    await compare(model, config);
    model.destroy();
  });
}
