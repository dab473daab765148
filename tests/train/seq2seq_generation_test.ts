// Encoder-decoders write what the float64 reference writes over whole passes: greedy and by beams, several prompts at once.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { generateIds, type GraftDevice, lora, train, UsageError } from "../../mod.ts";
import { gpuTest } from "../device.ts";
import { randomWeights, T5 } from "../models/folder.ts";
import type { ReferenceModel } from "../models/reference.ts";
import { t5Logits } from "../models/t5_reference.ts";
import { withModel } from "../models/with_model.ts";
import { referenceBeams } from "./beam_reference.ts";

/** The T5 whose texts differ. */
const withT5 = (device: GraftDevice, act: Parameters<typeof withModel>[2]) =>
  withModel(device, T5, act, { weights: randomWeights(T5, 4) });

const row = (length: number, start = 7): number[] =>
  Array.from({ length }, (_, t) => 4 + (start * (t + 3) + t * t) % 57);
const prompts = [row(5), row(12, 5), [9], row(20, 3)];

/** The logits behind what was written from a source. */
const logitsFrom = (model: ReferenceModel, source: readonly number[]) => (target: readonly number[]) =>
  t5Logits(model, { source, mask: source.map(() => 1), target }).at(-1)!;

/** The likeliest tokens one by one, and the smallest gap that decided. */
function greedy(
  model: ReferenceModel,
  source: readonly number[],
  count: number,
): { readonly ids: number[]; readonly gap: number } {
  const text = [0];
  let gap = Infinity;
  for (let i = 0; i < count; i++) {
    const logits = logitsFrom(model, source)(text);
    const [first, second] = logits.toSorted((a, b) => b - a);
    gap = Math.min(gap, first! - second!);
    text.push(logits.indexOf(first!));
  }
  return { ids: text.slice(1), gap };
}

for (const kind of ["software", "gpu"] as const) {
  gpuTest(
    `seq2seq generation, ${kind} class: greedy texts are the reference's, all prompts at once`,
    (device) =>
      withT5(device, async (model, reference) => {
        const expected = prompts.map((prompt) => greedy(reference, prompt, 14));
        const found = await generateIds(model, prompts, { maxNewTokens: 14, ignoreEos: true });
        const gap = Math.min(...expected.map(({ gap }) => gap));
        console.log(`${new Set(found.flat()).size} different tokens, smallest gap ${gap.toExponential(1)}`);
        assert(gap > 1e-4);
        assertEquals(found, expected.map(({ ids }) => ids));
        assert(new Set(found.map(String)).size > 2); // the prompts matter
      }),
    { kind },
  );
}

gpuTest("seq2seq generation: beams are the reference's", (device) =>
  withT5(device, async (model, reference) => {
    for (const rule of [{ W: 3, maxNewTokens: 6, ends: [4, 9, 17, 30, 41] }, { W: 2, maxNewTokens: 7, ends: [] }]) {
      const { W: numBeams, ends: endTokens, maxNewTokens } = rule;
      const expected = prompts.slice(0, 3).map((source) =>
        referenceBeams(reference, [0], { ...rule, logitsOf: logitsFrom(reference, source) })
      );
      const options = { numBeams, endTokens, maxNewTokens, numReturnSequences: numBeams };
      const found = await generateIds(model, prompts.slice(0, 3), options);
      console.log(`smallest gap ${Math.min(...expected.map(({ gap }) => gap)).toExponential(1)}`);
      assertEquals(found, expected.flatMap((each) => each.found.map(({ ids }) => [...ids])));
    }
  }));

gpuTest(
  "seq2seq generation: lengths, batches, samples and turns do not matter to a text; adapters do",
  (device) =>
    withT5(device, async (model, reference) => {
      const options = { maxNewTokens: 10, ignoreEos: true };
      const long = row(40, 11); // more positions than the others' sources are padded to
      const [base] = await generateIds(model, [long], options);
      assertEquals(base, greedy(reference, long, 10).ids);
      assertEquals((await generateIds(model, [prompts[0]!, long, prompts[1]!], options))[1], base);
      assertEquals(await generateIds(model, [long], options), [base]);

      // A batch padded in front or behind, and a text that ends: what is behind its end is not given.
      const padded = {
        input_ids: [[0, 0, ...row(5)], [9, 3, 3, 3, 3, 3, 3]],
        attention_mask: [[0, 0, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0, 0]],
      };
      const texts = await generateIds(model, [row(5), [9]], options);
      assertEquals(await generateIds(model, padded, options), texts);
      const end = texts[0]![4]!;
      const ended = await generateIds(model, [row(5)], { maxNewTokens: 10, endTokens: [end] });
      assertEquals(ended, [texts[0]!.slice(0, texts[0]!.indexOf(end))]);

      // Samples depend on the seed and their number, not on what is beside them.
      const sampling = { ...options, temperature: 1.5, topK: 20, seed: 3 };
      const samples = await generateIds(model, prompts, sampling);
      assertEquals(await generateIds(model, prompts.slice(2), { ...sampling, firstSequence: 2 }), samples.slice(2));
      const several = await generateIds(model, [prompts[0]!], { ...sampling, numReturnSequences: 5 });
      assert(several.length === 5 && new Set(several.map(String)).size > 1);
      const turns = await Promise.all([generateIds(model, prompts, sampling), generateIds(model, [long], options)]);
      assertEquals(turns, [samples, [base]]);

      await model.addAdapter(lora({ rank: 8, alpha: 16, targetModules: "all-linear" }));
      assertEquals(await generateIds(model, [long], options), [base]);
      const data = [{ input_ids: [long], labels: [[40, 41, 42, 43, 1]] }];
      for await (const _ of train(model, { data, learningRate: 0.01, epochs: 100 }));
      const learned = await generateIds(model, [long], { maxNewTokens: 10, endTokens: [1] });
      assertEquals(learned, [[40, 41, 42, 43]]);
      model.disableAdapter();
      assertEquals(await generateIds(model, [long], options), [base]);
      await assertRejects(() => generateIds(model, [[]], options), UsageError, "empty prompt");
      await assertRejects(() => generateIds(model, [[61]], options), UsageError, "Cannot use 61 as a token");
    }),
);
