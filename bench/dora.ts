// DoRA beside LoRA: training steps of the same model, by turns in one run, so that both see the same machine.
import { adamw, lora } from "../mod.ts";
import { summary } from "../src/gpu/time.ts";
import type { Context } from "./kernel.ts";
import { type BenchModel, chooseModels, doraModels } from "./models.ts";
import type { Row } from "./row.ts";
import { randomBatch } from "./step_measure.ts";
import { type Updates, updates } from "./updates.ts";

/** The most that a DoRA step may take of a LoRA step. */
const LIMIT = 1.25;

/** Pairs of steps; the median of their ratios counts. */
const PAIRS = { quick: 2, software: 9, gpu: 40 };

/** Measure both on every model, with all linear maps adapted. */
export async function benchDora(context: Context): Promise<Row[]> {
  const rows: Row[] = [];
  for (const model of chooseModels(context, doraModels)) {
    rows.push(...await measure(context, model));
  }
  return rows;
}

async function measure({ device, quick, report, check }: Context, { name, B, T, open }: BenchModel): Promise<Row[]> {
  const models = [await open(device), await open(device)];
  const runs: { readonly steps: Updates; readonly times: number[] }[] = [];
  try {
    const batch = randomBatch(models[0]!, { B, T });
    for (const [i, model] of models.entries()) {
      await model.addAdapter(lora({ rank: 8, alpha: 16, dora: i === 1, targetModules: "all-linear" }));
      const settings = { optimizer: adamw({ weightDecay: 0 }), lr: 2e-4, maxNorm: 1, decayAll: false };
      runs.push({ steps: updates(model, settings), times: [] });
    }
    const pairs = quick ? PAIRS.quick : device.software ? PAIRS.software : PAIRS.gpu;
    for (let i = 0; i <= pairs; i++) {
      for (const { steps, times } of runs) {
        const start = performance.now();
        await steps.queue(batch, i);
        await device.gpu.queue.onSubmittedWorkDone();
        if (i > 0) times.push(performance.now() - start); // the first one compiles
      }
    }
    const [plain, dora] = runs.map(({ times }) => times);
    const ratio = summary(dora!.map((ms, i) => ms / plain![i]!)).median;
    check({
      name: `${name}: DoRA step by LoRA step`,
      value: ratio,
      ...(quick ? {} : { limit: LIMIT, met: ratio <= LIMIT }),
    });
    return runs.map(({ times, steps }, i) => {
      const { median, best } = summary(times);
      const dispatches = steps.programs().reduce((sum, program) => sum + program.dispatches.length, 0);
      const row: Row = {
        ...{ family: "dora", name: `${name}, ${i === 1 ? "DoRA" : "LoRA"}`, shape: `${B}x${T}`, median, best },
        ...{ rate: 1000 * B * T / median, unit: "tokens/s" as const },
        note: `${dispatches} dispatches${i === 1 ? `, ${ratio.toFixed(2)} times LoRA's time` : ""}`,
      };
      report(row);
      return row;
    });
  } finally {
    runs.forEach(({ steps }) => steps.end());
    models.forEach((model) => model.destroy());
  }
}
