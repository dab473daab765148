// @genai-fi/nanogpt's own model, trainer and LoRA at the size of the shared benchmark: RMS norms and no biases, so its
// losses are its own.
import { readdirSync, readFileSync } from "node:fs";
import { backend, layout, measure, mode } from "./common.mjs";

// Its TensorFlow.js takes Deno for Node and calls a part of Node that the bundle left out: it must look like a browser.
globalThis.process = undefined;
globalThis.window ??= globalThis;
globalThis.document ??= { createElement: () => ({ getContext: () => null }) };

// The bundle keeps its TensorFlow.js to itself: tensor2d is found by the comment that names its source, then by the
// letters under which the chunk exports it.
const dist = new URL("./node_modules/@genai-fi/nanogpt/dist/", import.meta.url);
const source = "#region node_modules/@tensorflow/tfjs-core/dist/ops/tensor2d.js";
const text = (file) => readFileSync(new URL(file, dist), "utf8");
const chunk = readdirSync(dist).find((file) => file.endsWith(".js") && text(file).includes(source));
if (!chunk) throw new Error("the bundle of nanogpt has no tensor2d");
const local = /function ([\w$]+)\(/.exec(text(chunk).slice(text(chunk).indexOf(source)))[1];
const exports = text(chunk).slice(text(chunk).lastIndexOf("export {"));
const letters = exports.split(/[{},]/).map((part) => part.trim().split(" as ")).find(([name]) => name === local).at(-1);
const tensor2d = (await import(new URL(chunk, dist)))[letters];

const name = "@genai-fi/nanogpt"; // in a variable, as it is installed only where this runs
const { models, TeachableLLM } = await import(name);
const { default: Trainer } = await import(new URL("training/BasicTrainer.js", dist));
await TeachableLLM.selectBackend(backend);

const { L, D, H, F, V, T, B, r, alpha, adamw: { lr, b1, b2, eps, wd } } = layout;
const model = new models.NanoGPTV1({
  modelType: "GenAI_NanoGPT_v1",
  vocabSize: V,
  blockSize: T,
  nLayer: L,
  nHead: H,
  nEmbed: D,
  mlpFactor: F / D,
  useRope: false,
});
const trainer = new Trainer(model, {}, {
  learningRate: lr,
  beta1: b1,
  beta2: b2,
  epsilon: eps,
  weightDecay: wd,
  warmupSteps: 0,
  decayEpochs: 1e6,
  epochSteps: 1e6,
  lossScaling: 1,
});
if (mode === "lora") {
  await trainer.dummyPass(); // makes the weights that the adapter is put on
  model.createLoRA("a", { rank: r, alpha, variables: ["block_*_cAttn"] });
  model.attachLoRA("a");
}

await measure(async ({ x, y }) => {
  const xs = tensor2d(x, [B, T], "int32"), ys = tensor2d(y, [B, T], "int32");
  const loss = trainer.trainStep({}, { xs, ys });
  const [found] = await loss.data();
  const trained = model.weightStore.trainableVariables[0];
  const probe = trained.slice(trained.shape.map(() => 0), trained.shape.map(() => 1)); // ready after the update
  await probe.data();
  for (const tensor of [loss, xs, ys, probe]) tensor.dispose();
  return found;
});
