// Logits of every kind of configuration against the float64 reference, and how padding and positions act.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { ConfigError, loadModel, type Model } from "../../mod.ts";
import { gpuTest } from "../device.ts";
import { compareGradients, exact } from "./central_differences.ts";
import { FAMILIES } from "./families.ts";
import { fixture, GPT2, LLAMA, worstDifference } from "./folder.ts";
import { referenceLogits, referenceLoss } from "./reference.ts";
import { withModel } from "./with_model.ts";

const row = (length: number, start = 7): number[] => Array.from({ length }, (_, t) => (start * (t + 3) + t * t) % 61);

/** Row `b` of logits [B, T, V]. */
async function logitsOf(model: Model, batch: Parameters<Model["forward"]>[0]): Promise<Float32Array[]> {
  const { logits: { shape, data } } = await model.forward(batch);
  const [B, T, V] = shape as [number, number, number];
  return Array.from({ length: B }, (_, b) => data.subarray(b * T * V, (b + 1) * T * V));
}

for (const [name, config] of Object.entries(FAMILIES)) {
  gpuTest(`${name}: logits are the reference's`, (device) =>
    withModel(device, config, async (model, reference) => {
      const ids = [row(40), row(40, 11)]; // up to the last position
      const found = await logitsOf(model, { input_ids: ids });
      const expected = ids.map((one) => referenceLogits(reference, one).flat());
      const size = Math.max(...expected.flat().map(Math.abs));
      const worst = Math.max(...found.map((x, b) => worstDifference(x, expected[b]!)));
      console.log(`logits up to ${size.toFixed(1)}, worst difference ${worst.toExponential(1)}`);
      assert(size > 1);
      assert(worst < 1e-5 * size); // f32 sums of 32 to 40 terms through two layers
    }));
}

const MISTRAL = FAMILIES["mistral, windows of 7"]!;
for (const [name, config] of [["llama", LLAMA], ["mistral", MISTRAL], ["gpt2", GPT2]] as const) {
  gpuTest(
    `${name}: padding on either side is never looked at`,
    (device) =>
      withModel(device, config, async (model, reference) => {
        const V = 61, short = row(9), long = row(16, 5);
        const [alone] = await logitsOf(model, { input_ids: [short] });
        const labels = [row(16, 5), short.concat(Array(7).fill(-100))];

        const right = { input_ids: [long, short.concat(Array(7).fill(3))], labels };
        const mask = [long.map(() => 1), [...short.map(() => 1), ...Array(7).fill(0)]];
        const masked = await logitsOf(model, { ...right, attention_mask: mask });
        const rightWorst = worstDifference(masked[1]!.subarray(0, 9 * V), alone!);

        const left = Array(7).fill(3).concat(short);
        const leftMask = [...Array(7).fill(0), ...short.map(() => 1)];
        const found = (await logitsOf(model, { input_ids: [long, left], attention_mask: [mask[0]!, leftMask] }))[1]!;
        const expected = referenceLogits(reference, left, leftMask).flat();
        const leftWorst = worstDifference(found.subarray(7 * V), expected.slice(7 * V));
        assert(found.every(Number.isFinite)); // rows that may look at nothing are finite too
        // Positions count from the first column, as in transformers' forward(): with rotary angles, which are relative,
        // the padded row equals the row alone.
        const relative = name !== "gpt2" ? worstDifference(found.subarray(7 * V), alone!) : 0;
        // With the positions of transformers' generate(), every family gives what it gives without padding.
        const position_ids = [long.map((_, t) => t), [...Array(7).fill(0), ...short.map((_, t) => t)]];
        const placed = { input_ids: [long, left], attention_mask: [mask[0]!, leftMask], position_ids };
        const moved = (await logitsOf(model, placed))[1]!.subarray(7 * V);
        assert(worstDifference(moved, alone!) < 1e-4);
        await assertRejects(
          () => model.forward({ input_ids: [[1, 2]], position_ids: [[0, 2]] }),
          ConfigError,
          "[0, 2)",
        );

        console.log(`padding right ${rightWorst.toExponential(1)}, left ${leftWorst.toExponential(1)}`);
        assert(Math.max(rightWorst, leftWorst, relative) < 1e-4); // logits up to 10 in f32; other tile shapes, other sums

        // The loss counts the labels of both rows alike, with and without the mask that causality makes superfluous.
        const { loss } = await model.forward({ ...right, attention_mask: mask });
        assertEquals((await model.forward(right)).loss, loss);
        assert(Math.abs(loss! - referenceLoss(reference, [long, short], [long, short])) < 2e-6 * loss!);
      }),
  );

  gpuTest(
    `${name}: one token, the last position, and one too many`,
    (device) =>
      withModel(device, config, async (model, reference) => {
        const [one] = await logitsOf(model, { input_ids: [[5]] });
        assert(worstDifference(one!, referenceLogits(reference, [5]).flat()) < 1e-4);
        const { loss } = await model.forward({ input_ids: [[5]], labels: [[5]] });
        assertEquals(loss, undefined); // nothing predicts the first token
        const error = await assertRejects(() => model.forward({ input_ids: [row(41)] }), ConfigError, "40 positions");
        assertEquals(error.code, "data/batch");
        await assertRejects(() => model.forward({ input_ids: [[61]] }), ConfigError, "[0, 61)");
        await assertRejects(() => model.forward({ input_ids: [[1]], labels: [[99]] }), ConfigError, "labels[0][0]");
      }),
  );
}

for (const name of ["llama-lora", "gpt2-lora"]) {
  gpuTest(`${name}: gradients of 200 adapter entries are central differences of the reference`, async (device) => {
    const model = await loadModel(device, `${fixture(name)}/model`);
    await model.loadAdapter(`${fixture(name)}/adapter_init`);
    const known = JSON.parse(await Deno.readTextFile(`${fixture(name)}/case.json`));
    const { input_ids, labels } = known.batches[0];
    const { loss, gradients } = await model.gradients(known.batches[0]);
    const tensors = exact(await model.adapterTensors());
    const scale = 8 / 4; // lora_alpha / r of both fixtures
    const reference = {
      config: model.state.config,
      weights: exact(await model.weights()),
      adapter: { tensors, scale },
    };
    const value = () => referenceLoss(reference, input_ids, labels);
    assert(Math.abs(value() - loss) < 1e-6);
    const eps = 1e-4; // the truncation, eps²/6 of a third derivative around 1, is 2e-9
    const { worst, largest } = compareGradients({ value, tensors, gradients, entries: 200, eps });
    console.log(`worst gradient error ${worst.toExponential(1)} of a largest gradient ${largest.toFixed(3)}`);
    assert(worst < 3e-7); // f32 gradients up to 0.2 through two layers
    model.destroy();
  });
}
