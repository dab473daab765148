// `combine`: one LoRA adapter from several, saved as PEFT saves it.
import { requireEmpty } from "../io/atomic_write.ts";
import { printable } from "../core/errors.ts";
import { adapterTask } from "../train/adapter_task.ts";
import { checkCombination, combineFields, loadCombination } from "./combine_settings.ts";
import { defineCommand, type Entry } from "./command.ts";
import { plural } from "./format.ts";
import { checkModelPaths, modelFields, withModel } from "./open_model.ts";
import { requireWritable } from "./paths.ts";
import { path, required } from "./settings.ts";

const schema = {
  model: modelFields.model,
  ...combineFields,
  output: required(path("where the adapter goes, a new or empty folder", { placeholder: "DIR" })),
  requireGpu: modelFields.requireGpu,
};

/** The command. */
export const combine: Entry = defineCommand({
  name: "combine",
  summary: "Makes one LoRA adapter from several: their weighted sum, or by SVD, TIES or DARE.",
  schema,
  examples: [
    "deno task combine --adapter runs/poems --adapter runs/letters --weights 0.7,0.3 --output both",
    "deno task combine --adapter a --adapter b --combination ties --density 0.5 --output both",
  ],
  async run(settings, { terminal }) {
    const { output } = settings;
    const folder = await checkModelPaths({ model: settings.model, adapter: undefined });
    await checkCombination(settings);
    await requireEmpty(output);
    requireWritable(output);
    const choice = await adapterTask(settings.adapter[0]!);
    return await withModel(
      { ...settings, adapter: undefined, choice, folder, terminal },
      async (model) => {
        const warn = (text: string) => terminal.note(`warning: ${text}`);
        const [name] = await loadCombination(model, settings, { warn, always: true });
        await model.saveAdapter(output, { name: name! });
        const { trained } = model.parameters;
        terminal.say(
          `Combined ${plural(settings.adapter.length, "adapter")} into ${printable(output)}: ` +
            `${trained.toLocaleString("en-US")} numbers.`,
        );
        terminal.result({ output, combination: settings.combination ?? "cat", parameters: trained });
        return 0;
      },
    );
  },
});
