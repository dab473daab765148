// Losses and hits of every row of a data set are those of the logits of forward().
import { assert, assertEquals, assertRejects } from "@std/assert";
import { evaluate, loadModel, lora } from "../../mod.ts";
import { UsageError } from "../../src/core/errors.ts";
import { IGNORE } from "../../src/data/labels.ts";
import { scoreRows } from "../../src/train/score_rows.ts";
import { gpuTest } from "../device.ts";
import { GPT2, LLAMA, writeModel } from "../models/folder.ts";
import { withFolder } from "../temp_folder.ts";

const V = 61;

/** Rows of many lengths, of which a part is a prompt. */
const examples = Array.from({ length: 37 }, (_, i) => {
  const ids = Uint32Array.from({ length: 2 + (7 * i) % 38 }, (_, t) => (i + 3 * t * t + 5 * t) % V);
  const labels = Int32Array.from(ids, (id, t) => t < 1 + i % 2 * Math.floor(ids.length / 2) ? IGNORE : id);
  return { ids, labels };
});

for (const [name, config, kind] of [["llama", LLAMA, "software"], ["gpt2", GPT2, "gpu"]] as const) {
  gpuTest(
    `scores of rows: ${name}, ${kind} class, with an adapter on the output too`,
    (device) =>
      withFolder(async (folder) => {
        await writeModel(`${folder}/m`, { ...config, tie_word_embeddings: false });
        const model = await loadModel(device, `${folder}/m`);
        const targetModules = name === "llama" ? ["q_proj", "lm_head"] : ["c_attn"];
        await model.addAdapter(lora({ rank: 2, alpha: 4, targetModules }), { seed: 3 });
        // Batches of five are eight in all; of one they are three windows. Chunks of 16 rows are 3,904 bytes.
        const rows = await scoreRows(model, { examples }, { batchSize: 5, chunkBytes: 5000 });
        const one = await scoreRows(model, { examples }, { batchSize: 1 });
        let worst = 0;
        for (const [i, { ids, labels }] of examples.entries()) {
          const { logits: { data } } = await model.forward({ input_ids: [[...ids]] });
          const expected = { loss: 0, tokens: 0, correct: 0 };
          for (let t = 1; t < ids.length; t++) {
            if (labels[t] === IGNORE) continue;
            const row = [...data.subarray((t - 1) * V, t * V)], high = Math.max(...row);
            expected.loss += high + Math.log(row.reduce((sum, x) => sum + Math.exp(x - high), 0)) - row[labels[t]!]!;
            expected.tokens++;
            if (row.indexOf(high) === labels[t]) expected.correct++;
          }
          for (const found of [rows[i]!, one[i]!]) {
            assertEquals([found.tokens, found.correct], [expected.tokens, expected.correct], `row ${i}`);
            worst = Math.max(worst, Math.abs(found.loss - expected.loss) / Math.max(1, expected.loss));
          }
        }
        console.log(`scores: losses of rows differ by ${worst.toExponential(1)} of their size at most`);
        assert(worst < 5e-7); // sums of up to 39 losses of logits up to 10, in f32 by tiles of other shapes
        const { loss, tokens } = await evaluate(model, { examples });
        const sum = (key: "loss" | "tokens") => rows.reduce((n, row) => n + row[key], 0);
        assertEquals(tokens, sum("tokens"));
        assert(Math.abs(sum("loss") / sum("tokens") - loss) < 1e-5);
        await assertRejects(() => scoreRows(model, { examples: [] }), UsageError, "without examples");
        model.destroy();
      }),
    { kind },
  );
}
