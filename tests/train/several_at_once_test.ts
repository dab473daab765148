// Several adapters in one program: a batch whose sequences have each their own, and a new adapter on a trained one.
import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import {
  bottleneck,
  generateIds,
  type GraftDevice,
  ia3,
  loadModel,
  lora,
  type Model,
  promptTuning,
  train,
} from "../../mod.ts";
import { CheckpointError, UsageError } from "../../src/core/errors.ts";
import { gpuTest } from "../device.ts";
import { bits, fixture, worstDifference } from "../models/folder.ts";
import { withFolder } from "../temp_folder.ts";

const ROWS = [[3, 1, 4, 1, 5], [9, 2, 6, 5, 3], [5, 8, 9, 7, 9], [3, 2, 3, 8, 4]];

async function logits(model: Model, rows = ROWS, adapters?: readonly (string | null)[]): Promise<Float32Array> {
  return (await model.forward({ input_ids: rows }, adapters ? { adapters } : {})).logits.data;
}

/** A model with three adapters of different kinds, ranks and modules, none in use. */
async function withThree(device: GraftDevice, name: string, act: (model: Model) => Promise<void>): Promise<void> {
  const model = await loadModel(device, `${fixture(name)}/model`);
  await model.loadAdapter(`${fixture(name)}/adapter_final`, { name: "a" });
  await model.addAdapter(lora({ rank: 2, targetModules: "all-linear", init: false }), { name: "b" });
  await model.addAdapter(ia3(), { name: "c" });
  for await (const _ of train(model, { data: [{ input_ids: ROWS, labels: ROWS }], learningRate: 0.1 }));
  model.disableAdapter();
  await act(model);
  model.destroy();
}

for (const name of ["llama-lora", "gpt2-lora"]) {
  gpuTest(
    `${name}: every sequence of a mixed batch is what its adapter alone makes of it`,
    (device) =>
      withThree(device, name, async (model) => {
        const alone = new Map<string | null, Float32Array>();
        alone.set(null, await logits(model));
        for (const adapter of ["a", "b", "c"]) {
          model.setAdapter(adapter);
          alone.set(adapter, await logits(model));
        }
        const size = alone.get(null)!.length / ROWS.length;
        let worst = 0;
        const programs: number[] = [];
        for (const names of [["a", null, "b", "c"], ["c", "a", "b", null], ["a", "a", "b", "c"]]) {
          const mixed = await logits(model, ROWS, names);
          names.forEach((adapter, row) => {
            const part = (values: Float32Array) => values.subarray(row * size, (row + 1) * size);
            worst = Math.max(worst, worstDifference(part(mixed), part(alone.get(adapter)!)));
          });
          programs.push(model.state.programs.size);
        }
        console.log(`mixed against alone: ${worst.toExponential(1)}`);
        assert(worst < 5e-6); // the same sums, fused otherwise
        assert(worstDifference(alone.get("a")!, alone.get("b")!) > 1e-2);
        assertEquals(new Set(programs).size, 1); // one program for every assignment
        assertEquals([model.activeAdapter, await logits(model)], ["c", alone.get("c")]);
        assertEquals(await logits(model, ROWS, [null, null, null, null]), alone.get(null));
      }),
  );
}

gpuTest(
  "mixed prompts are continued as alone: greedy, sampled, by beams; repeated and with other adapters",
  (device) =>
    withThree(device, "llama-lora", async (model) => {
      const prompts = [[3, 1, 4], [9, 2, 6, 5, 3, 7], [5, 8], [3, 2, 3, 8]];
      for (
        const options of [{}, { temperature: 0.9, topK: 8 }, { numBeams: 3 }, { numReturnSequences: 2, temperature: 1 }]
      ) {
        for (const names of [["a", null, "b", "c"], ["b", "c", null, "a"]]) {
          const given = { ...options, maxNewTokens: 6, ignoreEos: true };
          const mixed = await generateIds(model, prompts, { ...given, adapters: names });
          const times = options.numReturnSequences ?? 1;
          for (const [i, adapter] of names.entries()) {
            if (adapter === null) model.disableAdapter();
            else model.setAdapter(adapter);
            const alone = await generateIds(model, [prompts[i]!], { ...given, firstSequence: i * times });
            assertEquals(mixed.slice(i * times, (i + 1) * times), alone, `${adapter} ${JSON.stringify(options)}`);
          }
        }
      }
    }),
);

gpuTest("what cannot be mixed is refused", (device) =>
  withThree(device, "llama-lora", async (model) => {
    const refused = async (names: (string | null)[], text: string) => {
      const { message } = await assertRejects(() => logits(model, ROWS, names), UsageError);
      assert(message.includes(text), message);
    };
    await refused(["a"], "1 adapters for 4 sequences");
    await refused(["a", "b", "x", null], 'called "x"');
    await model.addAdapter(lora({ targetModules: ["q_proj"], modulesToSave: ["lm_head"] }), { name: "head" });
    await refused(["a", "b", "head", null], 'Cannot mix "head" with others in a batch as it has a weight of its own');
    await model.addAdapter(promptTuning({ virtualTokens: 2 }), { name: "prompt" });
    await refused(["a", "b", "prompt", null], "puts positions in front");
    assertEquals((await logits(model, ROWS, ["a", "b", null, "c"])).length, 4 * 5 * model.state.architecture.V); // not led
    await model.merge(["a"]);
    await assertRejects(() => logits(model, ROWS, ["a", "b", null, "c"]), CheckpointError, "unmerge() first");
  }));

gpuTest(
  "a new adapter on a trained one: starts as that, leaves it alone, is saved apart, merged with it",
  async (device) => {
    const folder = fixture("llama-lora");
    const model = await loadModel(device, `${folder}/model`), other = await loadModel(device, `${folder}/model`);
    const base = await logits(model), weights = await model.weights();
    await model.loadAdapter(`${folder}/adapter_final`, { name: "below" });
    const below = await logits(model), tensors = await model.adapterTensors();
    for (
      const config of [
        lora({ rank: 3, targetModules: ["q_proj", "up_proj"], dropout: 0.1 }),
        ia3(),
        lora({ rank: 2, targetModules: ["q_proj"], init: "pissa" }),
        bottleneck({ reductionFactor: 4 }),
      ]
    ) {
      await model.addAdapter(config, { name: "above", on: "below" });
      assert(worstDifference(await logits(model), below) < 5e-6, config.type);
      const batch = { input_ids: ROWS, labels: ROWS };
      const { gradients } = await model.gradients(batch);
      const own = [...(await model.adapterTensors()).keys()];
      assertEquals([...gradients.keys()].sort(), own.sort());
      for await (const _ of train(model, { data: [batch, batch], learningRate: 2e-2 }));
      const stack = await logits(model);
      assert(worstDifference(stack, below) > 1e-3, config.type);
      await assertRejects(() => model.deleteAdapter("below"), UsageError, '"above" lies on it');
      // A sequence of a mixed batch may have a stack.
      const mixed = await logits(model, ROWS, ["above", null, "below", "above"]);
      const size = base.length / ROWS.length,
        part = (x: Float32Array, row: number) => x.subarray(row * size, (row + 1) * size);
      [stack, base, below, stack].forEach((alone, row) => {
        assert(worstDifference(part(mixed, row), part(alone, row)) < 5e-6, config.type);
      });
      await withFolder(async (out) => {
        await model.saveAdapters(out);
        assertEquals(await other.loadAdapters(out), ["above", "below"]);
        other.setAdapter("above");
        assert(worstDifference(await logits(other), stack) < 2e-6, config.type); // PiSSA is saved as plain LoRA
        await other.deleteAdapter("above");
        await other.deleteAdapter("below");
        const alone = await assertRejects(() => other.loadAdapter(`${out}/above`), UsageError, 'on top of "below"');
        assertEquals(alone.code, "adapter/stacked");
      });
      if (config.type !== "GRAFT_BOTTLENECK") {
        await model.merge();
        assert(worstDifference(await logits(model), stack) < 2e-5, config.type);
        await model.unmerge();
      }
      await assertRejects(() => model.combineAdapters(["above"]), UsageError, config.type === "LORA" ? "lies on" : "");
      model.setAdapter("below");
      assertEquals(await logits(model), below);
      for (const [key, data] of await model.adapterTensors()) assertEquals(bits(data), bits(tensors.get(key)!), key);
      await model.deleteAdapter("above");
    }
    for (const [key, data] of await model.weights()) assertEquals(bits(data), bits(weights.get(key)!), key);
    const refused = async (config: Parameters<Model["addAdapter"]>[0], text: string) => {
      await assertRejects(() => model.addAdapter(config, { name: "never", on: "below" }), UsageError, text);
    };
    await refused(promptTuning({ virtualTokens: 2 }), "the new one puts positions in front");
    await refused(lora({ dora: true }), "DoRA measures the weights of the base alone");
    await model.addAdapter(lora({ bias: "none", modulesToSave: ["norm"] }), { name: "norms", on: "below" });
    const config = lora({ modulesToSave: ["norm"] });
    const both = () => model.addAdapter(config, { name: "never", on: "norms" });
    await assertRejects(both, UsageError, "both train model.");
    await assertRejects(() => model.addAdapter(config, { on: "none" }), UsageError, '"none"');
    assertEquals(model.adapters, ["below", "norms"]);
    assertNotEquals(base, below);
    model.destroy();
    other.destroy();
  },
);
