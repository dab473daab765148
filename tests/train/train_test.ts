// What a training run promises: sums that do not depend on how rows are cut into batches, repeatable bits, the losses of
// PyTorch, and memory that does not grow.
import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { adamw, evaluate, loadModel, lora, sgd, type StepRecord, train } from "../../mod.ts";
import { UsageError } from "../../src/core/errors.ts";
import { collate } from "../../src/data/batches.ts";
import { gpuTest } from "../device.ts";
import { datasetOf, fixture, LLAMA, randomWeights, worstDifference } from "../models/folder.ts";
import { withModel } from "../models/with_model.ts";
import { adapterBits, known, records, withAdapted } from "./harness.ts";

for (const name of ["llama-lora", "gpt2-lora", "llama-rslora-qv"]) {
  gpuTest(
    `${name}: rates, losses and gradient norms of eight steps are PyTorch's`,
    (device) =>
      withAdapted(device, name, async (model) => {
        const { batches, losses, lrs, grad_norms, final_loss } = await known(name);
        const found = await records(model, {
          data: batches.slice(0, 8),
          optimizer: adamw({ weightDecay: 0.01 }),
          learningRate: 5e-3,
          schedule: "linear",
          warmupSteps: 2,
          decayAll: true,
        });
        const worst = (field: "loss" | "learningRate" | "gradNorm", expected: readonly number[]) =>
          worstDifference(found.map((record) => record[field]), expected);
        const { loss } = await model.forward(batches[0]!);
        console.log(
          `losses ${worst("loss", losses).toExponential(1)}, norms ${
            worst("gradNorm", grad_norms).toExponential(1)
          }, ` +
            `final loss ${Math.abs(loss! - final_loss).toExponential(1)}`,
        );
        assert(worst("learningRate", lrs) < 1e-15); // the same f64 formula
        assert(worst("loss", losses) < 5e-6); // f32 losses near 4.7 against rounded f64 ones
        assert(worst("gradNorm", grad_norms) < 1e-5);
        assert(Math.abs(loss! - final_loss) < 5e-6);
        assert(final_loss < losses[0]!);
      }),
  );
}

gpuTest("LoRA+: B moves by the ratio of A's rate, decay and all", async (device) => {
  const { batches } = await known("gpt2-lora");
  const lr = 0.01, ratio = 16, decay = 0.1;
  await withAdapted(device, "gpt2-lora", async (model) => {
    await model.loadAdapter(`${fixture("gpt2-lora")}/adapter_final`, { name: "trained" });
    const before = await model.adapterTensors();
    const { gradients } = await model.gradients(batches[0]!);
    const options = { data: batches.slice(0, 1), learningRate: lr, maxGradNorm: 0, loraPlus: { ratio } };
    await records(model, { ...options, optimizer: sgd({ weightDecay: decay }) });
    for (const [name, after] of await model.adapterTensors()) {
      const rate = name.includes("lora_B") ? ratio * lr : lr;
      const expected = before.get(name)!.map((x, i) => x - rate * (gradients.get(name)![i]! + decay * x));
      assert(worstDifference(after, expected) < 2e-7, name); // f32 numbers up to 0.5
    }
    const refused = () => train(model, { data: batches, loraPlus: { ratio: 0, embeddingRate: -1 } });
    assertThrows(refused, UsageError, "loraPlus.ratio must be above 0: received 0; loraPlus.embeddingRate");
  });
});

gpuTest("eight rows in one, two, four or eight micro-batches: the same loss, norm and update", async (device) => {
  const { batches } = await known("llama-lora");
  const rows = datasetOf(batches).examples.slice(0, 8); // lengths 6 to 11, 5 to 10 labels each
  const runs: { readonly loss: number; readonly gradNorm: number; readonly tensors: Float32Array[] }[] = [];
  for (const gradientAccumulation of [1, 2, 4, 8]) {
    await withAdapted(device, "llama-lora", async (model) => {
      const size = rows.length / gradientAccumulation;
      const data = Array.from(
        { length: gradientAccumulation },
        (_, i) => collate(rows.slice(i * size, (i + 1) * size)),
      );
      const [record, ...rest] = await records(model, { data, gradientAccumulation });
      assertEquals(rest.length, 0);
      runs.push({ ...record!, tensors: [...(await model.adapterTensors()).values()] });
    });
  }
  const [whole, ...cut] = runs;
  const loss = Math.max(...cut.map((run) => Math.abs(run.loss - whole!.loss)));
  const norm = Math.max(...cut.map((run) => Math.abs(run.gradNorm / whole!.gradNorm - 1)));
  const tensors = Math.max(...cut.flatMap((run) => run.tensors.map((t, i) => worstDifference(t, whole!.tensors[i]!))));
  console.log(`loss ${loss.toExponential(1)}, norm ${norm.toExponential(1)}, tensors ${tensors.toExponential(1)}`);
  assert(loss < 2e-6); // a loss near 4.7 in f32
  assert(norm < 1e-6);
  assert(tensors < 1e-5); // Adam moves by about the rate, 1e-2, whatever the gradient: its error is relative
});

gpuTest(
  "order and padding of rows do not change loss and gradients",
  (device) =>
    withAdapted(device, "gpt2-lora", async (model) => {
      const rows = datasetOf((await known("gpt2-lora")).batches).examples.slice(0, 5);
      const first = await model.gradients(collate(rows));
      const others = [
        await model.gradients(collate([...rows].reverse())),
        await model.gradients(collate(rows, { lengthMultiple: 24, padId: 9 })),
      ];
      for (const { loss, gradients } of others) {
        assert(Math.abs(loss - first.loss) < 1e-6);
        for (const [key, g] of gradients) assert(worstDifference(g, first.gradients.get(key)!) < 1e-7, key); // up to 0.1
      }
      // One row at a time, weighted by its labels.
      let loss = 0, labels = 0;
      for (const row of rows) {
        const count = row.labels.slice(1).filter((label) => label !== -100).length;
        loss += count * (await model.forward(collate([row]))).loss!;
        labels += count;
      }
      assert(Math.abs(loss / labels - first.loss) < 1e-6);
      const { loss: evaluated, tokens, perplexity } = await evaluate(model, datasetOf([collate(rows)]), {
        batchSize: 2,
      });
      assertEquals(tokens, labels);
      assert(Math.abs(evaluated - first.loss) < 1e-6);
      assertEquals(perplexity, Math.exp(evaluated));
    }),
);

gpuTest(
  "rate 0 changes nothing, neither as an option nor in the first step of a warm-up",
  (device) =>
    withAdapted(device, "llama-lora", async (model) => {
      const { batches } = await known("llama-lora");
      const before = await adapterBits(model);
      await records(model, { data: batches.slice(0, 3), learningRate: 0, optimizer: adamw({ weightDecay: 0.1 }) });
      assertEquals(await adapterBits(model), before);
      const [{ learningRate }] = await records(model, {
        data: batches.slice(0, 4),
        schedule: "linear",
        warmupSteps: 2,
        maxSteps: 1,
      }) as [StepRecord];
      // A run of one step has a warm-up of two: its only rate is the first one.
      assertEquals(learningRate, 0);
      assertEquals(await adapterBits(model), before);
    }),
);

gpuTest("the same seed gives the same bits, another seed others", async (device) => {
  const data = datasetOf((await known("llama-lora")).batches.slice(0, 4));
  const once = async (seed: number) => {
    const model = await loadModel(device, `${fixture("llama-lora")}/model`);
    await model.addAdapter(lora({ rank: 4, dropout: 0.2, targetModules: ["q_proj", "up_proj"] }), { seed });
    const losses = (await records(model, { data, seed, batchSize: 4, epochs: 2 })).map(({ loss }) => loss);
    const tensors = await adapterBits(model);
    model.destroy();
    return { losses, tensors };
  };
  const first = await once(1);
  assertEquals(first.losses.length, 6);
  assertEquals(await once(1), first);
  const other = await once(2);
  assertNotEquals(other.losses, first.losses);
  assertNotEquals(other.tensors, first.tensors);
});

gpuTest(
  "one batch of four rows is learned by heart, in memory that does not grow",
  (device) => {
    // Normed states times a frozen projection bound the logits: a large one can tell tokens apart.
    const weights = randomWeights(LLAMA);
    weights.get("lm_head.weight")!.data.forEach((x, i, data) => data[i] = 4 * x);
    return withModel(device, LLAMA, async (model) => {
      await model.addAdapter(lora({ rank: 8, alpha: 16, targetModules: "all-linear" }));
      const ids = [0, 1, 2, 3].map((b) => Array.from({ length: 8 }, (_, t) => (t * t * 7 + 13 * b + 5) % 61));
      const data = Array(200).fill({ input_ids: ids, labels: ids });
      let last = NaN;
      let early = { bytes: 0, buffers: 0 };
      for await (const { step, loss } of train(model, { data, learningRate: 1e-2 })) {
        last = loss;
        const { bytes, buffers } = device.memory;
        if (step === 30) early = { bytes, buffers };
        if (step > 30) assertEquals({ bytes, buffers }, early);
      }
      console.log(`loss after 200 steps: ${last.toExponential(1)}`);
      assert(last < 0.05);
    }, { weights });
  },
);

gpuTest("clipping: the norm is reported before it, and one step of SGD is as long as allowed", async (device) => {
  const { batches } = await known("llama-lora");
  const length = async (maxGradNorm: number) => {
    let figures = { moved: 0, norm: 0 };
    await withAdapted(device, "llama-lora", async (model) => {
      const before = await model.adapterTensors();
      const [{ gradNorm }] = await records(model, {
        data: batches.slice(0, 1),
        optimizer: sgd(),
        learningRate: 1,
        maxGradNorm,
      }) as [StepRecord];
      let sum = 0;
      for (const [key, after] of await model.adapterTensors()) {
        sum += after.reduce((a, x, i) => a + (x - before.get(key)![i]!) ** 2, 0);
      }
      figures = { moved: Math.sqrt(sum), norm: gradNorm };
    });
    return figures;
  };
  const free = await length(0);
  assert(Math.abs(free.moved / free.norm - 1) < 1e-6);
  const above = await length(2 * free.norm);
  assert(Math.abs(above.moved / free.norm - 1) < 1e-6);
  const below = await length(0.25);
  assertEquals(below.norm, free.norm);
  assert(Math.abs(below.moved / 0.25 - 1) < 1e-5); // PyTorch's 1e-6 beside the norm
});
