// `merge`: adapters folded into their base, saved as a Hugging Face folder, and compared with the adapted model.
import { requireEmpty } from "../io/atomic_write.ts";
import type { Batch } from "../data/batch.ts";
import { adapterTask } from "../train/adapter_task.ts";
import { loadModel } from "../train/load.ts";
import { randomKey } from "../core/random.ts";
import { checkModelPaths, modelFields, withModel } from "./open_model.ts";
import { defineCommand, type Entry } from "./command.ts";
import { printable } from "../core/errors.ts";
import { plural } from "./format.ts";
import { requireWritable } from "./paths.ts";
import { checkCombination, combineFields, loadCombination } from "./combine_settings.ts";
import { choice, path, required } from "./settings.ts";

const schema = {
  model: modelFields.model,
  ...combineFields,
  output: required(path("where the model goes, a new or empty folder", { placeholder: "DIR" })),
  dtype: choice("element type of the weights", ["f32", "f16", "bf16"], { default: "f32" }),
  requireGpu: modelFields.requireGpu,
};

/** The command. */
export const merge: Entry = defineCommand({
  name: "merge",
  summary: "Folds adapters into their base and saves a Hugging Face folder.",
  schema,
  examples: [
    "deno task merge --adapter runs/2026-01-01-sotu --output merged",
    "deno task merge --model models/smollm2 --adapter out --output merged --dtype bf16",
    "deno task merge --adapter a --adapter b --weights 0.7,0.3 --combination linear --output merged",
  ],
  async run(settings, { terminal }) {
    const { output, dtype } = settings;
    const folder = await checkModelPaths({ model: settings.model, adapter: undefined });
    await checkCombination(settings);
    await requireEmpty(output);
    requireWritable(output);
    const task = await adapterTask(settings.adapter[0]!);
    return await withModel(
      { ...settings, adapter: undefined, choice: task, folder, terminal },
      async (model, device) => {
        const warn = (text: string) => terminal.note(`warning: ${text}`);
        const adapters = await loadCombination(model, settings, { warn, always: false });
        const { V, positions } = model.state.architecture;
        const batch = probeBatch({ V, T: Math.min(32, positions) });
        // Several adapters act together only once they are merged.
        if (adapters.length > 1) await model.merge(adapters);
        const adapted = (await model.forward(batch)).logits.data;
        const maps = new Set(adapters.flatMap((name) => model.state.adapters.get(name)!.targets)).size;
        await model.saveMerged(output, { dtype });
        // What was written is what is compared: the folder is loaded again.
        const saved = await loadModel(device, output);
        const merged = (await saved.forward(batch)).logits.data;
        let difference = 0, largest = 0;
        for (let i = 0; i < adapted.length; i++) {
          difference = Math.max(difference, Math.abs(adapted[i]! - merged[i]!));
          largest = Math.max(largest, Math.abs(adapted[i]!));
        }
        terminal.say(`Merged ${plural(maps, "linear map")} into ${printable(output)} (${dtype}).`);
        terminal.say(
          `Logits of the saved model and of the adapted one differ by at most ${difference.toExponential(1)} ` +
            `(the largest is ${largest.toFixed(2)}).`,
        );
        terminal.result({ output, dtype, maps, largestDifference: difference, largestLogit: largest });
        return 0;
      },
    );
  },
});

/** Two rows of tokens that are spread over the vocabulary, the same every time. */
function probeBatch({ V, T }: { readonly V: number; readonly T: number }): Batch {
  const row = (b: number) => Array.from({ length: T }, (_, t) => randomKey(b, `probe ${t}`)[0] % V);
  return { input_ids: [row(0), row(1)] };
}
