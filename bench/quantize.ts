// What frozen weights lose in each format: bytes, the error of the weights, and the loss on held-out text.
import { evaluate, loadDataset, loadModel, type Model, type Quantize } from "../mod.ts";
import { QUANTIZE } from "../src/train/formats.ts";
import { weightBytes } from "../src/cli/estimate.ts";
import type { Context } from "./kernel.ts";
import { BASE, exists, STORIES } from "./models.ts";
import type { QuantizedFigures, Row } from "./row.ts";
import { summary } from "../src/gpu/time.ts";

/** A model and text that it has not seen. */
interface Held {
  readonly name: string;
  readonly folder: string;
  readonly text: string;
  readonly maxLength: number;
  /** Rows of the text. */
  readonly rows: number;
}

const held: readonly Held[] = [
  {
    name: "stories260K",
    folder: STORIES,
    text: new URL("../../shared/datasets/tinystories-1000/stories.jsonl", import.meta.url).pathname,
    ...{ maxLength: 256, rows: 64 },
  },
  {
    name: "bundled base",
    folder: BASE,
    text: new URL("../examples/assets/old", import.meta.url).pathname,
    ...{ maxLength: 256, rows: 64 },
  },
];

/** Measure every model in every format. */
export async function benchQuantize(context: Context): Promise<Row[]> {
  const rows: Row[] = [];
  for (const model of context.quick ? held.slice(1) : held) {
    if (!exists(`${model.folder}/model.safetensors`) || !exists(model.text)) {
      context.say(`${model.name}: skipped, no ../shared`);
      continue;
    }
    let full: Reference | undefined;
    for (const format of QUANTIZE) {
      const { row, weights } = await measure(context, model, format, full);
      full ??= { weights, loss: row.quantized!.loss };
      rows.push(row);
      context.report(row);
    }
  }
  return rows;
}

/** The same model in f32. */
interface Reference {
  readonly weights: ReadonlyMap<string, Float32Array>;
  readonly loss: number;
}

async function measure(
  { device, quick }: Context,
  { name, folder, text, maxLength, rows }: Held,
  format: Quantize,
  full: Reference | undefined,
): Promise<{ readonly row: Row; readonly weights: ReadonlyMap<string, Float32Array> }> {
  const model = await loadModel(device, folder, { quantize: format });
  try {
    const data = await loadDataset(text, {
      ...{ tokenizer: model.tokenizer, split: "valid", maxLength, limit: quick ? 4 : rows },
    });
    const times: number[] = [];
    const { loss, tokens } = await evaluate(model, data); // compiles
    for (let i = 0; i < (quick ? 1 : 3); i++) {
      const start = performance.now();
      await evaluate(model, data);
      times.push(performance.now() - start);
    }
    const { median, best } = summary(times);
    const weights = await model.weights();
    const quantized: QuantizedFigures = {
      bytes: weightBytes(model.state.inventory, model.state.formats),
      packed: model.state.formats.size,
      ...weightError(model, weights, full?.weights ?? weights),
      loss,
      difference: loss - (full?.loss ?? loss),
    };
    const shown = format === "none" ? "f32" : format;
    return {
      weights,
      row: {
        ...{ family: "quantize", name: `${name}, ${shown}`, shape: `${tokens} tokens` },
        ...(full ? { error: quantized.rms } : {}),
        ...{ median, best, rate: 1000 * tokens / best, unit: "tokens/s" },
        quantized,
        note: noteOf(quantized),
      },
    };
  } finally {
    model.destroy();
  }
}

/** Of the weights that are packed: the largest error, and the root of the mean square relative to that of the weights. */
function weightError(
  { state: { formats } }: Model,
  weights: ReadonlyMap<string, Float32Array>,
  full: ReadonlyMap<string, Float32Array>,
): Pick<QuantizedFigures, "largest" | "rms"> {
  let largest = 0, errors = 0, squares = 0;
  for (const name of formats.keys()) {
    const exact = full.get(name)!;
    weights.get(name)!.forEach((w, i) => {
      const error = w - exact[i]!;
      largest = Math.max(largest, Math.abs(error));
      errors += error ** 2;
      squares += exact[i]! ** 2;
    });
  }
  return { largest, rms: Math.sqrt(errors / (squares || 1)) };
}

function noteOf({ bytes, packed, largest, rms, loss, difference }: QuantizedFigures): string {
  const sign = difference < 0 ? "-" : "+";
  return `${(bytes / 2 ** 20).toFixed(2)} MiB, ${packed} weights packed: error at most ${largest.toExponential(1)}, ` +
    `rms ${(100 * rms).toPrecision(2)} %; loss ${loss.toFixed(4)} (${sign}${Math.abs(difference).toExponential(1)})`;
}
