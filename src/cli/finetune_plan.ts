// Everything about a run that can be known, and refused, before a device is opened or a file written.
import { type AdapterConfig, buildAdapter, resolveAdapter } from "../adapters/mod.ts";
import { defaultRate } from "../adapters/rates.ts";
import { unmatchedNames } from "../adapters/targets.ts";
import { DataError, UsageError } from "../core/errors.ts";
import type { TaskName } from "../core/task_name.ts";
import { epochPlan } from "../data/batches.ts";
import { type Dataset, loadDataset } from "../data/dataset.ts";
import { loadPairDataset, type PairDataset } from "../data/pair_dataset.ts";
import { loadTaskDataset } from "../data/task_dataset.ts";
import { loadTokenizer, type Tokenizer } from "../data/tokenizer.ts";
import type { Target } from "../graph/target.ts";
import { requireEmpty } from "../io/atomic_write.ts";
import { readText, statOrUndefined } from "../io/files.ts";
import { resolveModelFolder } from "../io/hub_cache.ts";
import type { Adapter } from "../nn/adapter.ts";
import type { SiteInfo } from "../nn/scope.ts";
import { LENGTH_MULTIPLE } from "../objectives/arrange.ts";
import type { TaskOptions } from "../objectives/choose_task.ts";
import { adagrad } from "../optim/adagrad.ts";
import { adam, adamw } from "../optim/adam.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import { sgd } from "../optim/sgd.ts";
import { baseFacts } from "../train/base_facts.ts";
import { withModules } from "../train/adapters.ts";
import { mergeProblem } from "../train/merge.ts";
import { type Given, refuse } from "./arguments.ts";
import { MAX_LENGTH } from "./defaults.ts";
import { estimateMemory, type MemoryEstimate } from "./estimate.ts";
import { type finetuneSchema, type FinetuneSettings, LORA_PLUS } from "./finetune_settings.ts";
import { type Bundled, bundled, pathProblems } from "./paths.ts";
import { meaningful, methodConfig, methodProblems, targetText } from "./method_settings.ts";
import { type Inspected, inspectModel } from "./plan_model.ts";
import { hasRows, likeRows, planRows, type Reading, refuseForTask } from "./plan_rows.ts";
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
  /** What is learned, and what the model must be loaded for. */
  readonly task: TaskName;
  readonly choice: TaskOptions;
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
  /** What training needs on this device, or on any. */
  readonly memory: (target?: Target) => MemoryEstimate;
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
  const { quantize, task: asked } = settings;
  const first = await inspectModel(model, { quantize, task: asked });
  const { architecture: { V, positions: all }, task: { name: task } } = first;
  if (task === "sentence-embedding") {
    throw new UsageError("usage/task", "Cannot train embeddings from rows", {
      hint: "Put a head on this model: --task sequence-classification.",
    });
  }
  refuseForTask(task, given);
  const tokenizer = await loadTokenizer(model, { rows: V });
  const positions = all - (planMethod(settings, first, tokenizer).method?.virtualTokens ?? 0);
  const maxLength = settings.maxLength ?? Math.min(MAX_LENGTH, positions);
  const reading = { tokenizer, maxLength, positions, vocabSize: V, skipBadRows: settings.skipBadRows };
  const limited = { ...reading, limit: settings.limitEval, split: "valid" as const };
  const { packing, sourcePrefix, maxTargetLength } = settings;
  const pairs = {
    ...(sourcePrefix === undefined ? {} : { sourcePrefix }),
    ...(maxTargetLength === undefined ? {} : { maxTargetLength }),
  };
  const rows = hasRows(task) ? await planRows(dataPath, first, { ...reading, asked }) : undefined;
  const load = (path: string, more: Reading & { readonly packing?: boolean }): Promise<Dataset> =>
    rows
      ? loadTaskDataset(path, { ...more, ...likeRows(rows.data) })
      : task === "seq2seq-lm"
      ? loadPairDataset(path, { ...more, ...pairs })
      : loadDataset(path, more);
  const data = rows?.data ?? await load(dataPath, { ...reading, packing });
  const domains = [
    ...await domain("new", paths.evalData, (path) => load(path, limited)),
    ...(task === "causal-lm" ? await domain("old", paths.probe, (path) => load(path, limited)) : []),
  ];

  const choice: TaskOptions = rows?.choice ?? { task: asked };
  const inspected = rows ? await inspectModel(model, { quantize, ...choice }) : first;
  const { architecture, inventory, formats } = inspected;
  const { facts, adapter, method } = planMethod(settings, inspected, tokenizer);
  const warnings = [...inspected.warnings];
  // Loading says it too.
  if (inspected.fresh.length > 0 && settings.dryRun) warnings.push(`${inspected.fresh.join(" and ")} will be new`);

  const sites = [...inventory.sites.values()];
  const targets = method?.linear ? sites.filter((site) => method.adapts(site)) : [];
  if (adapter && "targetModules" in adapter) {
    warnings.push(...unmatchedNames(adapter, facts.modules).map((name) => `no module is called "${name}"`));
  }
  if (!domains.some(({ name }) => name === "new")) warnings.push("no rows to evaluate on: give --eval-data");
  const optimizer = optimizerOf(settings);
  const { batchSize, gradientAccumulation } = settings;
  const longest = Math.max(data.report.longest, data.report.longestTarget ?? 0);
  const T = Math.min(Math.ceil(longest / LENGTH_MULTIPLE) * LENGTH_MULTIPLE, positions);
  const shape = { lengthMultiple: LENGTH_MULTIPLE, maxLength: positions };
  const { padding } = epochPlan(data.examples, { batchSize, seed: settings.seed, ...shape });
  const step = {
    ...{ task: inspected.task, inventory, formats, adapter, optimizer, T, gradientAccumulation },
    B: Math.min(batchSize, data.examples.length),
    recompute: settings.recompute,
  };
  const memory = (target?: Target) => estimateMemory(architecture, { ...step, target });
  const shown = domains.find(({ name }) => name === "new")?.data ?? data;
  const prompts = "sourcePrefix" in shown
    ? sources(shown as PairDataset, settings)
    : task === "causal-lm"
    ? await choosePrompts(settings, paths.prompts, shown, tokenizer, positions)
    : [];
  const chosen = { model, data: dataPath, maxLength, evalData: paths.evalData, task: asked ?? task };
  return {
    ...{ model, data, padding, output, tokenizer, domains, adapter, optimizer, targets, memory, prompts, warnings },
    ...{ task, choice },
    sites: sites.length,
    merges: method !== undefined && mergeProblem({ architecture, inventory }, method) === undefined,
    settings: meaningful({
      ...settings,
      ...chosen,
      learningRate: settings.learningRate ?? defaultRate(adapter, architecture.D),
      probe: task === "causal-lm" ? paths.probe : undefined,
      targetModules: targetText(adapter),
    }),
  };
}

/** The method on a model: its settings with what depends on the model filled in. */
function planMethod(settings: FinetuneSettings, inspected: Inspected, tokenizer: Tokenizer): {
  readonly facts: ReturnType<typeof baseFacts>;
  readonly adapter: AdapterConfig | undefined;
  readonly method: Adapter | undefined;
} {
  const { task, fresh } = inspected;
  const facts = baseFacts({ ...inspected, tokenizer });
  const chosen = methodConfig(settings);
  const adapter = chosen ? resolveAdapter(withModules(chosen, [...task.trains, ...fresh]), facts) : undefined;
  return { facts, adapter, method: adapter ? buildAdapter(adapter, "eval") : undefined };
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

async function domain(
  name: string,
  path: string | undefined,
  load: (path: string) => Promise<Dataset>,
): Promise<Domain[]> {
  if (path === undefined) return [];
  try {
    return [{ name, data: await load(path) }];
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

/** Texts that an encoder-decoder is shown. */
function sources({ rows, sourcePrefix }: PairDataset, { samples, prompt }: FinetuneSettings): string[] {
  const texts = prompt === undefined ? rows.slice(0, samples).map(({ source }) => source) : [prompt];
  return samples === 0 ? [] : texts.map((text) => `${sourcePrefix}${text}`);
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
