// `generate`: text as it is written, with an adapter, without, or both.
import { writeFile } from "../io/atomic_write.ts";
import { statOrUndefined } from "../io/files.ts";
import { generateTexts } from "../train/generate.ts";
import { checkOptions, type GenerateOptions } from "../train/generate_options.ts";
import type { Model } from "../train/model.ts";
import { refuse } from "./arguments.ts";
import { defineCommand, type Entry, printableText } from "./command.ts";
import { digits, plural } from "./format.ts";
import { checkModelPaths, modelFields, quantizeFields, withModel } from "./open_model.ts";
import { requireWritable } from "./paths.ts";
import { readPrompts } from "./prompts.ts";
import { choice, count, flag, list, path, real, type Settings, text } from "./settings.ts";
import type { Terminal } from "./terminal.ts";

const schema = {
  ...modelFields,
  ...quantizeFields,
  prompt: text("text to continue"),
  prompts: path('file with a text to continue on every line, or with rows {"prompt"} (.jsonl)', {
    placeholder: "FILE",
  }),
  output: path("file for the texts of --prompts, a row of JSON each", { placeholder: "FILE" }),
  batchSize: count("prompts that are continued at once", { default: 8, min: 1, max: 1024 }),
  maxNewTokens: count("tokens to write", { default: 128, min: 1 }),
  minNewTokens: count("tokens to write before the text may end", { default: 0, min: 0 }),
  temperature: real("0 takes the likeliest token, 1 draws as the model predicts", { default: 0, min: 0, max: 100 }),
  topK: count("draw among the likeliest only, 0 for all", { default: 0, min: 0 }),
  topP: real("draw among the likeliest that have this probability together", { default: 1, above: 0, max: 1 }),
  repetitionPenalty: real("above 1, tokens that were used become less likely", { default: 1, above: 0, max: 100 }),
  numBeams: count("texts that are followed at once to find the likeliest", { default: 1, min: 1, max: 64 }),
  lengthPenalty: real("scores of beams are divided by their length to this power", { default: 1 }),
  earlyStopping: choice("when beams are done: as many have ended, no better one is likely, or none possible", [
    "true",
    "false",
    "never",
  ], { default: "false" }),
  numReturnSequences: count("texts for each prompt", { default: 1, min: 1, max: 1024 }),
  stop: list("texts at which to stop"),
  seed: count("seed of the draws", { default: 42, min: 0, max: 2 ** 32 - 1 }),
  compare: flag("write every text twice: without the adapter and with it"),
  verbose: flag("say how many tokens were written in a second"),
};

type Given = Settings<typeof schema>;

/** A prompt and what was written behind it. */
interface Written {
  readonly prompt: string;
  readonly text: string;
  /** Without the adapter. */
  readonly base?: string;
}

/** The command. */
export const generate: Entry = defineCommand({
  name: "generate",
  summary: "Continues texts, with or without an adapter.",
  schema,
  examples: [
    'deno task generate --prompt "Tonight, I ask the Congress to"',
    'deno task generate --model models/smollm2 --adapter out --compare --prompt "Once upon a time"',
    "deno task generate --model models/smollm2 --prompts openings.txt --temperature 0.8 --top-p 0.9 --json",
    "deno task generate --adapter out --prompts questions.jsonl --num-beams 4 --output answers.jsonl",
  ],
  async run(settings, { terminal, signal }) {
    refuse("usage/arguments", problems(settings));
    checkOptions(optionsOf(settings));
    await checkOutput(settings.output);
    const folder = await checkModelPaths(settings, { "--prompts": settings.prompts });
    const prompts = settings.prompts === undefined ? [settings.prompt!] : await readPrompts(settings.prompts);
    return await withModel({ ...settings, folder, terminal }, async (model) => {
      const texts: Written[] = [];
      let tokens = 0;
      const start = performance.now();
      const options = { ...optionsOf(settings), onTokens: (count: number) => tokens += count };
      const size = settings.prompts === undefined || (isPlain(settings) && !settings.output) ? 1 : settings.batchSize;
      for (let at = 0; at < prompts.length; at += size) {
        if (signal.aborted) return 130;
        const firstSequence = at * settings.numReturnSequences;
        const batch = { model, prompts: prompts.slice(at, at + size), options: { ...options, firstSequence } };
        texts.push(...await continued(batch, settings, terminal));
        if (settings.output) terminal.redraw(`${texts.length / settings.numReturnSequences} of ${prompts.length}`);
      }
      const seconds = (performance.now() - start) / 1000;
      if (settings.output) {
        await writeFile(settings.output, texts.map((row) => `${JSON.stringify(row)}\n`).join(""));
        terminal.say(`${plural(texts.length, "text")} in ${settings.output}`);
      }
      if (settings.verbose) {
        terminal.note(
          `${plural(tokens, "token")}, ${digits(Math.round(tokens / seconds))} a second with all preparation`,
        );
      }
      terminal.result({ texts, tokens, seconds, tokens_per_second: tokens / seconds });
      return 0;
    });
  },
});

function problems({ prompt, prompts, output, compare, adapter }: Given): string[] {
  return [
    ...(prompt === undefined && prompts === undefined ? ["--prompt or --prompts must be given"] : []),
    ...(prompt !== undefined && prompts !== undefined ? ["--prompt and --prompts exclude each other"] : []),
    ...(output !== undefined && prompts === undefined ? ["--output needs --prompts"] : []),
    ...(compare && adapter === undefined ? ["--compare needs --adapter"] : []),
  ];
}

async function checkOutput(output: string | undefined): Promise<void> {
  if (output === undefined) return;
  if ((await statOrUndefined(output))?.isDirectory) refuse("usage/path", ["--output must be a file: it is a folder"]);
  requireWritable(output);
}

function optionsOf(settings: Given): GenerateOptions {
  const { maxNewTokens, minNewTokens, temperature, topK, topP, repetitionPenalty, stop, seed } = settings;
  const { numBeams, lengthPenalty, earlyStopping, numReturnSequences } = settings;
  return {
    ...{ maxNewTokens, minNewTokens, temperature, topK, topP, repetitionPenalty, stop, seed },
    ...{ numBeams, lengthPenalty, numReturnSequences },
    earlyStopping: earlyStopping === "never" ? earlyStopping : earlyStopping === "true",
  };
}

/** Whether a text can be shown while it is written. */
function isPlain({ numBeams, numReturnSequences }: Given): boolean {
  return numBeams === 1 && numReturnSequences === 1;
}

interface Batch {
  readonly model: Model;
  readonly prompts: readonly string[];
  readonly options: GenerateOptions;
}

/** What follows the prompts, with the adapter in use and, to compare, without. */
async function continued(batch: Batch, settings: Given, terminal: Terminal): Promise<Written[]> {
  const { model, prompts } = batch;
  const write = async (label: string): Promise<string[]> => {
    const shown = { settings, terminal, label };
    return isPlain(settings) && !settings.output
      ? [await stream(batch, shown)]
      : show(await generateTexts(model, prompts, batch.options), batch, shown);
  };
  let base: string[] = [];
  if (settings.compare) {
    const name = model.activeAdapter!;
    model.disableAdapter();
    base = await write("without: ");
    model.setAdapter(name);
  }
  const texts = await write(settings.compare ? "with:    " : "");
  return texts.map((text, i) => ({
    prompt: prompts[Math.floor(i / settings.numReturnSequences)]!,
    ...settings.compare ? { base: base[i]! } : {},
    text,
  }));
}

interface Shown {
  readonly settings: Given;
  readonly terminal: Terminal;
  readonly label: string;
}

/** Print whole texts, unless they go to a file. */
function show(texts: string[], { model, prompts }: Batch, { settings, terminal, label }: Shown): string[] {
  if (settings.output) return texts;
  for (const [i, text] of texts.entries()) {
    terminal.piece(opening(model, prompts[Math.floor(i / settings.numReturnSequences)]!, { terminal, label }));
    terminal.say(printableText(text));
  }
  return texts;
}

/** What stands before a text: the prompt that it goes on with, or that an encoder-decoder answers. */
function opening(
  { state: { architecture } }: Model,
  prompt: string,
  { terminal: { style }, label }: Pick<Shown, "terminal" | "label">,
): string {
  return `${style.dim(label)}${style.bold(printableText(prompt))}${architecture.encoder ? " → " : ""}`;
}

/** Print a text as it comes. */
async function stream({ model, prompts: [prompt], options }: Batch, { terminal, label }: Shown): Promise<string> {
  terminal.piece(opening(model, prompt!, { terminal, label }));
  let text = "";
  for await (const piece of model.generate(prompt!, options)) {
    text += piece;
    terminal.piece(printableText(piece));
  }
  terminal.piece("\n");
  return text;
}
