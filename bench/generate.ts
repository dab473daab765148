// Greedy generation with a key/value cache, for one sequence and for sixteen. Every position reads all weights once:
// the share is of copy bandwidth, which no decoder that does not batch positions can exceed by much.
import { generateIds, type Model } from "../mod.ts";
import type { Context } from "./kernel.ts";
import { ids } from "./random.ts";
import { type BenchModel, benchModels, chooseModels } from "./models.ts";
import type { Row } from "./row.ts";
import { summary } from "../src/gpu/time.ts";

const PROMPT = 8;

/** Measure generation with every model. */
export async function benchGenerate(context: Context): Promise<Row[]> {
  const rows: Row[] = [];
  const once = benchModels.filter(({ name, recompute }, i) =>
    !recompute && benchModels.findIndex((other) => other.name === name) === i
  );
  for (const model of chooseModels(context, once)) {
    for (const S of context.quick ? [1] : [1, 16]) {
      const row = await measure(context, model, S);
      rows.push(row);
      context.report(row);
    }
  }
  return rows;
}

async function measure({ device, peaks, quick }: Context, { name, open }: BenchModel, S: number): Promise<Row> {
  const model = await open(device);
  try {
    const large = model.parameters.total > 1e8;
    const maxNewTokens = quick ? 8 : device.software && large ? 16 : 120;
    const prompts = Array.from({ length: S }, (_, s) => [...ids(PROMPT, model.state.architecture.V, s + 1)]);
    const options = { maxNewTokens, ignoreEos: true };
    const start = performance.now();
    await generateIds(model, prompts, { ...options, maxNewTokens: Math.min(maxNewTokens, 60) });
    const first = performance.now() - start;
    await generateIds(model, prompts, options); // another cache length compiles again
    const times: number[] = [];
    for (let i = 0; i < (quick || large ? 1 : 3); i++) {
      const start = performance.now();
      await generateIds(model, prompts, options);
      times.push(performance.now() - start);
    }
    const { median, best } = summary(times);
    const error = await regret(model, [
      ...prompts[0]!,
      ...(await generateIds(model, prompts.slice(0, 1), options))[0]!,
    ]);
    const positions = PROMPT + maxNewTokens - 1;
    const bytes = 4 * model.parameters.total * positions;
    return {
      family: "generate",
      name,
      shape: `${S} x ${maxNewTokens}`,
      error,
      median,
      best,
      rate: 1000 * S * maxNewTokens / best,
      unit: "tokens/s",
      share_of_peak: bytes / best / 1e6 / peaks.bytes,
      note: `${(best / positions).toFixed(2)} ms a position, first call ${(first / 1000).toFixed(2)} s`,
    };
  } finally {
    model.destroy();
  }
}

/**
 * How far from the largest logit the chosen tokens lie, by a program that sees the whole text at once: the worst
 * difference, relative to the largest magnitude.
 */
async function regret(model: Model, text: readonly number[]): Promise<number> {
  const { logits: { data, shape: [, , V] } } = await model.forward({ input_ids: [[...text]] });
  let worst = 0, largest = 0;
  for (let t = PROMPT - 1; t < text.length - 1; t++) {
    const row = data.subarray(t * V!, (t + 1) * V!);
    const top = row.reduce((a, b) => Math.max(a, b), -Infinity);
    largest = Math.max(largest, Math.abs(top));
    worst = Math.max(worst, top - row[text[t + 1]!]!);
  }
  return worst / largest;
}
