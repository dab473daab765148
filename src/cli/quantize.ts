// `quantize`: a model folder with its linear maps in 8 or 4 bits, for every command that takes --model.
import { printable } from "../core/errors.ts";
import { quantizeFolder } from "../train/quantize.ts";
import { defineCommand, type Entry } from "./command.ts";
import { bytes, plural } from "./format.ts";
import { checkModelPaths, modelFields } from "./open_model.ts";
import { requireWritable } from "./paths.ts";
import { choice, path, required } from "./settings.ts";

const schema = {
  model: modelFields.model,
  output: required(path("where the model goes, a new or empty folder", { placeholder: "DIR" })),
  format: choice("blocks of 64 in 8 bits, or in 4 as bitsandbytes stores them", ["int8", "nf4"], { default: "nf4" }),
};

/** The command. */
export const quantize: Entry = defineCommand({
  name: "quantize",
  summary: "Saves a model with its linear maps in 8 or 4 bits.",
  schema,
  examples: ["deno task quantize --model models/smollm2 --output models/smollm2-nf4"],
  async run({ model, output, format }, { terminal }) {
    const folder = await checkModelPaths({ model, adapter: undefined });
    requireWritable(output);
    const { maps, before, after } = await quantizeFolder(folder, output, { format });
    terminal.say(
      `Quantized ${plural(maps, "linear map")} into ${printable(output)} (${format}): ${bytes(before)} became ${
        bytes(after)
      }.`,
    );
    terminal.result({ output, format, maps, before, after });
    return 0;
  },
});
