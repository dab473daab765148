// Every method with its defaults on one small task, the beginnings of State of the Union addresses: what it trains, how
// far the loss on rows that it has not seen falls in 32 updates, and what a step costs beside LoRA's. The steps of all
// methods take turns, so that what else the machine does slows all of them alike. About a minute on two CPU cores.
//
//   deno run --allow-read=examples examples/methods.ts [seed]
import * as graft from "@graft/graft";

const { createModel, evaluate, loadDataset, loadModel, lora, train } = graft;
const assets = `${import.meta.dirname}/assets`;
const seed = Number(Deno.args[0] ?? 42);
const alpha = 16; // as `finetune` has it

/** Settings by method. No learning rate is given: `train` takes that of the method. */
const METHODS: Readonly<Record<string, graft.AdapterConfig | undefined>> = {
  ...{ "LoRA": lora({ alpha }), "LoRA+": lora({ alpha }), "rsLoRA": lora({ alpha, rslora: true }) },
  ...{ "PiSSA": lora({ alpha, init: "pissa" }), "OLoRA": lora({ alpha, init: "olora" }) },
  "LoRA, embeddings": lora({ alpha, targetModules: ["embed_tokens"] }),
  ...{ "DoRA": lora({ alpha, dora: true }), "AdaLoRA": graft.adalora({ alpha }), "VeRA": graft.vera() },
  ...{ "IA3": graft.ia3(), "LayerNorm tuning": graft.lnTuning(), "BitFit": graft.bitfit() },
  ...{ "prompt tuning": graft.promptTuning(), "P-tuning": graft.pTuning(), "prefix tuning": graft.prefixTuning() },
  "prefix, projected": graft.prefixTuning({ projection: true }),
  "bottleneck, houlsby": graft.bottleneck({ placement: "houlsby" }),
  "bottleneck, pfeiffer": graft.bottleneck(),
  "bottleneck, parallel": graft.bottleneck({ placement: "parallel" }),
  "all weights": undefined,
};

const device = await graft.openDevice();
const base = await loadModel(device, `${assets}/base`);
const { tokenizer } = base;
const weights = await base.weights();
const config = JSON.parse(await Deno.readTextFile(`${assets}/base/config.json`));
// The base has no biases. BitFit gets the same model with biases, which are zero.
const biased = { ...config, attention_bias: true, mlp_bias: true };
const data = await loadDataset(`${assets}/sotu`, { tokenizer, maxLength: 32, limit: 128 });
const held = await loadDataset(`${assets}/sotu`, { tokenizer, maxLength: 32, limit: 32, split: "valid" });
const { loss: unadapted } = await evaluate(base, held);
console.log(`${device.name}; loss of the base ${unadapted.toFixed(3)}; seed ${seed}`);

const runs = [];
for (const [name, method] of Object.entries(METHODS)) {
  const { bytes } = device.memory;
  const initial = ({ name }: { name: string }) => weights.get(name)?.slice();
  const model = await createModel(device, name === "BitFit" ? biased : config, { tokenizer, initial });
  await (method ? model.addAdapter(method, { seed }) : model.unfreeze());
  const before = await evaluate(model, held);
  const plus = name === "LoRA+" ? { loraPlus: { ratio: 16 } } : {};
  const steps = train(model, { data, epochs: 2, seed, logEvery: 1, ...plus })[Symbol.asyncIterator]();
  const { value } = await steps.next(); // compiles
  const figures = { rate: value!.learningRate, memory: device.memory.bytes - bytes, times: [] as number[] };
  runs.push({ ...figures, name, model, before, steps });
}
for (let left = runs; left.length > 0;) {
  const [first, ...rest] = left; // another one begins each round
  left = (await Array.fromAsync([...rest, first!], async (run) => {
    const start = performance.now(), { done } = await run.steps.next();
    if (!done) run.times.push(performance.now() - start);
    return done ? [] : [run];
  })).flat();
}

// The first quartile: what else the machine does makes steps longer, never shorter.
const typical = (times: number[]) => times.toSorted((a, b) => a - b)[times.length >> 2]!;
const gains: number[] = [];
console.log("method                   rate  trained  before   after    gain  time  memory");
for (const { name, model, before, rate, memory, times } of runs) {
  const after = await evaluate(model, held), figure = (x: number, digits: number) => x.toFixed(digits).padStart(8);
  const time = (typical(times) / typical(runs[0]!.times)).toFixed(2), mib = (memory / 2 ** 20).toFixed(1);
  const losses = [before.loss, after.loss, unadapted - after.loss].map((x) => figure(x, 3)).join("");
  const start = `${name.padEnd(21)} ${`${rate}`.padStart(7)} ${figure(model.parameters.trained, 0)}`;
  console.log(`${start} ${losses}  ${time}  ${mib} MiB`);
  gains.push(unadapted - after.loss);
  if (!(gains.at(-1)! > 0.05 && gains.at(-1)! > gains[0]! / 4)) throw new Error(`Cannot say that ${name} learns`);
  model.destroy();
}
base.destroy();
graft.closeDevice(device);
