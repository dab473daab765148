// A LoRA training step (rank 8 on the family's default targets, clipping, AdamW) on a batch of random tokens.
import { adamw, evaluate, type GraftDevice, lora, type Model } from "../mod.ts";
import type { Executable } from "../src/gpu/executable.ts";
import type { Arranged } from "../src/objectives/task.ts";
import { prepareBatch } from "../src/train/forward.ts";
import type { BenchModel } from "./models.ts";
import { ids } from "./random.ts";
import type { StepFigures } from "./row.ts";
import { summary, type Times } from "../src/gpu/time.ts";
import { type Updates, updates } from "./updates.ts";

/** Put a fresh adapter on the model; its updates. */
export async function loraUpdates(
  model: Model,
  { recompute = false }: Pick<BenchModel, "recompute"> = {},
): Promise<Updates> {
  await model.addAdapter(lora({ rank: 8, alpha: 16 }));
  return updates(model, { optimizer: adamw({ weightDecay: 0 }), lr: 2e-4, maxNorm: 1, decayAll: false, recompute });
}

/** Random tokens that are their own labels. */
export function randomBatch(model: Model, sizes: Pick<BenchModel, "B" | "T">): Arranged {
  const input_ids = randomRows(model, sizes).map((row) => [...row]);
  return prepareBatch(model.state, { input_ids, labels: input_ids });
}

function randomRows({ state }: Model, { B, T }: Pick<BenchModel, "B" | "T">): Uint32Array<ArrayBuffer>[] {
  return Array.from({ length: B }, (_, b) => ids(T, state.architecture.V, b + 1));
}

/** The loss before the first step: a fresh adapter changes nothing, so it is that of the base. */
async function baseLoss(model: Model, sizes: Pick<BenchModel, "B" | "T">): Promise<number> {
  model.disableAdapter();
  const examples = randomRows(model, sizes).map((row) => ({ ids: row, labels: Int32Array.from(row) }));
  return (await evaluate(model, { examples }, { batchSize: sizes.B })).loss;
}

/** Milliseconds a step, and what else there is to say about it. */
export interface MeasuredStep extends Times, StepFigures {
  /** Relative difference of the first loss from that of the base, which another program computes. */
  readonly error: number;
  /** Floating-point operations of the products of one step. */
  readonly flops: number;
}

/** Milliseconds of steps that raise the clocks of a GPU. */
const WARM_MS = 500;

/** Rounds of {@linkcode measureStep}: their median is reported. */
const ROUNDS = { software: 3, gpu: 5 };

/** Time `steps` updates that are queued without a wait between them, several times over. */
export async function measureStep(
  device: GraftDevice,
  { B, T, steps, recompute = false, open }: BenchModel,
): Promise<MeasuredStep> {
  device.memory.peak = device.memory.bytes;
  const model = await open(device);
  try {
    const steady = await loraUpdates(model, { recompute });
    const batch = randomBatch(model, { B, T });
    const kind = device.software ? "software" : "gpu";
    const count = steps[device.software ? 0 : 1];
    await steady.queue(batch, 0); // compiles
    const first = await steady.loss(0);
    let i = 1;
    for (const start = performance.now(); !device.software && performance.now() - start < WARM_MS;) {
      await steady.queue(batch, i++);
      await device.gpu.queue.onSubmittedWorkDone();
    }
    const times: number[] = [], encode: number[] = [];
    for (let round = 0; round < ROUNDS[kind]; round++) {
      const start = performance.now();
      await steady.queue(batch, i++);
      // Of the step that finds the device idle: a full queue would be waited for. A software driver computes in submit.
      encode.push(device.software ? encodeOnly(steady.programs()) : performance.now() - start);
      for (let k = 1; k < count; k++) await steady.queue(batch, i++);
      await device.gpu.queue.onSubmittedWorkDone();
      times.push((performance.now() - start) / count);
    }
    const { architecture } = model.state;
    // Forward and dx of every weight that multiplies; the embedding multiplies as the head where it is tied.
    const weights = model.parameters.total - (architecture.tied ? 0 : architecture.V * architecture.D);
    const programs = steady.programs();
    const figures = {
      ...{ steps: count, rounds: ROUNDS[kind], encode: summary(encode).median, peakBytes: device.memory.peak },
      dispatches: programs.reduce((sum, { dispatches }) => sum + dispatches.length, 0),
      perLayer: programs.reduce((sum, { perLayer }) => sum + perLayer, 0),
      joined: programs.reduce((sum, { joined }) => sum + joined, 0),
      scratchBytes: Math.max(...programs.map(({ scratchBytes }) => scratchBytes)),
    };
    steady.end();
    const error = Math.abs(first / await baseLoss(model, { B, T }) - 1);
    return { ...summary(times), ...figures, error, flops: 4 * weights * B * T };
  } finally {
    model.destroy();
  }
}

/** Milliseconds that JavaScript needs to encode the programs, which are not submitted. */
function encodeOnly(programs: readonly Executable[]): number {
  const start = performance.now();
  for (const { device: { gpu }, dispatches } of programs) {
    const encoder = gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (const { pipeline, group, grid: [x, y, z] } of dispatches) {
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(x, y, z);
    }
    pass.end();
    encoder.finish();
  }
  return performance.now() - start;
}
