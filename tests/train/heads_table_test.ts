// Every family with every head that it has: it loads, learns a batch through LoRA and its head, and merges.
import { assert } from "@std/assert";
import { type Batch, loadModel, lora, type TaskChoice } from "../../mod.ts";
import { gpuTest } from "../device.ts";
import {
  BERT,
  DISTILBERT,
  GPT2,
  LLAMA,
  randomWeights,
  ROBERTA,
  worstDifference,
  writeModel,
} from "../models/folder.ts";
import { withFolder } from "../temp_folder.ts";
import { records } from "./harness.ts";

const ids = (length: number, start: number) => Array.from({ length }, (_, t) => 2 + (start * (t + 3) + t * t) % 59);
const input_ids = [ids(8, 7), ids(8, 5), ids(8, 11)];
const each = (label: (b: number, t: number) => number) => input_ids.map((row, b) => row.map((_, t) => label(b, t)));

const targets: Readonly<Record<string, Omit<Batch, "input_ids">>> = {
  seqcls: { labels: [0, 2, 1] },
  regression: { labels: [0.5, -1, 2] },
  tokcls: { labels: each((b, t) => (b + t) % 3) },
  qa: { start_positions: [1, 3, 0], end_positions: [2, 3, 6] },
  mlm: { labels: each((b, t) => t % 3 === 0 ? 5 + b : -100) },
};

const encoder: readonly TaskChoice[] = ["seqcls", "tokcls", "qa", "mlm"];
const families = {
  bert: [BERT, encoder],
  roberta: [ROBERTA, encoder],
  distilbert: [DISTILBERT, encoder],
  gpt2: [GPT2, ["seqcls", "tokcls", "qa"]],
  llama: [LLAMA, ["seqcls", "regression", "tokcls"]],
  mistral: [{ ...LLAMA, model_type: "mistral", sliding_window: 4 }, ["seqcls", "tokcls"]],
} as const satisfies Record<string, readonly [object, readonly TaskChoice[]]>;

for (const [family, [base, tasks]] of Object.entries(families)) {
  gpuTest(`${family}: ${tasks.join(", ")}`, async (device) => {
    for (const task of tasks) {
      await withFolder(async (folder) => {
        await writeModel(`${folder}/m`, base, randomWeights(base));
        const count = task === "seqcls" || task === "tokcls" ? { labels: 3 } : {};
        const model = await loadModel(device, `${folder}/m`, { task, ...count });
        await model.addAdapter(lora({ rank: 2, alpha: 4 }));
        const batch = { input_ids, ...targets[task] };
        const steps = await records(model, { data: Array(8).fill(batch), learningRate: 2e-2 });
        const adapted = (await model.forward(batch)).logits.data;
        await model.merge();
        const merged = worstDifference((await model.forward(batch)).logits.data, adapted);
        model.destroy();
        const [first, last] = [steps[0]!.loss, steps.at(-1)!.loss];
        console.log(
          `${task.padEnd(10)} loss ${first.toFixed(3)} to ${last.toFixed(3)}, merged ${merged.toExponential(1)}`,
        );
        assert(last < 0.92 * first && merged < 1e-4); // logits up to ten in f32
      });
    }
  });
}
