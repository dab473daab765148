// Beam search finds what a float64 search over whole forward passes finds, whatever the rules.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { type Beam, generateBeams, generateIds, type GenerateOptions, loadModel, type Model } from "../../mod.ts";
import { NumericError, UsageError } from "../../src/core/errors.ts";
import type { GraftDevice } from "../../src/gpu/device.ts";
import { put } from "../../src/gpu/store.ts";
import { searchBeams } from "../../src/train/beam_search.ts";
import { causalDecoder } from "../../src/train/decoder.ts";
import { gpuTest } from "../device.ts";
import { fixture, GPT2, LLAMA, randomWeights } from "../models/folder.ts";
import type { ReferenceModel } from "../models/reference.ts";
import { withModel } from "../models/with_model.ts";
import { referenceBeams, type ReferenceRules } from "./beam_reference.ts";

/** A model that is unsure of its next token, so that beams meet and part. */
async function withUnsure(
  device: GraftDevice,
  config: Readonly<Record<string, unknown>>,
  act: (model: Model, reference: ReferenceModel) => Promise<void>,
): Promise<void> {
  const weights = randomWeights(config);
  for (const name of ["lm_head.weight", "transformer.ln_f.weight", "transformer.ln_f.bias"]) {
    const tensor = weights.get(name);
    if (tensor) { for (let i = 0; i < tensor.data.length; i++) tensor.data[i]! *= 0.2; }
  }
  await withModel(device, config, act, { weights });
}

const search = (model: Model, prompts: readonly (readonly number[])[], options: GenerateOptions) =>
  searchBeams({ model, decoder: causalDecoder(model.state) }, prompts, options);

/** The rules in the names of both sides. */
const optionsOf = ({ W, ends, ...rest }: ReferenceRules): GenerateOptions => ({
  numBeams: W,
  endTokens: ends,
  ...rest,
});

const rules: readonly ReferenceRules[] = [
  { W: 2, maxNewTokens: 6, ends: [] },
  { W: 3, maxNewTokens: 10, ends: [4, 9, 17] },
  { W: 3, maxNewTokens: 10, ends: [4, 9, 17], lengthPenalty: 0 },
  { W: 4, maxNewTokens: 10, ends: [3, 12], lengthPenalty: 2, earlyStopping: true },
  { W: 2, maxNewTokens: 10, ends: [3, 12, 40, 41, 42], lengthPenalty: -1, earlyStopping: "never" },
  { W: 3, maxNewTokens: 8, ends: [4, 9, 17, 30, 31], earlyStopping: "never" },
  { W: 2, maxNewTokens: 8, ends: [4, 9, 17], repetitionPenalty: 1.5, minNewTokens: 3 },
  { W: 12, maxNewTokens: 3, ends: [4, 9, 17, 30, 31] }, // more candidates than a beam has tokens
];
const prompts = [[5, 17, 3], [9], [44, 2, 31, 8, 20, 1, 7]];

for (const [name, config, kind] of [["llama", LLAMA, "software"], ["gpt2", GPT2, "gpu"]] as const) {
  gpuTest(
    `beam search, ${name}: texts and scores are those of the float64 reference, all prompts at once`,
    (device) =>
      withUnsure(device, config, async (model, reference) => {
        let worst = 0, early = 0, ended = 0, narrow = Infinity;
        for (const rule of rules) {
          const found = await search(model, prompts, optionsOf(rule));
          for (const [p, prompt] of prompts.entries()) {
            const expected = referenceBeams(reference, prompt, rule);
            assertEquals(found[p]!.map(({ ids }) => ids), expected.found.map(({ ids }) => ids), JSON.stringify(rule));
            for (const [i, { score }] of expected.found.entries()) {
              worst = Math.max(worst, Math.abs(found[p]![i]!.score / score - 1));
            }
            narrow = Math.min(narrow, expected.gap);
            if (expected.steps < rule.maxNewTokens) early++;
            ended += expected.found.filter(({ ids }) => ids.length < expected.steps).length;
          }
        }
        console.log(
          `beams: scores differ by a factor of ${worst.toExponential(1)} at most; ${early} prompts ended early, ` +
            `${ended} texts at end tokens; narrowest decision ${narrow.toExponential(1)}`,
        );
        assert(worst < 5e-7); // logits of small weights in f32: sums of 32 to 40 terms, and up to ten log-probabilities
        assert(early >= 3 && ended >= 12); // the cases are not all of one kind
      }),
    { kind },
  );
}

gpuTest(
  "beam search: a prompt alone, beside others, and again; the best of several",
  (device) =>
    withUnsure(device, LLAMA, async (model) => {
      const options = { numBeams: 3, maxNewTokens: 12, endTokens: [4, 9, 17], numReturnSequences: 2 };
      const together = await generateIds(model, prompts, options);
      assertEquals(together.length, 6);
      for (const [p, prompt] of prompts.entries()) {
        assertEquals(await generateIds(model, [prompt], options), together.slice(2 * p, 2 * p + 2));
      }
      assertEquals(
        await generateIds(model, prompts, { ...options, numReturnSequences: 1 }),
        [0, 2, 4].map((i) => together[i]),
      );
      // Prompts of many chunks, the last of which reaches the last position.
      const long = [
        Array.from({ length: 38 }, (_, t) => (7 * t * t + 3) % 61),
        Array.from({ length: 20 }, (_, t) => t),
      ];
      const found = await generateIds(model, long, { numBeams: 2, maxNewTokens: 6 });
      assertEquals(found.map((ids) => ids.length), [2, 6]);
      for (const [p, prompt] of long.entries()) {
        assertEquals((await generateIds(model, [prompt], { numBeams: 2, maxNewTokens: 6 }))[0], found[p]);
      }
      assertEquals(await generateIds(model, [[1]], { numBeams: 2, maxNewTokens: 0 }), [[]]);
      // One beam is greedy, with its score.
      const [[one]] = await generateBeams(model, [prompts[0]!], { maxNewTokens: 9 }) as [[Beam]];
      assertEquals([one.ids], await generateIds(model, [prompts[0]!], { maxNewTokens: 9 }));
      assert(one.score < 0);
    }),
);

gpuTest("beam search behind the positions of prompt tuning: scores are those of forward()", async (device) => {
  const model = await loadModel(device, `${fixture("gpt2-prompt")}/model`);
  await model.loadAdapter(`${fixture("gpt2-prompt")}/adapter_final`);
  const options = { numBeams: 3, maxNewTokens: 6, ignoreEos: true, lengthPenalty: 0 };
  const [found] = await search(model, [[5, 17, 3]], options);
  for (const { ids, score } of found!) {
    const { logits: { shape, data } } = await model.forward({ input_ids: [[5, 17, 3, ...ids.slice(0, -1)]] });
    const V = shape.at(-1)!;
    const sum = ids.reduce((sum, id, i) => {
      const row = [...data.subarray((2 + i) * V, (3 + i) * V)];
      return sum + row[id]! - Math.log(row.reduce((all, x) => all + Math.exp(x), 0));
    }, 0);
    assert(Math.abs(score - sum) < 1e-5);
  }
  assertEquals(await search(model, [[5, 17, 3]], options), [found]);
  model.destroy();
});

gpuTest("beam search: caches above one binding are cut between prompts", async (device) => {
  const config = { ...LLAMA, num_hidden_layers: 1, hidden_size: 16, num_attention_heads: 2, intermediate_size: 8 };
  await withUnsure(device, { ...config, num_key_value_heads: 1 }, async (model, reference) => {
    const rule = { W: 2, maxNewTokens: 5, ends: [4, 9, 17] };
    const many = [[5, 17, 3], [9], [44, 2], [8, 8, 8], [1, 60]];
    const found = await search(model, many, optionsOf(rule));
    for (const [p, prompt] of many.entries()) {
      assertEquals(
        found[p]!.map(({ ids }) => ids),
        referenceBeams(reference, prompt, rule).found.map(({ ids }) => ids),
      );
    }
  });
}, { maxBinding: 8192 });

gpuTest(
  "beam search refuses what it cannot do, and does not pass over numbers that are not finite",
  (device) =>
    withUnsure(device, LLAMA, async (model) => {
      const refused: readonly [GenerateOptions, string][] = [
        [{ numBeams: 0 }, "numBeams"],
        [{ numBeams: 65 }, "numBeams"],
        [{ numBeams: 2, temperature: 1 }, "temperature must be 0"],
        [{ numBeams: 2, stop: ["x"] }, "stop texts need numBeams = 1"],
        [{ numBeams: 2, numReturnSequences: 3 }, "at most numBeams = 2"],
        [{ numReturnSequences: 2 }, "needs a temperature or beams"],
        [{ numBeams: 2, lengthPenalty: NaN }, "lengthPenalty"],
      ];
      for (const [options, word] of refused) {
        await assertRejects(() => generateIds(model, [[1]], options), UsageError, word);
      }
      const { store } = model.state;
      await put(store, "model.norm.weight", new Float32Array(store.sizes.get("model.norm.weight")! / 4).fill(NaN));
      await assertRejects(() => generateIds(model, [[1]], { numBeams: 2 }), NumericError, "not finite");
    }),
);
