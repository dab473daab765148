// A reference case as a model that is ready to train.
import {
  type Batch,
  type GraftDevice,
  loadModel,
  type Model,
  type StepRecord,
  train,
  type TrainOptions,
} from "../../mod.ts";
import { bits, fixture } from "../models/folder.ts";

/** What a case.json says of a run. */
export interface Known {
  readonly batches: Batch[];
  readonly losses: number[];
  readonly lrs: number[];
  readonly grad_norms: number[];
  readonly final_loss: number;
}

/** The case of a fixture. */
export async function known(name: string): Promise<Known> {
  return JSON.parse(await Deno.readTextFile(`${fixture(name)}/case.json`));
}

/** Do something with the base of a fixture and its first adapter. */
export async function withAdapted(
  device: GraftDevice,
  name: string,
  act: (model: Model) => Promise<void>,
): Promise<void> {
  const model = await loadModel(device, `${fixture(name)}/model`);
  await model.loadAdapter(`${fixture(name)}/adapter_init`);
  await act(model);
  model.destroy();
}

/** The figures of a run. */
export async function records(model: Model, options: TrainOptions): Promise<StepRecord[]> {
  return await Array.fromAsync(train(model, { learningRate: 1e-2, schedule: "constant", ...options }));
}

/** The bits of all tensors of the adapter. */
export async function adapterBits(model: Model): Promise<Uint32Array[]> {
  return [...(await model.adapterTensors()).values()].map(bits);
}
