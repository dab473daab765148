// An adapter folder: its settings, whether its tensors come in pairs, and, with a model, whether each fits.
import { describeAdapter, describeTargets } from "../adapters/describe.ts";
import { type AdapterConfig, adapterFromFile, adapterFromJson, buildAdapter, resolveAdapter } from "../adapters/mod.ts";
import { printable } from "../core/errors.ts";
import { Graph } from "../graph/graph.ts";
import { type AdapterFile, readAdapterFolder } from "../io/adapter_file.ts";
import { openModelFolder } from "../io/hf.ts";
import { architectureOf } from "../models/mod.ts";
import { visitModel } from "../objectives/build.ts";
import { chooseTask } from "../objectives/choose_task.ts";
import { taskOf } from "../objectives/tasks.ts";
import { adapterTask, modulesOfTask } from "../train/adapter_task.ts";
import { withModules } from "../train/adapters.ts";
import { baseFacts } from "../train/base_facts.ts";
import { type AdapterTensorSpec, recordingLeaves, savedTensors } from "../train/leaves.ts";
import { takeInventory } from "../train/load.ts";
import { attempt, elements, type Findings, sortTensors, tensorFacts } from "./findings.ts";
import { digits } from "./format.ts";

/** Problems listed before it says how many more there are. */
const LISTED = 10;

/** Look at an adapter folder, and at how it fits `model` where that is given. */
export async function inspectAdapter(
  path: string,
  { model }: { readonly model: string | undefined },
): Promise<Findings> {
  const problems: string[] = [];
  const file = await attempt(problems, () => readAdapterFolder(path));
  if (!file) return { kind: "adapter", facts: [], tensors: [], problems, warnings: [] };
  const tensors = sortTensors(
    [...file.tensors].map(([name, { shape }]) => ({ name, shape, dtype: "F32" as const })),
  );
  const count = tensors.reduce((sum, { shape }) => sum + elements(shape), 0);
  const facts: (readonly [string, string])[] = [...tensorFacts(tensors, 4 * count)];
  const config = await attempt(problems, () => adapterFromJson(file.config));
  if (config) facts.unshift(...configFacts(config, file));
  problems.push(...listed([...pairProblems(file), ...valueProblems(file)]));
  if (config && model !== undefined) {
    const wanted = await attempt(
      problems,
      () => tensorsFor(model, path, withModules(config, modulesOfTask(file.config.task_type))),
    );
    if (wanted) {
      const held = adapterFromFile(config, file.tensors);
      problems.push(...listed(fitProblems(wanted, { ...file, tensors: held })));
      const fitting = [...wanted].filter(([name, { shape }]) => String(held.get(name)?.shape) === String(shape));
      facts.push(["matched", `${fitting.length} of ${wanted.size} tensors of ${printable(model)}`]);
    }
  }
  return { kind: "adapter", facts, tensors, problems, warnings: file.warnings };
}

function configFacts(config: AdapterConfig, { config: json }: AdapterFile): (readonly [string, string])[] {
  const targets = describeTargets(config);
  const base = json.base_model_name_or_path;
  return [
    ["method", describeAdapter(config)],
    ...("dropout" in config ? [["dropout", String(config.dropout)] as const] : []),
    ...(targets === undefined ? [] : [["targets", targets] as const]),
    ["base", typeof base === "string" ? printable(base) : "not named"],
  ];
}

/** A lora_A without its lora_B, or of another rank. */
function pairProblems({ tensors }: AdapterFile): string[] {
  const problems: string[] = [];
  for (const [name, { shape }] of tensors) {
    const other = name.includes(".lora_A.")
      ? name.replace(".lora_A.", ".lora_B.")
      : name.replace(".lora_B.", ".lora_A.");
    if (other === name) continue;
    const partner = tensors.get(other);
    if (!partner) problems.push(`${printable(name)} has no partner ${printable(other)}`);
    else if (name.includes(".lora_A.") && shape[0] !== partner.shape[1]) {
      problems.push(`${printable(name)} has rank ${shape[0]}, its partner ${partner.shape[1]}`);
    }
  }
  return problems;
}

function valueProblems({ tensors }: AdapterFile): string[] {
  const problems: string[] = [];
  for (const [name, { data }] of tensors) {
    const bad = data.reduce((count, x) => count + (Number.isFinite(x) ? 0 : 1), 0);
    if (bad > 0) problems.push(`${printable(name)}: ${digits(bad)} of ${digits(data.length)} values are not finite`);
  }
  return problems;
}

/** The tensors that an adapter with this configuration has on a model. */
async function tensorsFor(
  model: string,
  path: string,
  settings: AdapterConfig,
): Promise<Map<string, AdapterTensorSpec>> {
  const folder = await openModelFolder(model);
  try {
    const config = chooseTask(folder.config, await adapterTask(path));
    const architecture = architectureOf(config);
    const task = taskOf(config, architecture);
    const facts = baseFacts({ architecture, inventory: takeInventory(architecture, task), config });
    const { leaves, inventory } = recordingLeaves();
    const adapter = buildAdapter(resolveAdapter(settings, facts), "eval");
    visitModel(architecture, task, { graph: new Graph(), adapter, leaves });
    return savedTensors(inventory.params);
  } finally {
    folder.close();
  }
}

function fitProblems(wanted: ReadonlyMap<string, AdapterTensorSpec>, { tensors }: AdapterFile): string[] {
  const problems: string[] = [];
  for (const [name, { shape }] of wanted) {
    const found = tensors.get(name);
    if (!found) problems.push(`${name} is missing`);
    else if (String(found.shape) !== String(shape)) {
      problems.push(`${printable(name)} is [${found.shape}], the model needs [${shape}]`);
    }
  }
  for (const name of tensors.keys()) {
    if (!wanted.has(name)) problems.push(`${printable(name)} belongs to nothing in the model`);
  }
  return problems;
}

function listed(problems: readonly string[]): string[] {
  if (problems.length <= LISTED) return [...problems];
  return [...problems.slice(0, LISTED), `and ${problems.length - LISTED} more like these`];
}
