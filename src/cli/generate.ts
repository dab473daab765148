// `generate`: text as it is written, with an adapter, without, or both.
import { readText } from "../io/files.ts";
import type { GenerateOptions } from "../train/generate_options.ts";
import type { Model } from "../train/model.ts";
import { refuse } from "./arguments.ts";
import { defineCommand, type Entry, printableText } from "./command.ts";
import { checkModelPaths, modelFields, quantizeFields, withModel } from "./open_model.ts";
import { count, flag, list, path, real, type Settings, text } from "./settings.ts";
import type { Terminal } from "./terminal.ts";

const schema = {
  ...modelFields,
  ...quantizeFields,
  prompt: text("text to continue"),
  prompts: path("file with a text to continue on every line", { placeholder: "FILE" }),
  maxNewTokens: count("tokens to write", { default: 128, min: 1 }),
  temperature: real("0 takes the likeliest token, 1 draws as the model predicts", { default: 0, min: 0, max: 100 }),
  topK: count("draw among the likeliest only, 0 for all", { default: 0, min: 0 }),
  topP: real("draw among the likeliest that have this probability together", { default: 1, above: 0, max: 1 }),
  repetitionPenalty: real("above 1, tokens that were used become less likely", { default: 1, above: 0, max: 100 }),
  stop: list("texts at which to stop"),
  seed: count("seed of the draws", { default: 42, min: 0, max: 2 ** 32 - 1 }),
  compare: flag("write every text twice: without the adapter and with it"),
};

/** The command. */
export const generate: Entry = defineCommand({
  name: "generate",
  summary: "Continues texts, with or without an adapter.",
  schema,
  examples: [
    'deno task generate --prompt "Tonight, I ask the Congress to"',
    'deno task generate --model models/smollm2 --adapter out --compare --prompt "Once upon a time"',
    "deno task generate --model models/smollm2 --prompts openings.txt --temperature 0.8 --top-p 0.9 --json",
  ],
  async run(settings, { terminal, signal }) {
    refuse("usage/arguments", choiceProblems(settings));
    const folder = await checkModelPaths(settings, { "--prompts": settings.prompts });
    const prompts = await readPrompts(settings);
    return await withModel({ ...settings, folder, terminal }, async (model) => {
      const texts = [];
      for (const prompt of prompts) {
        if (signal.aborted) return 130;
        texts.push({ prompt, ...await continuations(model, prompt, settings, terminal) });
      }
      terminal.result({ texts });
      return 0;
    });
  },
});

function choiceProblems({ prompt, prompts, compare, adapter }: Settings<typeof schema>): string[] {
  return [
    ...(prompt === undefined && prompts === undefined ? ["--prompt or --prompts must be given"] : []),
    ...(prompt !== undefined && prompts !== undefined ? ["--prompt and --prompts exclude each other"] : []),
    ...(compare && adapter === undefined ? ["--compare needs --adapter"] : []),
  ];
}

async function readPrompts({ prompt, prompts }: Settings<typeof schema>): Promise<string[]> {
  if (prompts === undefined) return [prompt!];
  const lines = (await readText(prompts)).split(/\r?\n/).filter((line) => line.trim() !== "");
  refuse("usage/prompt", lines.length === 0 ? ["the file of --prompts has no text"] : []);
  return lines;
}

async function continuations(
  model: Model,
  prompt: string,
  settings: Settings<typeof schema>,
  terminal: Terminal,
): Promise<{ readonly text: string; readonly base?: string }> {
  const { maxNewTokens, temperature, topK, topP, repetitionPenalty, stop, seed, compare } = settings;
  const options = { maxNewTokens, temperature, topK, topP, repetitionPenalty, stop, seed };
  if (!compare) return { text: await stream(model, prompt, { options, terminal }) };
  const name = model.activeAdapter!;
  model.disableAdapter();
  const base = await stream(model, prompt, { options, terminal, label: "without: " });
  model.setAdapter(name);
  return { base, text: await stream(model, prompt, { options, terminal, label: "with:    " }) };
}

async function stream(
  model: Model,
  prompt: string,
  { options, terminal, label = "" }: {
    readonly options: GenerateOptions;
    readonly terminal: Terminal;
    readonly label?: string;
  },
): Promise<string> {
  terminal.piece(`${terminal.style.dim(label)}${terminal.style.bold(printableText(prompt))}`);
  let text = "";
  for await (const piece of model.generate(prompt, options)) {
    text += piece;
    terminal.piece(printableText(piece));
  }
  terminal.piece("\n");
  return text;
}
