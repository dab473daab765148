// Where a run cannot go on it says where, and what was trained keeps its values.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { loadModel, lora, openDevice, type StepRecord, train } from "../../mod.ts";
import { ConfigError, DeviceError, NumericError, UsageError } from "../../src/core/errors.ts";
import { readAdapterFolder, writeAdapterFolder } from "../../src/io/adapter_file.ts";
import { gpuTest } from "../device.ts";
import { datasetOf, fixture } from "../models/folder.ts";
import { withFolder } from "../temp_folder.ts";
import { adapterBits, known, records, withAdapted } from "./harness.ts";

gpuTest("a loss that is not finite stops the run with its step and rows; tensors keep their values", async (device) => {
  const { batches } = await known("llama-lora");
  const model = await loadModel(device, `${fixture("llama-lora")}/model`);
  await withFolder(async (folder) => {
    const { config, tensors } = await readAdapterFolder(`${fixture("llama-lora")}/adapter_init`);
    [...tensors.values()].forEach(({ data }) => data.fill(3e38)); // finite, but no product of two is
    await writeAdapterFolder(folder, { config, tensors });
    await model.loadAdapter(folder);
  });
  const before = await adapterBits(model);
  const data = datasetOf(batches.slice(0, 2));
  const error = await assertRejects(() => records(model, { data, batchSize: 4 }), NumericError);
  assertEquals(error.code, "num/loss");
  assert(/step 1 has loss .* \(rows (\d, ){3}\d of epoch 1\)/.test(error.message), error.message);
  assertEquals(await adapterBits(model), before);
  model.destroy();
});

gpuTest(
  "what cannot be trained is refused with its place",
  (device) =>
    withAdapted(device, "llama-lora", async (model) => {
      const { batches: [batch] } = await known("llama-lora");
      const { input_ids } = batch!;
      const masked = { input_ids, labels: input_ids.map((row) => row.map(() => -100)) };
      const noLabels = await assertRejects(() => records(model, { data: [batch!, masked] }), UsageError, "batch 2");
      assertEquals(noLabels.code, "data/no-labels");
      assertEquals((await assertRejects(() => model.gradients(masked), UsageError)).code, "data/no-labels");
      await assertRejects(() => records(model, { data: [{ input_ids: [[1, 101]] }] }), ConfigError, "[0, 101)");
      assertThrows(() => train(model, { data: [] }), UsageError, "without batches");
      assertThrows(() => train(model, { data: datasetOf([]) }), UsageError, "without examples");
      const wrong = {
        data: [batch!],
        batchSize: 0,
        gradientAccumulation: 1.5,
        learningRate: -1,
        maxSteps: 0,
        epochs: NaN,
      };
      const { message } = assertThrows(() => train(model, wrong), UsageError);
      for (const field of ["batchSize", "gradientAccumulation", "learningRate", "maxSteps", "epochs"]) {
        assert(message.includes(`${field} must be`), field);
      }
      // A masked micro-batch among others only counts less.
      const [{ loss }] = await records(model, { data: [batch!, masked], gradientAccumulation: 2, learningRate: 0 }) as [
        StepRecord,
      ];
      assert(Math.abs(loss - (await model.forward(batch!)).loss!) < 1e-6);
    }),
);

gpuTest(
  "a loop that switches adapters away ends with an error, and leaving a loop early frees its buffers",
  (device) =>
    withAdapted(device, "gpt2-lora", async (model) => {
      const { batches } = await known("gpt2-lora");
      const before = [...model.state.store.buffers.keys()];
      const run = async () => {
        for await (const _ of train(model, { data: batches.slice(0, 3) })) model.disableAdapter();
      };
      assertEquals((await assertRejects(run, UsageError)).code, "train/frozen");
      model.setAdapter("default");
      for await (const _ of train(model, { data: batches.slice(0, 3) })) break;
      assertEquals([...model.state.store.buffers.keys()].filter((key) => !before.includes(key)), ["loss"]);
      assert([...model.state.store.buffers.keys()].every((key) => !/grads|adam|ring/.test(key)));
      const abort = new AbortController();
      const steps: number[] = [];
      for await (const { step } of train(model, { data: batches, signal: abort.signal })) {
        steps.push(step);
        abort.abort();
      }
      assert(steps.length < batches.length);
    }),
);

gpuTest(
  "a second run of a model has to wait for the first, and a lost device is an error that names the step",
  async () => {
    const device = await openDevice(); // its own: it is lost at the end
    const model = await loadModel(device, `${fixture("llama-lora")}/model`);
    await model.addAdapter(lora({ rank: 2, targetModules: ["q_proj"] }));
    const { batches } = await known("llama-lora");
    const data = batches.slice(0, 4);
    let steps = 0;
    const lost = await assertRejects(async () => {
      for await (const { step } of train(model, { data, logEvery: 1 })) {
        steps = step;
        if (step === 1) {
          assertEquals((await assertRejects(() => records(model, { data }), UsageError)).code, "train/running");
        }
        if (step === 2) {
          device.gpu.destroy();
        }
      }
    }, DeviceError);
    assertEquals(steps, 2);
    assertEquals(lost.code, "device/lost");
    assert(lost.message.includes("step 3"), lost.message);
  },
);
