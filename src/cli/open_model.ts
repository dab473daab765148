// Opening what most commands need: a device, a model, and an adapter on it.
import { closeDevice, type GraftDevice, openDevice } from "../gpu/device.ts";
import { resolveModelFolder } from "../io/hub_cache.ts";
import type { TaskOptions } from "../objectives/choose_task.ts";
import { QUANTIZE, type Quantize } from "../train/formats.ts";
import { loadModel } from "../train/load.ts";
import type { Model } from "../train/model.ts";
import { refuse } from "./arguments.ts";
import { bundled, pathProblems } from "./paths.ts";
import { choice, type Field, flag, path } from "./settings.ts";
import type { Terminal } from "./terminal.ts";

/** Fields of commands that open a model. */
export const modelFields: {
  readonly model: Field<string | undefined>;
  readonly adapter: Field<string | undefined>;
  readonly requireGpu: Field<boolean>;
} = {
  model: path("folder of the model (the bundled base)", { placeholder: "DIR" }),
  adapter: path("folder of an adapter", { placeholder: "DIR" }),
  requireGpu: flag("refuse a software driver"),
};

/** The field of commands that only read the weights. */
export const quantizeFields: { readonly quantize: Field<Quantize> } = {
  quantize: choice("how frozen weights are kept: all in halves, or linear maps in 8 or 4 bits", QUANTIZE, {
    default: "none",
  }),
};

/** Values of {@linkcode modelFields}. */
export interface ModelSettings {
  readonly model: string | undefined;
  readonly adapter: string | undefined;
  readonly requireGpu: boolean;
}

/**
 * The folder of the model, after all paths were found to exist.
 *
 * @param others Further paths by their flags.
 * @throws {UsageError} `usage/path` with all that do not exist.
 */
export async function checkModelPaths(
  { model, adapter }: Pick<ModelSettings, "model" | "adapter">,
  others: Readonly<Record<string, string | undefined>> = {},
): Promise<string> {
  const folder = model === undefined ? bundled()?.model : await resolveModelFolder(model);
  const problems = [
    ...(folder === undefined ? ["--model must be given: the bundled base comes with the repository"] : []),
    ...await pathProblems("--model", folder, "folder"),
    ...await pathProblems("--adapter", adapter, "folder"),
  ];
  for (const [name, path] of Object.entries(others)) problems.push(...await pathProblems(name, path, "any"));
  refuse("usage/path", problems);
  return folder!;
}

/** Options of {@linkcode withModel}. */
export interface WithModelOptions extends ModelSettings {
  /** The folder of the model. */
  readonly folder: string;
  /** Format of frozen weights. */
  readonly quantize?: Quantize;
  /** What it is to do, where its folder does not say it. */
  readonly choice?: TaskOptions;
  readonly terminal: Terminal;
}

/** Open a device and the model with its adapter, run `body`, and close all. */
export async function withModel<T>(
  { folder, adapter, requireGpu, quantize = "none", choice = {}, terminal }: WithModelOptions,
  body: (model: Model, device: GraftDevice) => Promise<T>,
): Promise<T> {
  const device = await openDevice({ requireGpu });
  try {
    const warn = (text: string) => terminal.note(`warning: ${text}`);
    const model = await loadModel(device, folder, { quantize, warn, ...choice });
    if (adapter !== undefined) {
      await model.loadAdapter(adapter, { warn });
    }
    return await body(model, device);
  } finally {
    closeDevice(device);
  }
}
