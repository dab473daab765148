// Fine-tunes the bundled base model on the bundled data: 30 updates of a LoRA adapter. About 15 seconds on two CPU
// cores.
//
//   deno run --allow-read=examples examples/finetune.ts
import { closeDevice, evaluate, loadDataset, loadModel, lora, openDevice, train } from "@graft/graft";

const assets = `${import.meta.dirname}/assets`;

const device = await openDevice();
const model = await loadModel(device, `${assets}/base`);
await model.addAdapter(lora({ rank: 8, alpha: 16, targetModules: "all-linear" }));
const { trained, total } = model.parameters;
console.log(`${trained} of ${total} parameters are trained, on ${device.name}`);

// Rows are cut to 64 tokens here to make the example short.
const reading = { tokenizer: model.tokenizer, maxLength: 64 };
const data = await loadDataset(`${assets}/sotu`, { ...reading, limit: 120 });
const held = await loadDataset(`${assets}/sotu`, { ...reading, limit: 30, split: "valid" });
const before = await evaluate(model, held);

const run = train(model, { data, batchSize: 4, maxSteps: 30, learningRate: 3e-3, warmupSteps: 3 });
for await (const { step, steps, loss } of run) {
  if (step % 10 === 0) console.log(`step ${step}/${steps}  loss ${loss.toFixed(3)}`);
}

const after = await evaluate(model, held);
console.log(`loss on rows it has not seen: ${before.loss.toFixed(3)} before, ${after.loss.toFixed(3)} after`);
let text = "Tonight, I ask the Congress to";
for await (const piece of model.generate(text, { maxNewTokens: 16 })) text += piece;
console.log(text);

// await model.saveAdapter("out") would write the adapter in PEFT's format; it needs --allow-write=out.
if (!(after.loss < before.loss - 0.02)) throw new Error("Cannot call this a success: the loss did not fall");
model.destroy();
closeDevice(device);
