// Encoders and heads against the float64 reference: logits of every task, padding, and gradients of trained heads.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { type Batch, ConfigError, lora, prefixTuning } from "../../mod.ts";
import { gpuTest } from "../device.ts";
import {
  binaryCrossEntropy,
  type EncoderRow,
  sequenceLogits,
  tokenLogits,
  vocabularyLogits,
} from "./encoder_reference.ts";
import { BERT, DISTILBERT, GPT2, LLAMA, ROBERTA, worstDifference } from "./folder.ts";
import { referenceLogits, type ReferenceModel } from "./reference.ts";
import { crossEntropy } from "./reference_maths.ts";
import { withModel } from "./with_model.ts";

type Config = Readonly<Record<string, unknown>>;
const labels = (...names: string[]) => ({ id2label: Object.fromEntries(names.map((name, i) => [i, name])) });
const row = (length: number, start = 7): number[] =>
  Array.from({ length }, (_, t) => 2 + (start * (t + 3) + t * t) % 59);

const families = { Bert: BERT, Roberta: ROBERTA, DistilBert: DISTILBERT } as const;

/** Two rows: one of sixteen tokens and a shorter one, padded, in sentences where the family has them. */
function twoRows({ model_type, pad_token_id: pad }: { readonly model_type: string; readonly pad_token_id: number }) {
  const types = model_type === "bert" ? { types: row(16).map((_, t) => t < 6 ? 0 : 1) } : {};
  const rows: EncoderRow[] = [
    { ids: row(16, 5), ...types },
    { ids: [...row(9), ...Array(7).fill(pad)], mask: row(16).map((_, t) => t < 9 ? 1 : 0), ...types },
  ];
  const batch: Batch = {
    input_ids: rows.map(({ ids }) => ids),
    attention_mask: rows.map(({ ids, mask }) => mask ?? ids.map(() => 1)),
    ...(types.types ? { token_type_ids: rows.map(() => types.types) } : {}),
  };
  return { rows, batch };
}

const heads = {
  SequenceClassification: (m: ReferenceModel, r: EncoderRow) => sequenceLogits(m, r),
  TokenClassification: (m: ReferenceModel, r: EncoderRow) => tokenLogits(m, r, "classifier"),
  QuestionAnswering: (m: ReferenceModel, r: EncoderRow) => tokenLogits(m, r, "qa_outputs"),
  MaskedLM: (m: ReferenceModel, r: EncoderRow) => vocabularyLogits(m, r),
} as const;

for (const [family, base] of Object.entries(families)) {
  gpuTest(`${family}: logits of every head are the reference's, with padding and sentences`, async (device) => {
    for (const [task, reference] of Object.entries(heads)) {
      const config = { ...base, architectures: [`${family}For${task}`], ...labels("a", "b", "c", "d") };
      await withModel(device, config, async (model, known) => {
        const { rows, batch } = twoRows(base);
        const { logits: { shape, data } } = await model.forward(batch);
        const expected = rows.flatMap((r) => reference(known, r).flat());
        assertEquals(shape.reduce((a, b) => a * b, 1), expected.length);
        const ofTokens = shape.length === 3, width = shape.at(-1)!;
        const counts = (i: number) => !ofTokens || batch.attention_mask!.flat()[Math.floor(i / width)] === 1;
        const found = data.filter((_, i) => counts(i)), wanted = expected.filter((_, i) => counts(i));
        const size = Math.max(...wanted.map(Math.abs)), worst = worstDifference(found, wanted);
        console.log(`${task}: logits up to ${size.toFixed(1)}, worst difference ${worst.toExponential(1)}`);
        assert(size > 0.3);
        assert(worst < 1e-5 * Math.max(1, size)); // f32 sums of 24 to 61 terms through two layers
      });
    }
  });
}

const losses: Readonly<
  Record<string, { config: Config; labels: Batch["labels"]; loss: (z: number[], b: number) => number }>
> = {
  "several labels": {
    config: { ...ROBERTA, problem_type: "multi_label_classification", ...labels("a", "b", "c") },
    labels: [[1, 0, 1], [0, 0, 1]],
    loss: (z, b) => binaryCrossEntropy(z, [[1, 0, 1], [0, 0, 1]][b]!),
  },
  "several labels, found by their form": {
    config: { ...BERT, ...labels("a", "b", "c") },
    labels: [[1, 1, 0], [0, 0, 0]],
    loss: (z, b) => binaryCrossEntropy(z, [[1, 1, 0], [0, 0, 0]][b]!),
  },
  "one label": {
    config: { ...DISTILBERT, ...labels("a", "b", "c") },
    labels: [2, 0],
    loss: (z, b) => crossEntropy(z, [2, 0][b]!),
  },
  "a regression of two numbers": {
    config: { ...DISTILBERT, problem_type: "regression", ...labels("a", "b") },
    labels: [[0.5, -1], [2, 0.25]],
    loss: (z, b) => z.reduce((sum, x, i) => sum + (x - [[0.5, -1], [2, 0.25]][b]![i]!) ** 2, 0) / 2,
  },
};

for (const [name, { config, labels, loss }] of Object.entries(losses)) {
  gpuTest(
    `${config.model_type}, ${name}: loss and gradients of head and adapter are the reference's`,
    (device) =>
      withModel(device, config, async (model, base) => {
        await model.addAdapter(lora({ rank: 2, alpha: 4 }), { seed: 3 });
        const tensors = new Map([...await model.adapterTensors()].map(([key, data]) => [key, Float64Array.from(data)]));
        const reference: ReferenceModel = { ...base, adapter: { tensors, scale: 2 } };
        const { rows, batch } = twoRows(config as typeof BERT);
        const value = () =>
          rows.reduce((sum, r, b) => sum + loss(sequenceLogits(reference, r)[0]!, b), 0) / rows.length;
        const { loss: found, gradients } = await model.gradients({ ...batch, labels: labels! });
        assert(Math.abs(found - value()) < 2e-6 * Math.max(1, found));
        assert([...tensors.keys()].some((key) => key.includes("classifier"))); // the head is trained too
        let worst = 0, largest = 0;
        for (const [key, data] of tensors) {
          if (key.includes("lora_A")) continue; // B is zero: so is the gradient of A
          for (const i of [0, Math.floor(data.length / 2), data.length - 1]) {
            const kept = data[i]!, eps = 1e-4;
            data[i] = kept + eps;
            const above = value();
            data[i] = kept - eps;
            const below = value();
            data[i] = kept;
            const expected = (above - below) / (2 * eps);
            worst = Math.max(worst, Math.abs(expected - gradients.get(key)![i]!));
            largest = Math.max(largest, Math.abs(expected));
          }
        }
        console.log(
          `loss ${found.toFixed(3)}, worst gradient error ${worst.toExponential(1)} of ${largest.toFixed(2)}`,
        );
        assert(largest > 0.05 && worst < 2e-6 * Math.max(1, largest)); // f32 through two layers; truncation 1e-8
      }),
  );
}

for (const config of [BERT, ROBERTA, DISTILBERT]) {
  gpuTest(`${config.model_type}: heads behind prefixes read real tokens only`, async (device) => {
    for (const task of ["SequenceClassification", "QuestionAnswering"] as const) {
      await withModel(
        device,
        { ...config, architectures: [`XFor${task}`], ...labels("a", "b") },
        async (model, base) => {
          await model.addAdapter(prefixTuning({ virtualTokens: 3 }), { seed: 4 });
          const tensors = new Map(
            [...await model.adapterTensors()].map(([key, data]) => [key, Float64Array.from(data)]),
          );
          const reference: ReferenceModel = { ...base, adapter: { tensors, scale: 1 } };
          const { rows, batch } = twoRows(config);
          const { logits: { data } } = await model.forward(batch);
          const expected = rows.flatMap((r) => heads[task](reference, r).flat());
          const real = (i: number) => task !== "QuestionAnswering" || batch.attention_mask!.flat()[i >> 1] === 1;
          const without = rows.flatMap((r) => heads[task](base, r).flat());
          assert(worstDifference(expected, without) > 0.02); // the prefixes matter
          assert(worstDifference(data.filter((_, i) => real(i)), expected.filter((_, i) => real(i))) < 1e-5);
          if (task !== "QuestionAnswering") return;
          const { loss } = await model.gradients({ ...batch, start_positions: [2, 99], end_positions: [15, 99] });
          const z = (column: number) => expected.filter((_, i) => i % 2 === column).slice(0, 16);
          assert(Math.abs(loss - (crossEntropy(z(0), 2) + crossEntropy(z(1), 15)) / 2) < 2e-6 * Math.max(1, loss));
        },
      );
    }
  });
}

for (
  const [name, config] of [["gpt2", GPT2], ["llama", LLAMA], ["qwen3", {
    ...LLAMA,
    model_type: "qwen3",
    head_dim: 8,
  }]] as const
) {
  gpuTest(`${name}: a sequence is classified by its right-most token that is no padding`, (device) => {
    const architectures = [`${name}ForSequenceClassification`];
    return withModel(
      device,
      { ...config, architectures, pad_token_id: 1, ...labels("a", "b", "c") },
      async (model, base) => {
        const short = row(9), padded = [...short, 1, 1, 1];
        const asHead = {
          ...base,
          weights: new Map([...base.weights, ["lm_head.weight", base.weights.get("score.weight")!]]),
        };
        const expected = referenceLogits(asHead, short).at(-1)!;
        const mask = padded.map((id) => id === 1 ? 0 : 1);
        const forms: Batch[] = [
          { input_ids: [short] },
          { input_ids: [padded] }, // no mask: the padding token says it
          { input_ids: [padded, row(12, 5)], attention_mask: [mask, row(12).map(() => 1)] },
        ];
        for (const batch of forms) {
          const { logits: { shape, data } } = await model.forward(batch);
          assertEquals(shape, [batch.input_ids.length, 3]);
          assert(worstDifference(data.subarray(0, 3), expected) < 1e-5 * Math.max(...expected.map(Math.abs), 1));
        }
      },
    );
  });
}

gpuTest(
  "labels that a task cannot have are refused with their places",
  (device) =>
    withModel(device, { ...BERT, ...labels("a", "b") }, async (model) => {
      const input_ids = [row(4), row(4)];
      const problem = async (batch: Partial<Batch>) =>
        (await assertRejects(() => model.forward({ input_ids, ...batch }), ConfigError)).problems.join("; ");
      assertEquals(await problem({ labels: [0, 2] }), "labels[1] must be -100 or an integer in [0, 2): received 2");
      assertEquals(await problem({ labels: [0] }), "labels must have 2 rows like input_ids: received 1");
      assertEquals(await problem({ labels: [[0, 1], [1]] }), "labels[1] must have 2 values: received 1");
      assertEquals(
        await problem({ token_type_ids: [[0, 0, 1, 2], [0, 0, 0, 0]] }),
        "token_type_ids[0][3] must be an integer in [0, 2): received 2",
      );
      const { loss } = await model.forward({ input_ids, labels: [-100, 1] });
      assert(Number.isFinite(loss));
      assertEquals((await model.forward({ input_ids })).loss, undefined);
    }),
);
