// `finetune`: the main job. Everything is checked first; then before, training, after; then the files of the run.
import { SAMPLING } from "./defaults.ts";
import { NumericError } from "../core/errors.ts";
import { closeDevice, type GraftDevice, openDevice } from "../gpu/device.ts";
import { loadModel } from "../train/load.ts";
import type { Model } from "../train/model.ts";
import type { StepRecord } from "../train/figures.ts";
import { train } from "../train/trainer.ts";
import { defineCommand, type Entry } from "./command.ts";
import { finetunePresets, finetuneSchema } from "./finetune_settings.ts";
import { type Plan, planRun } from "./finetune_plan.ts";
import { showAfter, showBefore, showPlan } from "./finetune_report.ts";
import { type DomainLoss, type Measured, measureDomains, writeSamples } from "./measure.ts";
import { requireWritable } from "./paths.ts";
import { progressBar } from "./progress.ts";
import { openRunFiles, type RunFiles } from "./run_files.ts";
import { settingsText } from "./settings_file.ts";
import type { Terminal } from "./terminal.ts";

/** The command. */
export const finetune: Entry = defineCommand({
  name: "finetune",
  summary: "Trains a low-rank adapter (or all weights) on your rows, and shows what it changed.",
  schema: finetuneSchema,
  presets: finetunePresets,
  examples: [
    "deno task finetune",
    "deno task finetune --model models/smollm2 --data data/train.jsonl --output out",
    "deno task finetune --model models/smollm2 --data data --rank 16 --target-modules all-linear --dry-run",
    "deno task finetune --config out/config.yaml --learning-rate 1e-4 --output out2",
  ],
  async run(settings, { given, terminal, signal }) {
    const plan = await planRun(settings, given);
    const resolved = settingsText(
      finetuneSchema,
      plan.settings,
      "Settings of a run. Repeat it: deno task finetune --config FILE",
    );
    if (settings.dryRun) {
      const memory = plan.memory();
      showPlan(terminal, plan, memory);
      terminal.say(`\n${resolved}`);
      terminal.say("Nothing was trained or written, as --dry-run asks.");
      terminal.result({ dryRun: true, output: plan.output, settings: plan.settings, memory });
      return 0;
    }
    requireWritable(plan.output);
    const device = await openDevice({ requireGpu: settings.requireGpu, precision: settings.precision });
    if (settings.precision === "f16" && device.target.kind === "software") {
      terminal.note("The software driver emulates f16: products are computed in f32.");
    }
    try {
      return await runPlan(device, plan, { terminal, signal, resolved });
    } finally {
      closeDevice(device);
    }
  },
});

interface RunOptions {
  readonly terminal: Terminal;
  readonly signal: AbortSignal;
  /** Text of config.yaml. */
  readonly resolved: string;
}

async function runPlan(device: GraftDevice, plan: Plan, { terminal, signal, resolved }: RunOptions): Promise<number> {
  const { settings, adapter, output } = plan;
  const memory = plan.memory(device.target);
  showPlan(terminal, plan, memory);
  const start = performance.now();
  const seconds = () => (performance.now() - start) / 1000;
  const model = await loadModel(device, plan.model, {
    ...plan.choice,
    quantize: settings.quantize,
    warn: (text) => terminal.note(`warning: ${text}`),
  });
  await (adapter ? model.addAdapter(adapter, { seed: settings.seed }) : model.unfreeze());
  const before = await measure(model, plan, terminal);
  showBefore(terminal, { device, before });
  if (signal.aborted) return interrupted(terminal, "nothing was trained or written");

  const files = await openRunFiles(output, resolved);
  let last: StepRecord | undefined;
  try {
    for (const domain of before.domains) await files.log(0, { [domain.name]: logged(domain) });
    last = await trainModel(model, plan, { terminal, signal, files });
  } catch (error) {
    if (!(error instanceof NumericError)) throw error;
    await save(model, plan);
    terminal.note(`The last finite values were saved in ${output}.`);
    throw error;
  }
  await save(model, plan);
  const steps = last?.step ?? 0;
  if (signal.aborted) return interrupted(terminal, `${steps} steps were trained and saved in ${output}`);

  const after = await measure(model, plan, terminal);
  for (const domain of after.domains) await files.log(steps, { [domain.name]: logged(domain) });
  const { peak } = device.memory;
  showAfter(terminal, { plan, before, after, steps, seconds: seconds(), peak });
  terminal.result({
    output,
    steps,
    seconds: seconds(),
    loss: last?.loss,
    tokensPerSecond: last?.tokensPerSecond,
    parameters: model.parameters,
    device: device.name,
    memory: { ...memory, peak },
    before,
    after,
  });
  return 0;
}

/** What of a domain goes into the log of the run. */
function logged({ loss, perplexity, figures }: DomainLoss): Record<string, number> {
  return { loss, ...(figures ?? { perplexity }) };
}

async function measure(model: Model, plan: Plan, terminal: Terminal): Promise<Measured> {
  const { settings: { sampleTokens, seed, batchSize }, domains, prompts } = plan;
  terminal.redraw("Evaluating …");
  const losses = await measureDomains(model, domains, { batchSize });
  terminal.redraw("Writing samples …");
  return {
    domains: losses,
    samples: await writeSamples(model, prompts, { ...SAMPLING, maxNewTokens: sampleTokens, seed }),
  };
}

function loraPlus({ loraPlusRatio: ratio, loraPlusEmbeddingRate: embeddingRate }: Plan["settings"]) {
  if (ratio === undefined) return {};
  return { loraPlus: { ratio, ...(embeddingRate === undefined ? {} : { embeddingRate }) } };
}

async function trainModel(
  model: Model,
  { data, optimizer, settings }: Plan,
  { terminal, signal, files }: Omit<RunOptions, "resolved"> & { readonly files: RunFiles },
): Promise<StepRecord | undefined> {
  const { learningRate, schedule, warmupSteps, epochs, maxSteps, batchSize, maxGradNorm, seed, labelSmoothing } =
    settings;
  const run = train(model, {
    data,
    optimizer,
    ...(learningRate === undefined ? {} : { learningRate }),
    ...{ schedule, warmupSteps, epochs, batchSize, maxGradNorm, seed, labelSmoothing, signal },
    ...(maxSteps === undefined ? {} : { maxSteps }),
    ...loraPlus(settings),
    gradientAccumulation: settings.gradientAccumulation,
    recompute: settings.recompute,
  });
  const show = progressBar(terminal);
  terminal.redraw("Compiling …");
  let last: StepRecord | undefined;
  for await (const record of run) {
    last = record;
    show(record);
    const { step, epoch, loss, learningRate, gradNorm, tokens, tokensPerSecond } = record;
    await files.step({
      step,
      epoch,
      loss,
      learning_rate: learningRate,
      grad_norm: gradNorm,
      tokens,
      tokens_per_second: tokensPerSecond,
    });
  }
  return last;
}

async function save(model: Model, { adapter, output }: Plan): Promise<void> {
  await (adapter ? model.saveAdapter(output) : model.saveMerged(`${output}/model`));
}

function interrupted(terminal: Terminal, what: string): number {
  terminal.note(`Stopped: ${what}.`);
  terminal.result({ interrupted: true });
  return 130;
}
