// `evaluate`: the figures of a task on a file, the base and the adapted model side by side, each with an interval.
import { TASK_CHOICES } from "../core/task_name.ts";
import { compareMeasurements, type Comparison, type Estimate } from "../metrics/compare.ts";
import type { ConfusionMatrix } from "../metrics/classification.ts";
import { adapterTask } from "../train/adapter_task.ts";
import { refuse } from "./arguments.ts";
import { defineCommand, type Entry, printableText } from "./command.ts";
import { MAX_LENGTH } from "./defaults.ts";
import { type Found, prepareEvaluation } from "./evaluation.ts";
import { digits, table } from "./format.ts";
import { checkModelPaths, modelFields, quantizeFields, withModel } from "./open_model.ts";
import { bundled } from "./paths.ts";
import { choice, count, flag, list, path, text } from "./settings.ts";

const schema = {
  ...modelFields,
  ...quantizeFields,
  data: path("rows: a file, or a folder with valid.jsonl (the bundled set)"),
  split: choice("which file of a folder", ["train", "valid", "test"], { default: "valid" }),
  task: choice("what the model does (what it, or its adapter, was made for)", TASK_CHOICES),
  metrics: list("figures to report (all of the task)"),
  sourcePrefix: text('put before every source of an encoder-decoder, such as "summarize: "'),
  generate: flag('write behind the prompts of rows {"prompt", "completion"} and compare with the completions'),
  maxNewTokens: count("tokens to write with --generate", { default: 128, min: 1 }),
  numBeams: count("beams of --generate", { default: 1, min: 1, max: 64 }),
  draws: count("draws of the bootstrap behind the intervals", { default: 1000, min: 100, max: 100_000 }),
  limit: count("rows to evaluate (all)", { min: 1 }),
  batchSize: count("rows of a batch", { default: 8, min: 1 }),
  maxLength: count(`tokens of the longest row; longer ones are cut (${MAX_LENGTH})`, { min: 2 }),
  packing: flag("join rows and cut them into windows of the longest length"),
};

/** The command. */
export const evaluate: Entry = defineCommand({
  name: "evaluate",
  summary: "Measures what a model can do on rows, with and without an adapter.",
  schema,
  examples: [
    "deno task evaluate --adapter runs/2026-01-01-sotu",
    "deno task evaluate --model models/smollm2 --adapter out --data data --split test --limit 200",
    "deno task evaluate --model models/t5 --adapter out --data news.jsonl --generate --metrics rouge1,rougeL",
    "deno task evaluate --model models/bert --adapter out --data sst2 --metrics accuracy,macro_f1 --json",
  ],
  async run(settings, { terminal }) {
    const { data = bundled()?.data, adapter, metrics, draws } = settings;
    refuse("usage/path", data === undefined ? ["--data must be given: the bundled set comes with the repository"] : []);
    const folder = await checkModelPaths(settings, { "--data": data });
    const choice = { ...adapter === undefined ? {} : await adapterTask(adapter), ...taskOf(settings) };
    return await withModel({ ...settings, folder, choice, terminal }, async (model) => {
      const { about, rows, measure } = await prepareEvaluation(model, { ...settings, data: data! });
      terminal.say(printableText(about));
      const name = model.activeAdapter;
      if (name !== undefined) model.disableAdapter();
      const base = await measure(model);
      if (name !== undefined) model.setAdapter(name);
      const adapted = name === undefined ? undefined : await measure(model);
      const all: Record<string, Comparison> = Object.assign(
        {},
        ...base.measurements.map((one, i) => compareMeasurements(one, adapted?.measurements[i], { draws })),
      );
      const missing = metrics.filter((name) => !all[name]);
      refuse("usage/metrics", missing.map((name) => `--metrics: "${name}" is not measured with these labels`));
      const kept = metrics.length === 0 ? all : Object.fromEntries(metrics.map((name) => [name, all[name]!]));
      terminal.say(comparisonTable(kept));
      if (base.tokens !== undefined) terminal.say(`${digits(base.tokens)} tokens were predicted.`);
      terminal.say(`Brackets: 95 % of ${digits(draws)} draws of ${digits(base.measurements[0]!.items)} rows.`);
      for (const [title, found] of [["base", base], ["adapted", adapted]] as const) {
        if (found?.confusion) {
          terminal.say(`\n${title}: rows of a label, by what was predicted\n${grid(found.confusion)}`);
        }
      }
      terminal.result({
        ...{ data, rows },
        ...(adapter === undefined ? {} : { adapter }),
        ...{ base: figures(base, kept, "base"), ...adapted ? { adapted: figures(adapted, kept, "adapted") } : {} },
        metrics: kept,
        ...base.confusion ? { confusion: { base: base.confusion, adapted: adapted?.confusion } } : {},
      });
      return 0;
    });
  },
});

function taskOf({ task }: { readonly task: typeof TASK_CHOICES[number] | undefined }): { task?: typeof task } {
  return task === undefined ? {} : { task };
}

/** The figures of one model as plain numbers. */
function figures(
  { tokens }: Found,
  metrics: Readonly<Record<string, Comparison>>,
  side: "base" | "adapted",
): Record<string, number> {
  return {
    ...Object.fromEntries(Object.entries(metrics).map(([name, found]) => [name, found[side]!.value])),
    ...tokens === undefined ? {} : { tokens },
  };
}

/** A line for each metric: value and interval of the base, of the adapted model, and of what it gained. */
function comparisonTable(metrics: Readonly<Record<string, Comparison>>): string {
  const cell = ({ value, low, high }: Estimate, sign = false) =>
    `${sign && value > 0 ? "+" : ""}${number(value)} [${number(low)}, ${number(high)}]`;
  const two = Object.values(metrics).some(({ adapted }) => adapted);
  return table([
    ["metric", "base", ...two ? ["adapted", "difference"] : []],
    ...Object.entries(metrics).map(([name, { base, adapted, difference }]) => [
      name,
      cell(base),
      ...adapted && difference ? [cell(adapted), cell(difference, true)] : [],
    ]),
  ]);
}

/** Four decimals, two of large numbers. */
function number(x: number): string {
  return x.toFixed(Math.abs(x) >= 100 ? 2 : 4);
}

/** A confusion matrix with a row for each label. */
function grid({ labels, counts }: ConfusionMatrix): string {
  const name = (label: string | number) => printableText(String(label));
  return table([["", ...labels.map(name)], ...counts.map((row, i) => [name(labels[i]!), ...row.map(digits)])]);
}
