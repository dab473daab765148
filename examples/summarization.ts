// Summarization: a small T5 is pre-trained on restoring texts with hidden words, then learns with LoRA to write their
// synopses; on descriptions of packages that do not exist, or on rows of a file. ROUGE on texts that were not seen.
//
//   deno run --allow-read examples/summarization.ts [folder or file, such as ../shared/datasets/summarization-debian]
import {
  adamw,
  closeDevice,
  createModel,
  type Example,
  generateIds,
  lora,
  openDevice,
  train,
  type TrainOptions,
} from "@graft/graft";
import { rouge } from "@graft/graft/metrics";
import { dice, type SummaryRow, summaryRows } from "./lib/packages.ts";
import { copying, HIDDEN, MARK, pairOf, tinyT5, wordTokenizer } from "./lib/tiny_t5.ts";

const SOURCE = 48, TARGET = 14, BATCH = 16;
const [path] = Deno.args;

const { rows, held: unseen } = await summaryRows(path);
const held = unseen.slice(0, 100);

const tokenizer = wordTokenizer(rows.map(({ document }) => document), path ? 2048 : 768);
const end = tokenizer.eosIds[0]!, [hidden, mark] = [HIDDEN, MARK].map((token) => tokenizer.tokenId(token)!);
const read = (text: string, most: number) =>
  tokenizer.encode(text.replace(/\s+/g, " "), { specialTokens: false }).slice(0, most - 1);

/** What stands behind a mark is to be written with the words that are hidden. */
const next = dice(3);
function denoising({ document }: SummaryRow): Example {
  const ids = read(document, SOURCE - 1), at = Math.floor(next() * Math.max(1, ids.length - TARGET));
  const source = ids.map((id) => next() < 0.12 ? hidden! : id);
  return pairOf(tokenizer, source.toSpliced(at, 0, mark!), [mark!, ...ids.slice(at, at + TARGET - 2)]);
}
const summarizing = ({ document, summary }: SummaryRow) =>
  pairOf(tokenizer, read(document, SOURCE), read(summary, TARGET));

const device = await openDevice();
const model = await createModel(device, tinyT5(tokenizer), { tokenizer, initial: copying });
await model.unfreeze();
async function learn(what: string, examples: readonly Example[], options: Omit<TrainOptions, "data">): Promise<void> {
  for await (
    const { step, steps, loss } of train(model, { ...options, data: { examples }, batchSize: BATCH, warmupSteps: 0.1 })
  ) {
    if (step % 20 === 0) console.log(`${what} ${step}/${steps}  loss ${loss.toFixed(3)}`);
  }
}
const prompts = held.map(({ document }) => [...read(document, SOURCE), end]);
const length = { maxNewTokens: TARGET };
async function write(): Promise<string[]> {
  const texts = await generateIds(model, prompts, path ? { ...length, minNewTokens: 5, repetitionPenalty: 2 } : length);
  return texts.map((ids) => tokenizer.decode(ids, { skipSpecialTokens: true }).trim());
}
const taken = (steps: number) => Array.from({ length: steps * BATCH }, (_, i) => rows[i % rows.length]!);

await learn("pre-training", taken(60).map(denoising), {
  learningRate: 2e-3,
  optimizer: adamw({ beta2: 0.98, weightDecay: 0 }),
});
const before = await write();
await model.addAdapter(lora({ rank: 16, alpha: 32, targetModules: "all-linear" }));
await learn("LoRA", taken(path ? 240 : 180).map(summarizing), { learningRate: 4e-3 });
const after = await write();

const lead = held.map(({ document }) => document.split(/\s+/).slice(0, 8).join(" "));
const scores = Object.entries({ "first 8 words": lead, before, after }).map(([name, texts]) => {
  const { rouge1, rouge2, rougeL } = rouge(texts, held.map(({ summary }) => summary));
  const figures = [rouge1, rouge2, rougeL].map(({ f1 }) => (100 * f1).toFixed(1).padStart(5));
  console.log(`${name.padEnd(13)}  ROUGE-1, 2, L ${figures.join(" ")}`);
  return rouge1.f1;
});
for (const [i, text] of after.slice(0, 4).entries()) console.log(`written: ${text}\n  right: ${held[i]!.summary}`);
if (!(scores[2]! >= 1.25 * scores[1]!)) {
  throw new Error("Cannot call this a success: ROUGE-1 rose by less than a quarter");
}
model.destroy();
closeDevice(device);
