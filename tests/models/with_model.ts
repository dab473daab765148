// A model with random weights, loaded from a folder that is removed afterwards.
import type { GraftDevice } from "../../src/gpu/device.ts";
import { loadModel } from "../../src/train/load.ts";
import type { Model } from "../../src/train/model.ts";
import { withFolder } from "../temp_folder.ts";
import { randomWeights, writeModel } from "./folder.ts";
import type { ReferenceModel } from "./reference.ts";

/** Run `act` with the model of a config.json, and with its weights for a reference. */
export async function withModel(
  device: GraftDevice,
  config: Readonly<Record<string, unknown>>,
  act: (model: Model, reference: ReferenceModel) => Promise<void>,
): Promise<void> {
  await withFolder(async (folder) => {
    const weights = randomWeights(config);
    await writeModel(`${folder}/m`, config, weights);
    const model = await loadModel(device, `${folder}/m`);
    await act(model, { config, weights: new Map([...weights].map(([name, { data }]) => [name, data])) });
    model.destroy();
  });
}
