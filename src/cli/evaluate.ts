// `evaluate`: loss and perplexity on a file, the base and the adapted model side by side.
import { describe, loadDataset } from "../data/dataset.ts";
import { evaluate as evaluateModel } from "../train/evaluate.ts";
import { defineCommand, type Entry, printableText } from "./command.ts";
import { MAX_LENGTH } from "./defaults.ts";
import { digits, table } from "./format.ts";
import { checkModelPaths, modelFields, quantizeFields, withModel } from "./open_model.ts";
import { bundled } from "./paths.ts";
import { refuse } from "./arguments.ts";
import { choice, count, flag, path } from "./settings.ts";

const schema = {
  ...modelFields,
  ...quantizeFields,
  data: path("rows: a file, or a folder with valid.jsonl (the bundled set)"),
  split: choice("which file of a folder", ["train", "valid", "test"], { default: "valid" }),
  task: choice("what the model does", ["causal-lm"], { default: "causal-lm" }),
  limit: count("rows to evaluate (all)", { min: 1 }),
  batchSize: count("rows of a batch", { default: 8, min: 1 }),
  maxLength: count(`tokens of the longest row; longer ones are cut (${MAX_LENGTH})`, { min: 2 }),
  packing: flag("join rows and cut them into windows of the longest length"),
};

/** The command. */
export const evaluate: Entry = defineCommand({
  name: "evaluate",
  summary: "Measures loss and perplexity on rows, with and without an adapter.",
  schema,
  examples: [
    "deno task evaluate --adapter runs/2026-01-01-sotu",
    "deno task evaluate --model models/smollm2 --adapter out --data data --split test --limit 200",
  ],
  async run(settings, { terminal }) {
    const { data = bundled()?.data, split, limit, packing, batchSize, adapter } = settings;
    refuse("usage/path", data === undefined ? ["--data must be given: the bundled set comes with the repository"] : []);
    const folder = await checkModelPaths(settings, { "--data": data });
    return await withModel({ ...settings, folder, terminal }, async (model) => {
      const { positions, V } = model.state.architecture;
      const rows = await loadDataset(data!, {
        tokenizer: model.tokenizer,
        maxLength: settings.maxLength ?? Math.min(MAX_LENGTH, positions),
        positions,
        vocabSize: V,
        split,
        packing,
        ...(limit === undefined ? {} : { limit }),
      });
      terminal.say(printableText(describe(rows.report)));
      const results: Record<string, Awaited<ReturnType<typeof evaluateModel>>> = {};
      const name = model.activeAdapter;
      if (name !== undefined) model.disableAdapter();
      results.base = await evaluateModel(model, rows, { batchSize });
      if (name !== undefined) {
        model.setAdapter(name);
        results.adapted = await evaluateModel(model, rows, { batchSize });
      }
      terminal.say(table([
        ["model", "loss", "perplexity", "tokens"],
        ...Object.entries(results).map((
          [name, { loss, perplexity, tokens }],
        ) => [name, loss.toFixed(4), perplexity.toFixed(2), digits(tokens)]),
      ]));
      terminal.result({ data, rows: rows.report.rows, ...(adapter === undefined ? {} : { adapter }), ...results });
      return 0;
    });
  },
});
