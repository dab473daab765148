// What a training step costs beside its kernels: nothing is created, bound or read back once a length was seen, and
// lengths share their pipelines.
import { assert, assertEquals } from "@std/assert";
import { adamw } from "../../src/optim/mod.ts";
import { createModel, type GraftDevice, lora, type Model, train } from "../../mod.ts";
import { microProgram, microStep, type StepOptions, updateStep } from "../../src/train/step.ts";
import { prepareBatch } from "../../src/train/forward.ts";
import { gpuTest } from "../device.ts";

const V = 64;

async function adapted(device: GraftDevice, hidden_size = 32): Promise<Model> {
  const sizes = { vocab_size: V, hidden_size, intermediate_size: 48, num_hidden_layers: 2, num_attention_heads: 2 };
  const model = await createModel(device, { model_type: "llama", ...sizes, max_position_embeddings: 512 });
  await model.addAdapter(lora({ rank: 4, alpha: 8 }));
  return model;
}

function rows(T: number, B = 2): { readonly input_ids: number[][]; readonly labels: number[][] } {
  const input_ids = Array.from({ length: B }, (_, b) => Array.from({ length: T }, (_, t) => (7 * t + 3 * b) % V));
  return { input_ids, labels: input_ids };
}

const CALLS = ["createBuffer", "createBindGroup", "createComputePipeline", "createShaderModule"] as const;

/** How often WebGPU was asked to create something, and buffers were mapped, while `act` ran. */
async function countCalls(device: GraftDevice, act: () => Promise<void>): Promise<Record<string, number>> {
  const counts: Record<string, number> = { mapAsync: 0 };
  const { gpu } = device;
  const counted = <T extends object, K extends keyof T & string>(object: T, name: K) => {
    const original = object[name] as (...args: unknown[]) => unknown;
    counts[name] = 0;
    object[name] = function (this: unknown, ...args: unknown[]) {
      counts[name]!++;
      return original.apply(this, args);
    } as T[K];
    return () => object[name] = original as T[K];
  };
  const restore = [...CALLS.map((name) => counted(gpu, name)), counted(GPUBuffer.prototype, "mapAsync")];
  try {
    await act();
  } finally {
    restore.forEach((undo) => undo());
  }
  return counts;
}

const optimizer = adamw({ weightDecay: 0 });
const options: StepOptions = { optimizer, gradientAccumulation: 1, smoothing: 0, decayAll: false, recompute: false };

async function step({ state }: Model, T: number, i: number): Promise<void> {
  const batch = prepareBatch(state, rows(T));
  const scalars = { seed: 1, step: i, lr: 1e-3, slot: i, maxNorm: 1, corrections: optimizer.corrections(i + 1) };
  await microStep(state, batch, { ...scalars, lossScale: 1 / batch.items }, options);
  await updateStep(state, { ...scalars, lossScale: 1 }, options);
}

gpuTest("a step whose lengths were seen creates, binds and reads nothing", async (device) => {
  const model = await adapted(device);
  let i = 0;
  const steps = async () => {
    for (const T of [32, 64, 32]) await step(model, T, i++);
  };
  const first = await countCalls(device, steps);
  assertEquals([first.createBuffer! > 0, first.createBindGroup! > 0, first.mapAsync], [true, true, 0]);
  const later = await countCalls(device, async () => {
    await steps();
    await steps();
  });
  assertEquals(later, { mapAsync: 0, ...Object.fromEntries(CALLS.map((name) => [name, 0])) });
  model.destroy();
});

gpuTest("a run creates as much in many steps as in few, but for what it reads its losses into", async (device) => {
  const model = await adapted(device);
  const run = (steps: number) =>
    countCalls(device, async () => {
      const data = Array.from({ length: steps }, () => rows(32));
      await Array.fromAsync(train(model, { data, logEvery: steps }));
    });
  await run(2); // compiles; the second plan may add to the memory that programs take turns with
  await run(2);
  const few = await run(2), many = await run(12);
  const besideReads = ({ createBuffer, mapAsync, ...others }: Record<string, number>) => ({
    createBuffer: createBuffer! - mapAsync!,
    ...others,
  });
  assertEquals(besideReads(many), besideReads(few));
  model.destroy();
});

for (const kind of ["software", "gpu", "default"] as const) {
  gpuTest(`lengths share pipelines (${kind})`, async (device) => {
    const model = await adapted(device, 256);
    const compiled = (T: number) => microProgram(model.state, prepareBatch(model.state, rows(T, 8)), options);
    await compiled(128);
    const known = device.pipelines.size;
    // Few are made for a number of rows: the sum of all losses, and attention on a software driver.
    for (const T of [96, 64]) {
      await compiled(T);
      assert(device.pipelines.size <= known + 2, `${device.pipelines.size - known} of ${known} pipelines were added`);
    }
    model.destroy();
  }, kind === "software" ? {} : { kind });
}
