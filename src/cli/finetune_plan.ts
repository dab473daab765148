// Everything about a run that can be known, and refused, before a device is opened or a file written.
import { type AdapterConfig, buildAdapter, resolveAdapter } from "../adapters/mod.ts";
import { unmatchedNames } from "../adapters/targets.ts";
import { DataError } from "../core/errors.ts";
import { epochPlan } from "../data/batches.ts";
import { type Dataset, loadDataset } from "../data/dataset.ts";
import { loadTokenizer, type Tokenizer } from "../data/tokenizer.ts";
import { requireEmpty } from "../io/atomic_write.ts";
import { readText, statOrUndefined } from "../io/files.ts";
import { openModelFolder } from "../io/hf.ts";
import { resolveModelFolder } from "../io/hub_cache.ts";
import type { Architecture } from "../models/architecture.ts";
import type { Json } from "../models/config.ts";
import { architectureOf } from "../models/mod.ts";
import type { SiteInfo } from "../nn/scope.ts";
import { LENGTH_MULTIPLE } from "../objectives/arrange.ts";
import type { Task } from "../objectives/task.ts";
import { taskOf } from "../objectives/tasks.ts";
import { adagrad } from "../optim/adagrad.ts";
import { adam, adamw } from "../optim/adam.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import { sgd } from "../optim/sgd.ts";
import { baseFacts } from "../train/base_facts.ts";
import { type Formats, type Quantize, weightFormats } from "../train/formats.ts";
import type { Inventory } from "../train/leaves.ts";
import { headModules, takeInventory } from "../train/load.ts";
import { mergeProblem } from "../train/merge.ts";
import { matchWeights } from "../train/weights.ts";
import { type Given, refuse } from "./arguments.ts";
import { MAX_LENGTH } from "./defaults.ts";
import { estimateMemory, type MemoryEstimate } from "./estimate.ts";
import { type finetuneSchema, type FinetuneSettings, LORA_PLUS } from "./finetune_settings.ts";
import { type Bundled, bundled, pathProblems } from "./paths.ts";
import { meaningful, methodConfig, methodProblems, targetText } from "./method_settings.ts";
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
  readonly adapter: AdapterConfig | undefined;
  /** Whether there are weights that do what the adapter does. */
  readonly merges: boolean;
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
  const { config, architecture, task, inventory, formats, warnings } = await inspectModel(model, settings.quantize);
  const tokenizer = await loadTokenizer(model, { rows: architecture.V });

  const facts = baseFacts({ architecture, inventory, config, tokenizer });
  const chosenMethod = methodConfig(settings);
  const adapter = chosenMethod ? resolveAdapter(chosenMethod, facts) : undefined;
  const method = adapter ? buildAdapter(adapter, "eval") : undefined;

  const { V } = architecture;
  const positions = architecture.positions - (method?.virtualTokens ?? 0);
  const maxLength = settings.maxLength ?? Math.min(MAX_LENGTH, positions);
  const reading = { tokenizer, maxLength, positions, vocabSize: V, skipBadRows: settings.skipBadRows };
  const data = await loadDataset(dataPath, { ...reading, packing: settings.packing });
  const limited = { ...reading, limit: settings.limitEval };
  const domains = [
    ...await domain("new", paths.evalData, limited),
    ...await domain("old", paths.probe, limited),
  ];

  const sites = [...inventory.sites.values()];
  const targets = method?.linear ? sites.filter((site) => method.adapts(site)) : [];
  if (adapter && "targetModules" in adapter) {
    warnings.push(...unmatchedNames(adapter, facts.modules).map((name) => `no module is called "${name}"`));
  }
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
    merges: method !== undefined && mergeProblem({ architecture, inventory }, method) === undefined,
    settings: meaningful({ ...settings, ...chosen, targetModules: targetText(adapter) }),
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
    ...methodProblems(given),
    ...(settings.method === "lora" || settings.method === "dora"
      ? []
      : LORA_PLUS.filter((name) => given[name] !== undefined))
      .map((name) => `--${flagName(name)} has no meaning with --method ${settings.method}`),
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
  readonly config: Json;
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
    return { config: folder.config, architecture, task, inventory, formats, warnings: [...folder.warnings] };
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
