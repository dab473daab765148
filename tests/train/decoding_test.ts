// Prompts read in chunks give what forward() gives, whatever their lengths; caches are of the needed size and reused.
import { assert, assertEquals } from "@std/assert";
import { generateIds } from "../../mod.ts";
import { read, run, write } from "../../src/gpu/executable.ts";
import { Graph } from "../../src/graph/graph.ts";
import { prefillSequence } from "../../src/nn/prefill_sequence.ts";
import { causalLmLogits } from "../../src/objectives/causal_lm.ts";
import { modelScope, program } from "../../src/train/programs.ts";
import { gpuTest } from "../device.ts";
import { GPT2, LLAMA } from "../models/folder.ts";
import { relativeError } from "../ops/harness.ts";
import { withModel } from "../models/with_model.ts";

const text = (length: number, seed: number) => Array.from({ length }, (_, t) => (seed + 7 * t * t + 3 * t) % 61);

for (const [name, config] of [["llama", LLAMA], ["gpt2", GPT2]] as const) {
  for (const kind of ["software", "gpu"] as const) {
    gpuTest(
      `${name}, ${kind}: logits of chunks are those of forward()`,
      (device) =>
        withModel(device, config, async (model) => {
          const { state } = model;
          const S = 2, C = 8, Tmax = 24, V = 61;
          const texts = [text(Tmax, 5), text(Tmax, 11)];
          const { logits: { data } } = await model.forward({ input_ids: texts });
          for (let first = 0; first < Tmax; first += C) {
            const { executable, inputs, results } = await program(state, `chunk ${first}`, () => {
              const graph = new Graph(state.device.target);
              const rows = (name: string) => graph.leaf("input", name, [S * C], { dtype: "u32" });
              const positions = rows("positions"), tokens = rows("tokens");
              const options = { graph, S, C, Tmax, seen: first + C, positions, prefix: "generate test " };
              const sequence = prefillSequence(options);
              const { m, constants } = modelScope(state, { graph, sequence, trained: "nothing" });
              const logits = causalLmLogits(m, state.architecture, tokens);
              return { graph, constants, inputs: { positions, tokens }, results: { logits } };
            });
            const rows = Array.from({ length: S * C }, (_, n) => n);
            write(executable, inputs.positions!, Uint32Array.from(rows, (n) => first + n % C));
            write(executable, inputs.tokens!, Uint32Array.from(rows, (n) => texts[Math.floor(n / C)]![first + n % C]!));
            run(executable);
            const [found] = await read(executable, [results.logits!]);
            const expected = rows.flatMap((n) => {
              const at = (Math.floor(n / C) * Tmax + first + n % C) * V;
              return [...data.subarray(at, at + V)];
            });
            assert(relativeError(found!, expected) < 1e-6, `from ${first}`);
          }
        }),
      { kind },
    );
  }

  gpuTest(
    `${name}: prompts of one chunk and of many, side by side and alone`,
    (device) =>
      withModel(device, config, async (model) => {
        const prompts = [2, 36, 17, 1, 33, 9].map((length, s) => text(length, s));
        const options = { maxNewTokens: 4, repetitionPenalty: 1.2 };
        const together = await generateIds(model, prompts, options);
        const drawn = await generateIds(model, prompts, { ...options, temperature: 1.5, seed: 3 });
        for (const [s, prompt] of prompts.entries()) {
          assertEquals(together[s], (await generateIds(model, [prompt], options))[0], `prompt ${s}`);
        }
        // The first sequence draws the same numbers, whoever is beside it.
        assertEquals(drawn[0], (await generateIds(model, [prompts[0]!], { ...options, temperature: 1.5, seed: 3 }))[0]);
        const plain = await generateIds(model, prompts, { maxNewTokens: 4 });
        for (const [s, prompt] of prompts.entries()) {
          const all = [...prompt, ...plain[s]!];
          const { logits: { data } } = await model.forward({ input_ids: [all.slice(0, -1)] });
          plain[s]!.forEach((id, i) => {
            const row = data.subarray((prompt.length - 1 + i) * 61, (prompt.length + i) * 61);
            assertEquals(id, row.indexOf(Math.max(...row)), `prompt ${s}, token ${i}`);
          });
        }
      }),
  );
}

gpuTest(
  "caches have the needed length, serve the next generation, and make room for other sizes",
  (device) =>
    withModel(device, { ...LLAMA, max_position_embeddings: 512 }, async (model) => {
      const { store, programs } = model.state;
      const caches = () => [...store.buffers.keys()].filter((name) => name.startsWith("generate "));
      await generateIds(model, [[5, 17, 3]], { maxNewTokens: 10 });
      assert(caches().length > 4 && caches().every((name) => name.startsWith("generate 1x64 ")));
      const { K, E } = model.state.architecture.cache;
      const keys = caches().find((name) => name.includes("keys"))!;
      assertEquals(store.sizes.get(keys), 4 * 64 * K * E);
      const before = { programs: [...programs.keys()], bytes: device.memory.bytes };
      await generateIds(model, [[9, 30, 2, 8]], { maxNewTokens: 12 });
      assertEquals({ programs: [...programs.keys()], bytes: device.memory.bytes }, before);
      await generateIds(model, [[5], [6]], { maxNewTokens: 100 });
      assert(caches().every((name) => name.startsWith("generate 2x128 ")));
      assert([...programs.keys()].every((key) => key.startsWith("generate 2x128 ")));
    }),
);
