// LoRA training steps of whole models, and the table of them that issue 3 sets targets for on an H100.
import { OutOfMemoryError } from "../mod.ts";
import { type FirstStep, firstStep } from "./first_step.ts";
import type { Context } from "./kernel.ts";
import { type BenchModel, benchModels, chooseModels, labelOf } from "./models.ts";
import { type Row, shareOf } from "./row.ts";
import { measureStep } from "./step_measure.ts";
import { stepTable } from "./step_table.ts";

/** Measure a training step of every model. */
export async function benchStep(context: Context): Promise<Row[]> {
  return await benchRows(context, chooseModels(context));
}

/** The same for the models that have a target, and the table of them. */
export async function benchStepTable(context: Context): Promise<Row[]> {
  const models = benchModels.filter(({ target }) => target !== undefined);
  const rows = await benchRows(context, chooseModels(context, models));
  context.say(["", `LoRA steps (r = 8), ${context.device.name}`, "", ...stepTable(rows)].join("\n"));
  return rows;
}

async function benchRows(context: Context, models: readonly BenchModel[]): Promise<Row[]> {
  const rows: Row[] = [];
  for (const model of models) {
    try {
      const row = await measure(context, model);
      rows.push(row);
      context.report(row);
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error;
      context.say(`${labelOf(model)}: skipped, ${error.message}`);
    }
  }
  return rows;
}

async function measure({ device, peaks, quick }: Context, model: BenchModel): Promise<Row> {
  const { name, B, T, target } = model;
  const { median, best, flops, error, ...figures } = await measureStep(device, model);
  const first = quick ? undefined : await firstStep(labelOf(model));
  return {
    ...{ family: "step", name, shape: `${B}x${T}`, error, median, best },
    rate: 1000 * B * T / median,
    unit: "tokens/s",
    share_of_peak: shareOf(peaks, flops / median / 1e6, "GFLOP/s"),
    step: { ...figures, ...first ? { first } : {}, ...target === undefined ? {} : { target } },
    note: noteOf(median, figures, first),
  };
}

function noteOf(
  median: number,
  { dispatches, perLayer, joined, encode, scratchBytes, peakBytes }: Omit<NonNullable<Row["step"]>, "first">,
  first: FirstStep | undefined,
): string {
  const mib = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
  return [
    `${dispatches} dispatches (${perLayer.toFixed(1)} a layer, ${joined} more without fusion)`,
    `encoded in ${encode.toFixed(2)} ms, ${(100 * encode / median).toPrecision(2)} % of the step`,
    `temporaries ${mib(scratchBytes)}`,
    `memory ${mib(peakBytes)}`,
    ...first ? [`first step ${first.cold.toFixed(2)} s cold, ${first.warm.toFixed(2)} s warm`] : [],
  ].join(", ");
}
