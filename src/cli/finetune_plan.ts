// Everything about a run that can be known, and refused, before a device is opened or a file written.
import { LORA_TARGETS } from "../adapters/defaults.ts";
import { lora, type LoraConfig } from "../adapters/lora_config.ts";
import { matchTargets, unmatchedNames } from "../adapters/targets.ts";
import { DataError, UsageError } from "../core/errors.ts";
import { epochPlan } from "../data/batches.ts";
import { type Dataset, loadDataset } from "../data/dataset.ts";
import { loadTokenizer, type Tokenizer } from "../data/tokenizer.ts";
import { requireEmpty } from "../io/atomic_write.ts";
import { readText, statOrUndefined } from "../io/files.ts";
import { openModelFolder } from "../io/hf.ts";
import { resolveModelFolder } from "../io/hub_cache.ts";
import type { Architecture } from "../models/architecture.ts";
import { architectureOf } from "../models/mod.ts";
import type { SiteInfo } from "../nn/scope.ts";
import { LENGTH_MULTIPLE } from "../objectives/arrange.ts";
import type { Task } from "../objectives/task.ts";
import { taskOf } from "../objectives/tasks.ts";
import { adagrad } from "../optim/adagrad.ts";
import { adam, adamw } from "../optim/adam.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import { sgd } from "../optim/sgd.ts";
import { type Formats, type Quantize, weightFormats } from "../train/formats.ts";
import type { Inventory } from "../train/leaves.ts";
import { headModules, takeInventory } from "../train/load.ts";
import { matchWeights } from "../train/weights.ts";
import { type Given, refuse } from "./arguments.ts";
import { MAX_LENGTH } from "./defaults.ts";
import { estimateMemory, type MemoryEstimate } from "./estimate.ts";
import { ADAPTER_ONLY, type finetuneSchema, type FinetuneSettings } from "./finetune_settings.ts";
import { type Bundled, bundled, pathProblems } from "./paths.ts";
import { openings } from "./sample_text.ts";
import { flagName } from "./settings.ts";

/** Rows of a domain, to evaluate on. */
export interface Domain {
  /** "new" or "old". */
  readonly name: string;
  readonly data: Dataset;
}

/** A run that is ready to start. */
export interface Plan {
  readonly model: string;
  readonly data: Dataset;
  /** Share of the tokens of all batches that is padding. */
  readonly padding: number;
  readonly output: string;
  readonly tokenizer: Tokenizer;
  readonly domains: readonly Domain[];
  /** The adapter; undefined where all weights are trained. */
  readonly adapter: LoraConfig | undefined;
  readonly optimizer: Optimizer;
  /** Linear maps that the adapter changes, and all that the model has. */
  readonly targets: readonly SiteInfo[];
  readonly sites: number;
  readonly memory: MemoryEstimate;
  /** Openings of the sample texts. */
  readonly prompts: readonly string[];
  /** What is odd but usable. */
  readonly warnings: readonly string[];
  /** The settings with the paths that were chosen. */
  readonly settings: FinetuneSettings;
}

/** Check a run. */
export async function planRun(settings: FinetuneSettings, given: Given<typeof finetuneSchema>): Promise<Plan> {
  const shipped = bundled();
  const paths = await checkPaths(settings, given, shipped);
  const { model, data: dataPath, output } = paths;
  const { architecture, task, inventory, formats, warnings } = await inspectModel(model, settings.quantize);
  const tokenizer = await loadTokenizer(model, { rows: architecture.V });

  const { positions, V } = architecture;
  const maxLength = settings.maxLength ?? Math.min(MAX_LENGTH, positions);
  const reading = { tokenizer, maxLength, positions, vocabSize: V, skipBadRows: settings.skipBadRows };
  const data = await loadDataset(dataPath, { ...reading, packing: settings.packing });
  const limited = { ...reading, limit: settings.limitEval };
  const domains = [
    ...await domain("new", paths.evalData, limited),
    ...await domain("old", paths.probe, limited),
  ];

  const adapter = settings.method === "lora" ? adapterConfig(settings, architecture) : undefined;
  const sites = [...inventory.sites.values()];
  const targets = adapter ? matchTargets(adapter, sites) : [];
  if (adapter) warnings.push(...unmatchedNames(adapter, sites).map((name) => `no module is called "${name}"`));
  if (!domains.some(({ name }) => name === "new")) warnings.push("no rows to evaluate on: give --eval-data");
  const optimizer = optimizerOf(settings);
  const { batchSize, gradientAccumulation } = settings;
  const T = Math.min(Math.ceil(data.report.longest / LENGTH_MULTIPLE) * LENGTH_MULTIPLE, positions);
  const shape = { lengthMultiple: LENGTH_MULTIPLE, maxLength: positions };
  const { padding } = epochPlan(data.examples, { batchSize, seed: settings.seed, ...shape });
  const memory = estimateMemory(architecture, {
    task,
    inventory,
    formats,
    adapter,
    optimizer,
    B: Math.min(batchSize, data.examples.length),
    T,
    accumulate: gradientAccumulation,
    recompute: settings.recompute,
  });
  const prompts = await choosePrompts(
    settings,
    paths.prompts,
    domains.find(({ name }) => name === "new")?.data ?? data,
    tokenizer,
    positions,
  );
  const chosen = { model, data: dataPath, maxLength, evalData: paths.evalData, probe: paths.probe };
  return {
    ...{ model, data, padding, output, tokenizer, domains, adapter, optimizer, targets, memory, prompts, warnings },
    sites: sites.length,
    settings: { ...settings, ...chosen, targetModules: targetText(adapter) } as FinetuneSettings,
  };
}

interface Paths {
  readonly model: string;
  readonly data: string;
  readonly output: string;
  readonly evalData: string | undefined;
  readonly probe: string | undefined;
  /** File of the openings of the bundled job. */
  readonly prompts: string | undefined;
}

async function checkPaths(
  settings: FinetuneSettings,
  given: Given<typeof finetuneSchema>,
  shipped: Bundled | undefined,
): Promise<Paths> {
  const model = settings.model === undefined ? shipped?.model : await resolveModelFolder(settings.model);
  const data = settings.data ?? shipped?.data;
  const problems = [
    ...(settings.loraPlusEmbeddingRate !== undefined && settings.loraPlusRatio === undefined
      ? ["--lora-plus-embedding-rate needs --lora-plus-ratio"]
      : []),
    ...(settings.method === "full" ? ADAPTER_ONLY.filter((name) => given[name] !== undefined) : [])
      .map((name) => `--${flagName(name)} has no meaning with --method full`),
    ...(settings.method === "full" && settings.quantize !== "none"
      ? [`--quantize ${settings.quantize} keeps weights that --method full would train: train an adapter`]
      : []),
    ...(model === undefined ? ["--model must be given: the bundled base comes with the repository"] : []),
    ...(data === undefined ? ["--data must be given: the bundled set comes with the repository"] : []),
    ...await pathProblems("--model", model, "folder"),
    ...await pathProblems("--data", data, "any"),
    ...await pathProblems("--eval-data", settings.evalData, "any"),
    ...await pathProblems("--probe", settings.probe, "any"),
  ];
  refuse("usage/path", problems);
  const name = data!.replace(/[\\/]+$/, "").split(/[\\/]/).at(-1)!.replace(/\.\w+$/, "");
  const output = settings.output ?? await freshFolder(`runs/${new Date().toISOString().slice(0, 10)}-${name}`);
  await requireEmpty(output);
  const own = settings.model === undefined;
  const isFolder = (await statOrUndefined(data!))!.isDirectory;
  return {
    model: model!,
    data: data!,
    output,
    evalData: settings.evalData ?? (isFolder ? data : undefined),
    probe: settings.probe ?? (own || sameFile(model, shipped?.model) ? shipped?.old : undefined),
    prompts: sameFile(data, shipped?.data) ? shipped?.prompts : undefined,
  };
}

function sameFile(a: string | undefined, b: string | undefined): boolean {
  return a !== undefined && b !== undefined && a.replace(/[\\/]+$/, "") === b;
}

/** `path`, or the first of path-2, path-3, … that does not exist. */
async function freshFolder(path: string): Promise<string> {
  for (let n = 1;; n++) {
    const name = n === 1 ? path : `${path}-${n}`;
    if (await statOrUndefined(name) === undefined) return name;
  }
}

interface Inspected {
  readonly architecture: Architecture;
  readonly task: Task;
  readonly inventory: Inventory;
  readonly formats: Formats;
  readonly warnings: string[];
}

async function inspectModel(path: string, quantize: Quantize): Promise<Inspected> {
  const folder = await openModelFolder(path);
  try {
    const architecture = architectureOf(folder.config);
    const task = taskOf(folder.config, architecture);
    const inventory = takeInventory(architecture, task);
    const heads = headModules(task, architecture);
    const names = matchWeights(folder, architecture, inventory, { optional: heads });
    const formats = weightFormats(folder, { names, inventory, quantize, heads });
    return { architecture, task, inventory, formats, warnings: [...folder.warnings] };
  } finally {
    folder.close();
  }
}

async function domain(
  name: string,
  path: string | undefined,
  options: Parameters<typeof loadDataset>[1],
): Promise<Domain[]> {
  if (path === undefined) return [];
  try {
    return [{ name, data: await loadDataset(path, { ...options, split: "valid" }) }];
  } catch (error) {
    // A data folder need not have rows to evaluate on.
    if (error instanceof DataError && error.code === "data/missing") return [];
    throw error;
  }
}

function adapterConfig(settings: FinetuneSettings, { type }: Architecture): LoraConfig {
  const { rank, alpha, dropout, rslora, targetModules } = settings;
  const family = LORA_TARGETS.get(type);
  if (targetModules === undefined && !family) {
    throw new UsageError("lora/no-target", `Cannot choose modules of a ${type} model: give --target-modules`);
  }
  return lora({ rank, alpha, dropout, rslora, targetModules: targetNames(targetModules) ?? family! });
}

/** `a,b` is a list of names; `all-linear`, and anything with the signs of a regular expression, is left as it is. */
function targetNames(text: string | undefined): string | readonly string[] | undefined {
  if (text === undefined || text === "all-linear" || /[\\^$*+?()[\]{}|]/.test(text)) return text;
  return text.split(",").map((name) => name.trim()).filter((name) => name !== "");
}

function targetText(adapter: LoraConfig | undefined): string | undefined {
  const targets = adapter?.targetModules;
  return typeof targets === "object" ? targets.join(",") : targets;
}

function optimizerOf({ optimizer, weightDecay }: FinetuneSettings): Optimizer {
  if (optimizer === "sgd") return sgd({ weightDecay, momentum: 0.9 });
  return { adamw, adam, adagrad }[optimizer]({ weightDecay });
}

async function choosePrompts(
  { prompt, samples }: FinetuneSettings,
  file: string | undefined,
  { examples }: Dataset,
  tokenizer: Tokenizer,
  positions: number,
): Promise<string[]> {
  if (samples === 0) return [];
  if (prompt !== undefined) return [prompt];
  if (file === undefined) return openings(examples, tokenizer, { count: samples, longest: positions >> 1 });
  return (await readText(file)).split("\n").filter((line) => line !== "").slice(0, samples);
}
