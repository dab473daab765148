// Adapters on a model: added fresh, loaded, saved, chosen. A file is used completely or not at all.
import type { FileForm } from "../adapters/file_form.ts";
import {
  type AdapterConfig,
  adapterFileForm,
  adapterFromFile,
  adapterFromJson,
  adapterToJson,
  buildAdapter,
  resolveAdapter,
} from "../adapters/mod.ts";
import { CheckpointError, printable, UsageError } from "../core/errors.ts";
import { Graph } from "../graph/graph.ts";
import { hubNameOf } from "../io/hub_cache.ts";
import { type AdapterFile, adapterPath, readAdapterFolder, writeAdapterFolder } from "../io/adapter_file.ts";
import { visitModel } from "../objectives/build.ts";
import { read, run } from "../gpu/executable.ts";
import { fullSequence } from "../nn/full_sequence.ts";
import { checkKeys, oddities } from "./adapter_fit.ts";
import { autoMapping, modulesOfTask } from "./adapter_task.ts";
import { withoutBaseCopies } from "./base_copies.ts";
import { baseFacts } from "./base_facts.ts";
import { initialValues } from "./init.ts";
import { type AdapterTensorSpec, recordingLeaves, savedTensors } from "./leaves.ts";
import { modelScope, program } from "./programs.ts";
import { neighbours } from "./stacks.ts";
import { checkStack, STACKED_ON, tryStack } from "./stack.ts";
import type { AdapterState, ModelState } from "./state.ts";
import { adapterTensors, knownAdapter, layoutOf, readBase, requireAdapter, writeAdapter } from "./tensors.ts";

/** The name of an adapter that is given none, as in PEFT. */
export const DEFAULT_NAME = "default";

/** Options of {@linkcode loadAdapter}. */
export interface LoadAdapterOptions {
  /** What to call it ("default"). */
  readonly name?: string;
  /** The adapter that it lies on and was trained on; none by default. */
  readonly on?: string;
  /** Told what is odd but usable, such as fields of adapter_config.json that are not known. */
  readonly warn?: (text: string) => void;
}

/** Options of {@linkcode addAdapter}. */
export interface AddAdapterOptions {
  /** What to call it ("default"). */
  readonly name?: string;
  /** Of its first values (42). */
  readonly seed?: number;
  /** An adapter that stays as it is, below this one: this one changes what that one makes of the base. */
  readonly on?: string;
  /** Told what is odd but usable, such as target modules that the model does not have. */
  readonly warn?: (text: string) => void;
}

/** See {@linkcode Model.addAdapter}. */
export async function addAdapter(
  state: ModelState,
  config: AdapterConfig,
  { name = DEFAULT_NAME, seed = 42, on, warn = () => {} }: AddAdapterOptions,
): Promise<void> {
  const adapter = prepare(state, withHeads(state, config), { name, on });
  oddities(config, { modules: [...state.inventory.modules.values()] }).forEach(warn);
  await writeAdapter(state, adapter, await completeValues(state, adapter, { seed, given: new Map() }));
  use(state, adapter);
}

/** As PEFT does, the head of a task is trained beside the adapter; so are modules that the checkpoint did not have. */
function withHeads({ task, fresh }: ModelState, config: AdapterConfig): AdapterConfig {
  return withModules(config, [...task.trains, ...fresh]);
}

/** An adapter that also trains these modules of the base in full. */
export function withModules(config: AdapterConfig, modules: readonly string[]): AdapterConfig {
  if (modules.length === 0) return config;
  return { ...config, modulesToSave: [...new Set([...config.modulesToSave, ...modules])] };
}

/** The values that are given, and first ones for the others: some are made of weights of the base, or of those before. */
async function completeValues(
  state: ModelState,
  { tensors }: AdapterState,
  { seed, given }: { readonly seed: number; readonly given: ReadonlyMap<string, Float32Array> },
): Promise<Map<string, Float32Array<ArrayBuffer>>> {
  const values = new Map<string, Float32Array<ArrayBuffer>>();
  const tensor = (earlier: string) => values.get(earlier)!;
  for (const { name, shape, init, frozen } of tensors.values()) {
    const known = given.get(name) as Float32Array<ArrayBuffer> | undefined;
    if (known) values.set(name, known);
    else if (init.kind !== "base") values.set(name, initialValues({ name, shape, init }, frozen?.seed ?? seed));
    else {
      const weight = await readBase(state, init.weight);
      values.set(name, init.make?.(weight, { tensor, seed }) ?? weight);
    }
  }
  return values;
}

/** See {@linkcode Model.loadAdapter}. */
export async function loadAdapter(
  state: ModelState,
  path: string,
  { name = DEFAULT_NAME, on, warn = () => {} }: LoadAdapterOptions,
): Promise<void> {
  const file = await readAdapterFolder(await adapterPath(path, name));
  const settings = withModules(adapterFromJson(file.config), modulesOfTask(file.config.task_type));
  const config = file.encoder ? { ...settings, encoder: true } as AdapterConfig : settings;
  checkStack(path, file.config[STACKED_ON], on);
  const adapter = prepare(state, config, { name, on });
  const wanted = savedTensors(adapter.tensors);
  const held = file.encoder ? trainedTensors(file, adapter) : adapterFromFile(config, file.tensors);
  const given = await withoutBaseCopies(state, held, { wanted, warn });
  checkKeys(path, { wanted, found: given, base: file.config["base_model_name_or_path"] });
  file.warnings.forEach(warn);
  oddities(settings, { modules: [...state.inventory.modules.values()], file }).forEach(warn);
  if (config.type === "LORA" && /^pissa_niter/.test(String(config.init))) {
    warn("The adapter was not converted when it was saved, and its random start can only be found again nearly.");
  }
  const unknown = Object.keys(config.unknown).filter((key) => key !== STACKED_ON);
  if (unknown.length > 0) warn(`adapter_config.json has unknown fields: ${unknown.map(printable).join(", ")}`);
  const tensors = new Map([...given].map(([key, { data }]) => [key, data] as const));
  await writeAdapter(state, adapter, await completeValues(state, adapter, { seed: 0, given: tensors }));
  use(state, adapter);
}

/** What was trained where the file holds what that makes: prompts and prefixes that layers make. */
function trainedTensors({ tensors, encoder }: AdapterFile, { config }: AdapterState): AdapterFile["tensors"] {
  const { outputs } = buildAdapter(config, "eval");
  if (!outputs) return tensors;
  return new Map([...tensors].filter(([name]) => name !== "prompt_embeddings").concat([...encoder!]));
}

/** Options of {@linkcode saveAdapter}. */
export interface SaveAdapterOptions {
  /** Which one; the one in use by default. */
  readonly name?: string;
  /**
   * Save PiSSA and OLoRA as a plain LoRA of twice the rank, which is right on the base as it is (true). Without, the
   * file holds what is trained, as PEFT's does, and whoever loads it must find the same start again.
   */
  readonly convert?: boolean;
}

/** Settings and tensors of an adapter as they are saved. */
export async function savedForm(
  state: ModelState,
  adapter: AdapterState,
  { convert = true }: Pick<SaveAdapterOptions, "convert"> = {},
): Promise<FileForm<AdapterConfig>> {
  const values = await adapterTensors(state, adapter, { derived: true });
  const all = new Map([...values].map(([key, data]) => [key, { shape: adapter.tensors.get(key)!.shape, data }]));
  const { config, tensors } = convert ? adapterFileForm(adapter.config, all) : { config: adapter.config, tensors: all };
  return { config, tensors: new Map([...tensors].filter(([key]) => !adapter.tensors.get(key)?.frozen?.derived)) };
}

/** See {@linkcode Model.saveAdapter}. */
export async function saveAdapter(
  state: ModelState,
  path: string,
  { name, convert }: SaveAdapterOptions = {},
): Promise<void> {
  const adapter = requireAdapter(state, name);
  const { targets } = adapter;
  const { config, tensors } = await savedForm(state, adapter, convert === undefined ? {} : { convert });
  const made = await madeTensors(state, adapter);
  const isEncoder = (key: string) => made.size > 0 && !key.startsWith("base_model.");
  const { [STACKED_ON]: _, ...fields } = adapterToJson(config, {
    baseModel: state.path === undefined ? null : hubNameOf(state.path),
    taskType: state.task.taskType,
    fanInFanOut: targets.some((target) => state.inventory.sites.get(target)?.transposed === true),
  });
  const json = { ...fields, ...autoMapping(state) };
  await writeAdapterFolder(path, {
    config: adapter.under === undefined ? json : { ...json, [STACKED_ON]: adapter.under },
    ...(state.task.trains.length > 0 ? { model: state.config } : {}),
    tensors: new Map([...made, ...[...tensors].filter(([key]) => !isEncoder(key))]),
    ...(made.size > 0 ? { encoder: new Map([...tensors].filter(([key]) => isEncoder(key))) } : {}),
  });
}

/** What the method saves in place of the tensors that make it. */
async function madeTensors(state: ModelState, adapter: AdapterState): Promise<AdapterFile["tensors"]> {
  const { config, name } = adapter;
  const { outputs } = buildAdapter(config, "eval");
  if (!outputs) return new Map();
  const { executable, results } = await program(state, `outputs of ${name}`, () => {
    const graph = new Graph(state.device.target);
    const sequence = fullSequence({ B: 1, T: 1 });
    const { m, constants } = modelScope(state, { graph, sequence, trained: "nothing", adapter });
    return { graph, constants, inputs: {}, results: Object.fromEntries(outputs(m)) };
  });
  run(executable);
  const entries = Object.entries(results);
  const values = await read(executable, entries.map(([, value]) => value));
  return new Map(entries.map(([key, { shape }], i) => [key, { shape, data: values[i]! }]));
}

/** See {@linkcode Model.setAdapter}. */
export function setAdapter(state: ModelState, name: string | undefined): void {
  if (state.merged) {
    const names = state.merged.adapters.map((merged) => `"${printable(merged)}"`).join(" and ");
    throw new CheckpointError("merge/merged", `Cannot switch adapters as ${names} is merged: unmerge() first`);
  }
  if (name !== undefined) knownAdapter(state, name);
  state.disabled = name === undefined ? state.active ?? state.disabled : undefined;
  state.active = name;
}

/** See {@linkcode Model.enableAdapter}. */
export function enableAdapter(state: ModelState): void {
  const name = state.active ?? state.disabled;
  if (name === undefined) throw new CheckpointError("adapter/none", "Cannot enable an adapter as none was in use");
  setAdapter(state, name);
}

/** Everything about an adapter that can be known, and refused, before it exists. */
export function prepare(
  state: ModelState,
  given: AdapterConfig,
  { name, on }: { readonly name: string; readonly on?: string | undefined },
): AdapterState {
  if (state.adapters.has(name)) {
    throw new UsageError(
      "adapter/exists",
      `Cannot add an adapter called "${printable(name)}" as the model has one already`,
    );
  }
  const { architecture, inventory: base, tokenizerOrNone: tokenizer } = state;
  const facts = baseFacts({ architecture, inventory: base, config: state.config, tokenizer });
  const config = resolveAdapter(given, facts);
  const adapter = buildAdapter(config, "eval");
  if (on !== undefined) tryStack(state, config, on);
  const targets = [...base.modules.values()].filter((site) =>
    (site.kind === "embedding" ? adapter.embed : adapter.linear) && adapter.adapts(site)
  );
  const { leaves, inventory } = recordingLeaves();
  visitModel(state.architecture, state.task, { graph: new Graph(), adapter, leaves });
  const tensors: ReadonlyMap<string, AdapterTensorSpec> = inventory.params;
  const trained = [...tensors.values()].filter(({ frozen }) => !frozen);
  const layout = layoutOf(state, `adapter ${name}`, neighbours(trained, base));
  const under = on === undefined ? {} : { under: on };
  return { name, config, tensors, targets: targets.map(({ path }) => path), layout, ...under };
}

/** Put an adapter on the model, its tensors being in place, and use it. */
export function use(state: ModelState, adapter: AdapterState): void {
  state.adapters.set(adapter.name, adapter);
  if (state.merged) return;
  state.active = adapter.name;
  state.disabled = undefined;
}
