// Generation: the cache gives what forward() gives, and every rule about where a text ends.
import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import {
  generateIds,
  type GenerateOptions,
  generateTexts,
  type GraftDevice,
  loadModel,
  type Model,
} from "../../mod.ts";
import { UsageError } from "../../src/core/errors.ts";
import { tiny } from "../data/tiny_tokenizer.ts";
import { gpuTest } from "../device.ts";
import { fixture, GPT2, LLAMA, randomWeights } from "../models/folder.ts";
import { sharedFolder } from "../shared.ts";
import { withModel } from "../models/with_model.ts";

/** The likeliest next token after `ids`, by a whole forward pass. */
async function likeliest(model: Model, ids: readonly number[], adjust = (logits: Float32Array) => logits) {
  const { logits: { shape, data } } = await model.forward({ input_ids: [[...ids]] });
  const [, T, V] = shape as [number, number, number];
  const last = adjust(data.slice((T - 1) * V));
  return last.indexOf(Math.max(...last));
}

const QWEN3 = { ...LLAMA, model_type: "qwen3", head_dim: 12 };
for (const [name, config] of [["llama", LLAMA], ["gpt2", GPT2], ["qwen3", QWEN3]] as const) {
  gpuTest(
    `${name}: greedy tokens are the likeliest of forward(), alone and beside prompts of other lengths`,
    (device) =>
      withModel(device, config, async (model) => {
        const prompts = [[5, 17, 3], [9], [44, 2, 31, 8, 20, 1, 7]];
        const together = await generateIds(model, prompts, { maxNewTokens: 12 });
        for (const [i, prompt] of prompts.entries()) {
          const [alone] = await generateIds(model, [prompt], { maxNewTokens: 12 });
          assertEquals(together[i], alone);
        }
        const text = [...prompts[0]!];
        while (text.length < 15) text.push(await likeliest(model, text));
        assertEquals(together[0], text.slice(3));

        const penalty = 3;
        const [penalized] = await generateIds(model, [prompts[0]!], { maxNewTokens: 6, repetitionPenalty: penalty });
        const again = [...prompts[0]!];
        while (again.length < 9) {
          again.push(
            await likeliest(model, again, (logits) =>
              logits.map((x, id) =>
                !again.includes(id) ? x : x > 0 ? x / penalty : x * penalty
              )),
          );
        }
        assertEquals(penalized, again.slice(3));
        assertEquals(new Set(again).size, again.length); // strong enough that nothing comes twice
      }),
  );

  gpuTest(
    `${name}: a continuation ends at its count or at the last position`,
    (device) =>
      withModel(device, config, async (model) => {
        const lengths = async (prompts: number[][], maxNewTokens: number) =>
          (await generateIds(model, prompts, { maxNewTokens })).map((ids) => ids.length);
        assertEquals(await lengths([[1], [1, 2, 3]], 1), [1, 1]);
        assertEquals(await lengths([[1], [1, 2, 3]], 20), [20, 20]);
        assertEquals(await lengths([[1]], 0), [0]);
        const long = Array.from({ length: 38 }, (_, t) => t);
        assertEquals(await lengths([long], 20), [2]); // 40 positions
        assertEquals(await lengths([long, [4]], 20), [2, 20]);
        const refused: readonly [number[][], GenerateOptions, string][] = [
          [[[...long, 1, 2]], {}, "usage/prompt"],
          [[[]], {}, "usage/prompt"],
          [[[61]], {}, "data/token-range"],
          [[[0.5]], {}, "data/token-range"],
          [[[1]], { maxNewTokens: -1 }, "usage/sampling"],
          [[[1]], { maxNewTokens: NaN }, "usage/sampling"],
          [[[1]], { temperature: -1 }, "usage/sampling"],
          [[[1]], { temperature: NaN }, "usage/sampling"],
          [[[1]], { topK: 1.5, temperature: 1 }, "usage/sampling"],
          [[[1]], { topP: 0, temperature: 1 }, "usage/sampling"],
          [[[1]], { repetitionPenalty: 0 }, "usage/sampling"],
          [[[1]], { seed: -1 }, "usage/sampling"],
          [[[1]], { endTokens: [-1] }, "usage/sampling"],
        ];
        for (const [prompts, options, code] of refused) {
          const error = await assertRejects(() => generateIds(model, prompts, options), UsageError);
          assertEquals(error.code, code, JSON.stringify(options));
        }
        assertEquals(await generateIds(model, []), []);
      }),
  );
}

gpuTest(
  "sampling: a seed repeats itself, the likeliest of one is greedy, few candidates stay likely",
  (device) =>
    withModel(device, LLAMA, async (model) => {
      const write = async (options: GenerateOptions) =>
        (await generateIds(model, [[5, 17, 3]], { maxNewTokens: 16, ...options }))[0]!;
      const greedy = await write({});
      const drawn = await write({ temperature: 1.5, seed: 3 });
      assertEquals(await write({ temperature: 1.5, seed: 3 }), drawn);
      assertNotEquals(await write({ temperature: 1.5, seed: 4 }), drawn);
      assertNotEquals(drawn, greedy);
      assertEquals(await write({ temperature: 1.5, topK: 1, seed: 3 }), greedy);
      assertEquals(await write({ temperature: 1.5, topP: 1e-6, seed: 3 }), greedy);
      const few = [5, 17, 3, ...await write({ temperature: 3, topK: 4, seed: 5 })];
      for (let t = 3; t < few.length; t++) {
        const { logits: { data } } = await model.forward({ input_ids: [few.slice(0, t)] });
        const last = data.subarray(data.length - 61);
        assert(last.filter((x) => x > last[few[t]!]!).length < 4);
      }
    }),
);

gpuTest(
  "drawn texts depend on their prompt, seed and number, not on those beside them",
  (device) =>
    withModel(device, LLAMA, async (model) => {
      const prompts = [[5, 17, 3], [9], [44, 2, 31, 8, 20, 1, 7], [9]];
      const options = { maxNewTokens: 12, temperature: 1.5, topP: 0.95, seed: 3 };
      const together = await generateIds(model, prompts, options);
      for (const [s, prompt] of prompts.entries()) {
        assertEquals((await generateIds(model, [prompt], { ...options, firstSequence: s }))[0], together[s]);
      }
      assertNotEquals(together[1], together[3]);
      const several = await generateIds(model, [[9], [44]], { ...options, numReturnSequences: 2 });
      assertEquals(several.length, 4);
      assertEquals(several[1], (await generateIds(model, [[9]], { ...options, firstSequence: 1 }))[0]);
      assertEquals(several[2], (await generateIds(model, [[44]], { ...options, firstSequence: 2 }))[0]);

      // The same prompts as a padded batch, on either side.
      const T = 8, zeros = (n: number) => Array<number>(n).fill(0), ones = (n: number) => Array<number>(n).fill(1);
      const left = prompts.map((ids) => [...zeros(T - ids.length), ...ids]);
      const right = prompts.map((ids) => [...ids, ...zeros(T - ids.length)]);
      const leftMask = prompts.map(({ length }) => [...zeros(T - length), ...ones(length)]);
      const rightMask = prompts.map(({ length }) => [...ones(length), ...zeros(T - length)]);
      assertEquals(await model.generateIds({ input_ids: left, attention_mask: leftMask }, options), together);
      assertEquals(await model.generateIds({ input_ids: right, attention_mask: rightMask }, options), together);
      const gap = { input_ids: [[1, 2, 3]], attention_mask: [[1, 0, 1]] };
      await assertRejects(() => model.generateIds(gap), UsageError, "gap");
      await assertRejects(() => model.generateIds({ ...gap, attention_mask: [[1, 1]] }), UsageError, "another shape");
    }),
);

gpuTest(
  "end tokens of the options end a text, but not before its least length",
  (device) =>
    withModel(device, GPT2, async (model) => {
      const prompts = [[5, 17, 3], [9]];
      const free = await generateIds(model, prompts, { maxNewTokens: 12 });
      const ends = [free[0]![4]!, free[1]![2]!];
      const upTo = (ids: number[]) => ids.slice(0, ids.findIndex((id) => ends.includes(id)));
      const options = { maxNewTokens: 12, endTokens: ends };
      assertEquals(await generateIds(model, prompts, options), free.map(upTo));
      assertEquals(await generateIds(model, prompts, { ...options, ignoreEos: true }), free);
      for (const more of [{}, { temperature: 2, seed: 1 }]) {
        const long = await generateIds(model, prompts, { ...options, minNewTokens: 8, ...more });
        assert(long.every((ids) => ids.length >= 8 && !ids.some((id) => ends.includes(id))));
      }
      // Until then the likeliest other token comes.
      const [first] = await generateIds(model, [[9]], { ...options, minNewTokens: 12 });
      const text = [9];
      for (const id of first!) {
        assertEquals(id, await likeliest(model, text, (logits) => logits.map((x, i) => ends.includes(i) ? -1e30 : x)));
        text.push(id);
      }
      await assertRejects(
        () => generateIds(model, prompts, { ...options, minNewTokens: 13 }),
        UsageError,
        "minNewTokens",
      );
    }),
);

gpuTest("two continuations at once do not disturb each other", (device) =>
  withModel(device, LLAMA, async (model) => {
    const prompts = [[5, 17, 3], [9, 30, 2]];
    const alone = [];
    for (const prompt of prompts) alone.push((await generateIds(model, [prompt], { maxNewTokens: 30 }))[0]);
    const both = await Promise.all(prompts.map((prompt) => generateIds(model, [prompt], { maxNewTokens: 30 })));
    assertEquals(both.map(([ids]) => ids), alone);
  }));

/** A GPT-2 over the tiny tokenizer whose next token is a function of the last one: it writes a text for ever. */
async function parrot(device: GraftDevice, text: string, act: (model: Model) => Promise<void>): Promise<void> {
  const ids = tiny.encode(text);
  const V = 262, D = 264;
  const config = { ...GPT2, vocab_size: V, n_embd: D, n_layer: 1, n_head: 33, n_inner: 8, tie_word_embeddings: false };
  const weights = randomWeights(config);
  for (const { data } of weights.values()) data.fill(0);
  weights.get("transformer.ln_f.weight")!.data.fill(1);
  for (let id = 0; id < V; id++) weights.get("transformer.wte.weight")!.data[id * D + id] = 1;
  ids.forEach((id, i) => weights.get("lm_head.weight")!.data[ids[(i + 1) % ids.length]! * D + id] = 1);
  await withModel(device, config, (model) => {
    Object.assign(model.state, { tokenizer: () => tiny, tokenizerOrNone: tiny });
    return act(model);
  }, { weights });
}

gpuTest(
  "texts stop at the end token and at stop texts, also where tokens split those",
  (device) =>
    parrot(device, "x the öab c!<|end|>", async (model) => {
      const write = async (options: GenerateOptions = {}) => {
        const pieces = await Array.fromAsync(model.generate("x", { maxNewTokens: 30, ...options }));
        assert(pieces.every((piece) => piece.length > 0));
        return pieces.join("");
      };
      assertEquals(await write(), " the öab c!");
      assertEquals((await write({ ignoreEos: true })).startsWith(" the öab c!x the"), true);
      assertEquals(await write({ maxNewTokens: 1 }), " the");
      assertEquals(await write({ stop: ["öa"] }), " the "); // bytes of ö and a part of the token "ab"
      assertEquals(await write({ stop: ["b c", "c!"] }), " the öa");
      assertEquals(await write({ stop: [" the"] }), "");
      assertEquals(await write({ stop: ["c!?", "nothing like it"] }), " the öab c!");
      assertEquals(await write({ stop: [] }), " the öab c!");
      assertEquals(
        await generateTexts(model, ["x", "x the", "x the ö"], { maxNewTokens: 30, stop: ["ab c"] }),
        [" the ö", " ö", ""],
      );
      assertEquals(await generateTexts(model, ["x", "x the"], { maxNewTokens: 30, numBeams: 2 }), [
        " the öab c!",
        " öab c!",
      ]);
      assertEquals(await write({ numBeams: 2 }), " the öab c!");
      await assertRejects(() => write({ numBeams: 2, numReturnSequences: 2 }), UsageError, "generateTexts");
      await assertRejects(() => write({ stop: [""] }), UsageError, "stop");
      await assertRejects(() => Array.fromAsync(model.generate("")), UsageError, "empty prompt");
    }),
);

for (const name of ["llama-lora", "gpt2-lora"]) {
  gpuTest(`${name}: greedy continuations are PyTorch's, of the base and of the trained adapter`, async (device) => {
    const { generate: { prompt, base, adapted } } = JSON.parse(await Deno.readTextFile(`${fixture(name)}/case.json`));
    const model = await loadModel(device, `${fixture(name)}/model`);
    const write = async () => [...prompt, ...(await generateIds(model, [prompt], { maxNewTokens: 12 }))[0]!];
    assertEquals(await write(), base);
    await model.loadAdapter(`${fixture(name)}/adapter_final`);
    assertEquals(await write(), adapted);
    model.disableAdapter();
    assertEquals(await write(), base);
    model.setAdapter("default");
    await model.merge();
    assertEquals(await write(), adapted);
    model.destroy();
  });
}

gpuTest("stories260K writes the text that was published with it", async (device) => {
  const shared = sharedFolder();
  if (!shared) return;
  // llama2.c, doc/stories260K.md: the sample at temperature 0.
  const published = [
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a " +
    "big, red ball. She wanted to play with it, but it was too high.",
    "Lily's mom said, \"Lily, let's go to the park.\" Lily was sad and didn't know what to do. She said, \"I want to " +
    "play with your ball, but I can't find it.\"",
    "Lily was sad and didn't know what to do. She said, \"I'm sorry, Lily. I didn't know what to do.\"",
    "Lily didn't want to help her mom, so she said, \"I'm sorry, mom. I didn't know what to do.\" Her mom said, " +
    "\"Don't worry, Lily. We can help you",
  ].join("\n");
  const model = await loadModel(device, `${shared}/models/stories260K-hf`);
  const text = (await Array.fromAsync(model.generate("", { maxNewTokens: 255 }))).join("").trim();
  assertEquals(text.slice(0, published.length), published);
  model.destroy();
});
