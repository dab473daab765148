// Layers that are computed again in the backward pass: the same bits, in less memory.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { loadModel, lora, type Model, OutOfMemoryError, sgd } from "../../mod.ts";
import { estimateMemory } from "../../src/cli/estimate.ts";
import type { GraftDevice } from "../../src/gpu/device.ts";
import { architectureOf } from "../../src/models/mod.ts";
import { taskOf } from "../../src/objectives/tasks.ts";
import { adamw } from "../../src/optim/mod.ts";
import { takeInventory } from "../../src/train/load.ts";
import { gpuTest, sharedDevice } from "../device.ts";
import { bits, fixture, LLAMA, writeModel } from "../models/folder.ts";
import { withFolder } from "../temp_folder.ts";
import { adapterBits, known, records, withAdapted } from "./harness.ts";

async function sameGradients(model: Model, name: string): Promise<void> {
  const { batches } = await known(name);
  const kept = await model.gradients(batches[0]!);
  const again = await model.gradients(batches[0]!, { recompute: true });
  assertEquals(again.loss, kept.loss);
  assertEquals([...again.gradients.keys()], [...kept.gradients.keys()]);
  for (const [key, gradient] of kept.gradients) {
    assert(gradient.some((x) => x !== 0), `${key} is zero`);
    assertEquals(bits(again.gradients.get(key)!), bits(gradient), key);
  }
}

for (const name of ["gpt2-lora", "llama-lora"]) {
  for (const kind of ["software", "gpu", "default"] as const) {
    const options = kind === "software" ? {} : { kind };
    gpuTest(
      `${name}: gradients of layers that are computed again have the same bits (${kind})`,
      (device) =>
        withAdapted(device, name, async (model) => {
          // B is zero at first: a step makes all gradients differ from zero.
          await records(model, { data: (await known(name)).batches.slice(0, 1) });
          await sameGradients(model, name);
        }),
      options,
    );
  }
  gpuTest(`${name}: the same with dropout, and with all weights trained`, async (device) => {
    const model = await loadModel(device, `${fixture(name)}/model`);
    await model.addAdapter(
      lora({ rank: 4, alpha: 8, dropout: 0.3, targetModules: "all-linear", init: false }),
    );
    await sameGradients(model, name);
    model.destroy();
    const full = await loadModel(device, `${fixture(name)}/model`);
    await full.unfreeze();
    await sameGradients(full, name);
    full.destroy();
  });
}

gpuTest("a run with dropout and accumulation: the same losses and weights, bit for bit", async (device) => {
  const { batches } = await known("llama-lora");
  const run = async (recompute: boolean) => {
    const model = await loadModel(device, `${fixture("llama-lora")}/model`);
    await model.addAdapter(lora({ rank: 4, alpha: 8, dropout: 0.1, targetModules: "all-linear" }), { seed: 3 });
    const found = await records(model, { data: batches.slice(0, 6), gradientAccumulation: 2, epochs: 2, recompute });
    const tensors = await adapterBits(model);
    model.destroy();
    return { losses: found.map(({ loss, gradNorm }) => [loss, gradNorm]), tensors };
  };
  const kept = await run(false);
  assertEquals(kept.losses.length, 6);
  assertEquals(await run(true), kept);
});

const deep = { ...LLAMA, num_hidden_layers: 12 };

gpuTest("a deeper model needs less memory, as estimated", async (device) => {
  await withFolder(async (folder) => {
    await writeModel(folder, deep);
    const [kept, again] = [await scratch(device, folder, false), await scratch(device, folder, true)];
    const estimate = estimated(false), less = estimated(true);
    console.log(`${deep.num_hidden_layers} layers: ${kept} bytes of temporaries, ${again} with layers computed again`);
    assert(again < kept / 3, `${again} bytes instead of ${kept}`);
    assert(less < estimate / 3, `${less} bytes instead of ${estimate}, estimated`);
  });
});

const input_ids = Array.from({ length: 2 }, (_, b) => Array.from({ length: 32 }, (_, t) => (7 * t + b) % 61));

/** Bytes of the arena of a training step. */
async function scratch(device: GraftDevice, folder: string, recompute: boolean): Promise<number> {
  const model = await loadModel(device, folder);
  await model.addAdapter(lora({ rank: 2, alpha: 4 }));
  await records(model, { data: [{ input_ids, labels: input_ids }], optimizer: sgd(), recompute });
  const bytes = model.state.store.arena.reduce((sum, { size }) => sum + size, 0);
  model.destroy();
  return bytes;
}

function estimated(recompute: boolean): number {
  const architecture = architectureOf(deep), task = taskOf(deep, architecture);
  return estimateMemory(architecture, {
    task,
    inventory: takeInventory(architecture, task),
    formats: new Map(),
    adapter: lora({ rank: 2, alpha: 4, targetModules: ["q_proj"] }),
    optimizer: adamw(),
    ...{ B: 2, T: 32, gradientAccumulation: 1, recompute },
  }).temporaries;
}

Deno.test({
  name: "where memory is full, the error says what would need less",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const full = await sharedDevice();
    const device = { ...full, target: { ...full.target, maxBuffer: 2 ** 17 } };
    await withAdapted(device, "llama-lora", async (model) => {
      const row = Array.from({ length: 40 }, (_, t) => t % 61);
      const data = [{ input_ids: Array(64).fill(row), labels: Array(64).fill(row) }];
      await assertRejects(() => records(model, { data }), OutOfMemoryError, "finetune --recompute");
      const error = await assertRejects(() => records(model, { data, recompute: true }), OutOfMemoryError);
      assert(!error.message.includes("--recompute"));
    });
  },
});
