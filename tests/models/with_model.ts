// A model with random weights, loaded from a folder that is removed afterwards.
import type { GraftDevice } from "../../src/gpu/device.ts";
import { loadModel, type LoadModelOptions } from "../../src/train/load.ts";
import type { Model } from "../../src/train/model.ts";
import { withFolder } from "../temp_folder.ts";
import { randomWeights, type Weights, writeModel } from "./folder.ts";
import type { ReferenceModel } from "./reference.ts";

/** Options of {@linkcode withModel}. */
export interface WithModelOptions extends LoadModelOptions {
  /** Random ones by default. */
  readonly weights?: Weights;
}

/** Run `act` with the model of a config.json, with its weights for a reference, and with the folder that has it as `m`. */
export async function withModel(
  device: GraftDevice,
  config: Readonly<Record<string, unknown>>,
  act: (model: Model, reference: ReferenceModel, folder: string) => Promise<void>,
  { weights = randomWeights(config), ...options }: WithModelOptions = {},
): Promise<void> {
  await withFolder(async (folder) => {
    await writeModel(`${folder}/m`, config, weights);
    const model = await loadModel(device, `${folder}/m`, options);
    try {
      await act(model, { config, weights: new Map([...weights].map(([name, { data }]) => [name, data])) }, folder);
    } finally {
      model.destroy();
    }
  });
}
