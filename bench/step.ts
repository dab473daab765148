// LoRA training steps through the public API: rank 8 on the model's default targets, clipping, AdamW, batches of random
// tokens; losses are read every ten steps.
import { type Batch, lora, train } from "../mod.ts";
import type { Context } from "./kernel.ts";
import { ids } from "./kernel.ts";
import { type BenchModel, benchModels } from "./models.ts";
import { type Row, shareOf } from "./row.ts";
import { summary } from "./time.ts";

/** Measure a training step of every model. */
export async function benchStep(context: Context): Promise<Row[]> {
  const rows: Row[] = [];
  for (const model of benchModels(context)) {
    const row = await measure(context, model);
    rows.push(row);
    context.report(row);
  }
  return rows;
}

async function measure({ device, peaks }: Context, { name, B, T, steps, open }: BenchModel): Promise<Row> {
  const model = await open(device);
  try {
    const opened = performance.now();
    await model.addAdapter(lora({ rank: 8, alpha: 16 }));
    const { state } = model;
    const count = steps[device.software ? 0 : 1];
    const input_ids = Array.from({ length: B }, (_, b) => [...ids(T, state.architecture.V, b + 1)]);
    const batch: Batch = { input_ids, labels: input_ids };
    const looks: { ms: number; steps: number }[] = [];
    let first = 0, dispatches = 0, scratch = 0, last = 0;
    for await (const { step } of train(model, { data: Array.from({ length: count + 1 }, () => batch), logEvery: 10 })) {
      const now = performance.now();
      if (step === 1) {
        first = now - opened;
        for (const { executable } of state.programs.values()) {
          dispatches += executable.dispatches.length;
          scratch = Math.max(scratch, executable.scratchBytes);
        }
        last = now;
        continue;
      }
      // The records of one look come at once, those of two looks at least the 10 ms of a wait apart.
      if (now - last > 5) looks.push({ ms: now - last, steps: 0 });
      looks.at(-1)!.steps++;
      last = now;
    }
    const times = summary(looks.map(({ ms, steps }) => ms / steps));
    // Forward and dx of every weight that multiplies; the embedding multiplies as the head where it is tied.
    const weights = model.parameters.total -
      (state.architecture.tied ? 0 : state.architecture.V * state.architecture.D);
    const gflops = 4 * weights * B * T / times.best / 1e6;
    return {
      family: "step",
      name,
      shape: `${B}x${T}`,
      ...times,
      rate: 1000 * B * T / times.best,
      unit: "tokens/s",
      share_of_peak: shareOf(peaks, gflops, "GFLOP/s"),
      note: `${dispatches} dispatches, temporaries ${(scratch / 2 ** 20).toFixed(1)} MiB, first step ${
        (first / 1000).toFixed(2)
      } s`,
    };
  } finally {
    model.destroy();
  }
}
