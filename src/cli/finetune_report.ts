// What `finetune` tells: the plan, the state before, and what training changed.
import { describeAdapter } from "../adapters/describe.ts";
import { printable } from "../core/errors.ts";
import { describe } from "../data/dataset.ts";
import type { GraftDevice } from "../gpu/device.ts";
import { printableText } from "./command.ts";
import type { MemoryEstimate } from "./estimate.ts";
import type { Plan } from "./finetune_plan.ts";
import { bytes, clock, digits, percent, plural } from "./format.ts";
import { exampleText, figureTable, figureText } from "./figure_table.ts";
import type { Measured } from "./measure.ts";
import { markedText } from "./sample_text.ts";
import type { Terminal } from "./terminal.ts";

/** Say what will be done. */
export function showPlan(terminal: Terminal, plan: Plan, memory: MemoryEstimate): void {
  const { model, data, padding, output, warnings, tokenizer } = plan;
  const { style } = terminal;
  const line = (name: string, text: string) => terminal.say(`${style.bold(name.padEnd(9))}${text}`);
  line("Model", `${printable(model)}, ${digits(memory.baseParameters)} parameters`);
  line("Data", `${printableText(describe(data.report))}; batches are ${percent(padding)} padding`);
  const example = data.examples[0]!;
  if (plan.task === "causal-lm") {
    const what = example.labels.includes(-100) ? "a row; what is trained stands out:" : "a row; all of it is trained:";
    line("Sample", `${what}\n  ${markedText(example, tokenizer, style).replaceAll("\n", "\n  ")}`);
  } else line("Sample", `${plan.task}: ${printableText(exampleText(data, tokenizer))}`);
  line("Method", `${methodLine(plan, memory)}; learning rate ${plan.settings.learningRate}`);
  const { weights, trained, temporaries, total } = memory;
  const kept = plan.settings.quantize === "none" ? "" : ` in ${plan.settings.quantize}`;
  const parts = `weights ${bytes(weights)}${kept}, trained ${bytes(trained)}, step ${bytes(temporaries)}`;
  line("Memory", `about ${bytes(total)} on the device: ${parts}`);
  line("Output", printable(output));
  warnings.forEach((text) => terminal.note(`warning: ${printableText(text)}`));
}

function methodLine({ adapter, targets, sites }: Plan, { trainedParameters, parameters }: MemoryEstimate): string {
  const share = `${digits(trainedParameters)} of ${digits(parameters)} parameters are trained (${
    percent(trainedParameters / parameters)
  })`;
  if (!adapter) return `all weights; ${share}`;
  if (targets.length === 0) return `${describeAdapter(adapter)}; ${share}`;
  const names = [...new Set(targets.map(({ path }) => path.split(".").at(-1)!))].join(", ");
  return `${describeAdapter(adapter)}; adapted ${targets.length} of ${sites} linear maps: ${names}; ${share}`;
}

/** Say where it runs and what the model does before training. */
export function showBefore(
  terminal: Terminal,
  { device, before }: { readonly device: GraftDevice; readonly before: Measured },
): void {
  const kind = device.software ? "a software driver" : "a GPU";
  terminal.say(`${terminal.style.bold("Device".padEnd(9))}${printable(device.name)}, ${kind}`);
  for (const { name, loss, perplexity, tokens: rows, figures } of before.domains) {
    const shown = figures
      ? `${figureText(figures)} on ${plural(rows, "label")}`
      : `perplexity ${perplexity.toFixed(1)} on ${plural(rows, "token")}`;
    terminal.say(`${terminal.style.bold("Before".padEnd(9))}${name} domain: loss ${loss.toFixed(3)}, ${shown}`);
  }
}

/** What {@linkcode showAfter} compares. */
export interface Comparison {
  readonly plan: Plan;
  readonly before: Measured;
  readonly after: Measured;
  readonly steps: number;
  readonly seconds: number;
  /** Most bytes that the device held at once. */
  readonly peak: number;
}

/** Say what training changed, and what to type next. */
export function showAfter(terminal: Terminal, { plan, before, after, steps, seconds, peak }: Comparison): void {
  const { style } = terminal;
  const memory = `${bytes(peak)} on the device at most`;
  terminal.say(
    `\nTrained ${plural(steps, "step")} in ${clock(seconds)}, evaluation and samples included; ${memory}.\n`,
  );
  if (after.domains.length > 0) terminal.say(figureTable(before, after));
  after.samples.forEach(({ prompt, text }, i) => {
    const opening = `${style.bold(printableText(prompt))}${plan.task === "seq2seq-lm" ? " → " : ""}`;
    terminal.say(`\nbefore: ${opening}${printableText(before.samples[i]!.text)}`);
    terminal.say(`after:  ${opening}${printableText(text)}`);
  });
  terminal.say(`\nSaved in ${printable(plan.output)}. Next:`);
  for (const line of nextCommands(plan)) terminal.say(`  ${line}`);
}

/** What to type next. */
function nextCommands({ model, output, adapter, prompts, merges, task, settings: { evalData, data } }: Plan): string[] {
  const folder = quote(output), base = quote(model), prompt = quote(prompts[0] ?? "Once upon a time");
  const merge = merges ? [`deno task merge --model ${base} --adapter ${folder} --output ${folder}-merged`] : [];
  const rows = quote(evalData ?? data!);
  if (task !== "causal-lm" && task !== "seq2seq-lm") {
    return adapter
      ? [`deno task evaluate --model ${base} --adapter ${folder} --data ${rows}`, ...merge]
      : [`deno task evaluate --model ${folder}/model --data ${rows}`];
  }
  return adapter
    ? [`deno task generate --model ${base} --adapter ${folder} --compare --prompt ${prompt}`, ...merge]
    : [`deno task generate --model ${folder}/model --prompt ${prompt}`];
}

/** A word as a shell takes it. */
function quote(word: string): string {
  return /^[\w./@:=-]+$/.test(word) ? word : `'${printable(word).replaceAll("'", "'\\''")}'`;
}
