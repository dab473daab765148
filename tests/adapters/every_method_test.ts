// Every method on a tiny Llama (grouped queries) and a tiny GPT-2 with random weights: logits and gradients against the
// float64 reference, off = the base bit for bit, only its own tensors change, files, merging, going on from a file.
import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import {
  type AdapterConfig,
  type Batch,
  bitfit,
  bottleneck,
  generateIds,
  type GraftDevice,
  ia3,
  lnTuning,
  loadModel,
  lora,
  type Model,
  prefixTuning,
  promptTuning,
  pTuning,
  train,
  vera,
} from "../../mod.ts";
import { buildAdapter } from "../../src/adapters/mod.ts";
import { CheckpointError } from "../../src/core/errors.ts";
import { gpuTest } from "../device.ts";
import { bits, GPT2, LLAMA, worstDifference, writeModel } from "../models/folder.ts";
import { withFolder } from "../temp_folder.ts";
import { disturb } from "./disturb.ts";
import { adaptedLogits, adaptedLoss } from "./reference.ts";
import { actsOf } from "./reference_methods.ts";

const llama = { ...LLAMA, vocab_size: 29, hidden_size: 16, intermediate_size: 20, attention_bias: true };
const tied = { ...llama, attention_bias: false, tie_word_embeddings: true };
const gpt2 = { ...GPT2, vocab_size: 29, n_embd: 16 };
const FAMILIES = { llama, "llama, tied": tied, gpt2 } as const;

const rows = [[3, 5, 9, 4, 7, 8, 20], [6, 3, 11, 9, 1, 2, 5]];
const BATCH: Batch = { input_ids: rows, labels: rows };

interface Row {
  readonly name: string;
  readonly config: AdapterConfig;
  readonly on: keyof typeof FAMILIES;
  /** Whether a fresh adapter changes nothing; "almost" up to rounding. */
  readonly fresh: "base" | "almost" | "other";
  /** What the refusal to merge says, where it cannot be done. */
  readonly refuses?: string;
  /** Also compare generation with the logits of the whole text, and training that goes on from a file. */
  readonly generates?: boolean;
  /** Tensors that training leaves alone. */
  readonly frozen?: RegExp;
}

const q = { targetModules: ["q_proj", "down_proj"] };
const c = { targetModules: ["c_attn", "mlp.c_proj"] };
const IN_FRONT = "positions in front";
const all = { rank: 3, alpha: 5 };

const ROWS: readonly Row[] = [
  { name: "LoRA", config: lora({ ...all, targetModules: "all-linear" }), on: "llama", fresh: "base" },
  {
    ...{ name: "LoRA with patterns, a regular expression and biases", on: "llama", fresh: "base" } as const,
    config: lora({
      ...{ ...all, targetModules: ".*\\.(q_proj|up_proj)", bias: "lora_only" } as const,
      ...{ rankPattern: { "layers\\.0\\.self_attn\\.q_proj": 5 }, alphaPattern: { "up_proj": 2, "q_proj": 7 } },
    }),
  },
  { name: "rsLoRA", config: lora({ ...all, ...c, rslora: true }), on: "gpt2", fresh: "base" },
  { name: "LoRA with biases of its own", config: lora({ ...all, ...c, loraBias: true }), on: "gpt2", fresh: "base" },
  {
    ...{ name: "LoRA with biases of its own", config: lora({ ...all, ...q, loraBias: true }), on: "llama" } as const,
    ...{ fresh: "base", refuses: "mlp.down_proj, which has none" } as const,
  },
  {
    name: "LoRA of the table",
    config: lora({ ...all, targetModules: ["embed_tokens", "v_proj"] }),
    on: "llama",
    fresh: "base",
  },
  {
    ...{
      name: "LoRA of the table and the output",
      on: "llama, tied",
      fresh: "base",
      refuses: "whose weight is also",
    } as const,
    config: lora({ ...all, targetModules: ["embed_tokens", "lm_head"] }),
  },
  { name: "DoRA", config: lora({ ...all, ...q, dora: true }), on: "llama", fresh: "almost" },
  { name: "DoRA", config: lora({ ...all, ...c, dora: true }), on: "gpt2", fresh: "almost" },
  {
    name: "tokens",
    generates: true,
    config: lora({ ...all, ...q, trainableTokens: [9, 3] }),
    on: "llama, tied",
    fresh: "base",
  },
  { name: "tokens", config: lora({ ...all, ...c, trainableTokens: { wte: [20] } }), on: "gpt2", fresh: "base" },
  { name: "VeRA", config: vera({ rank: 5, ...q }), on: "llama", fresh: "base", frozen: /vera_[AB]/ },
  { name: "VeRA", config: vera({ rank: 5, ...c, bias: "vera_only" }), on: "gpt2", fresh: "base", frozen: /vera_[AB]/ },
  { name: "IA3", config: ia3({ ...q, feedforwardModules: ["down_proj"] }), on: "llama", fresh: "base" },
  { name: "LayerNorm tuning", config: lnTuning(), on: "llama", fresh: "base" },
  { name: "BitFit", config: bitfit(), on: "gpt2", fresh: "base" },
  { name: "BitFit", config: bitfit({ targetModules: ["v_proj"] }), on: "llama", fresh: "base" },
  {
    name: "Houlsby",
    config: bottleneck({ placement: "houlsby", reductionFactor: 4 }),
    on: "llama",
    fresh: "base",
    refuses: "activation",
  },
  { name: "Pfeiffer", config: bottleneck({ reductionFactor: 3 }), on: "gpt2", fresh: "base", refuses: "activation" },
  { name: "parallel", config: bottleneck({ placement: "parallel" }), on: "gpt2", fresh: "base", refuses: "activation" },
  {
    name: "prompt tuning",
    generates: true,
    config: promptTuning({ virtualTokens: 3 }),
    on: "llama",
    fresh: "other",
    refuses: IN_FRONT,
  },
  {
    name: "P-tuning",
    generates: true,
    config: pTuning({ virtualTokens: 2, encoderWidth: 6 }),
    on: "gpt2",
    fresh: "other",
    refuses: IN_FRONT,
  },
  {
    name: "prefix tuning",
    generates: true,
    config: prefixTuning({ virtualTokens: 3 }),
    on: "llama",
    fresh: "other",
    refuses: IN_FRONT,
  },
  {
    ...{ name: "prefix tuning, projected", generates: true, on: "gpt2", fresh: "other", refuses: IN_FRONT } as const,
    config: prefixTuning({ virtualTokens: 2, projection: true, encoderWidth: 6 }),
  },
];

for (const row of ROWS) {
  gpuTest(`every method: ${row.name} on ${row.on}`, (device) => withFolder((folder) => check(device, row, folder)));
}

async function check(device: GraftDevice, row: Row, folder: string): Promise<void> {
  const { on, config, fresh, refuses, frozen, generates } = row;
  await writeModel(`${folder}/model`, FAMILIES[on]);
  const model = await loadModel(device, `${folder}/model`);
  const base = await logits(model), weights = await model.weights();
  await model.addAdapter(config, { seed: 3 });
  const first = await logits(model);
  if (fresh === "base") assertEquals(first, base);
  else if (fresh === "almost") assert(worstDifference(first, base) < 1e-5);
  else assertNotEquals(first, base);

  await disturb(model);
  await matchesReference(model);
  if (generates) await generatesAsForward(model);
  await trainsAlone(model, frozen);
  const trained = await logits(model);

  await model.saveAdapter(`${folder}/adapter`);
  await model.loadAdapter(`${folder}/adapter`, { name: "again" });
  assertEquals(await logits(model), trained);
  if (generates) await goesOn(model);

  if (refuses === undefined) {
    const adapted = await logits(model);
    await model.merge();
    const worst = worstDifference(await logits(model), adapted);
    assert(worst < 1e-5, `merged: ${worst}`); // f32 logits around 1
    await model.unmerge();
  } else {
    const error = await assertRejects(() => model.merge(), CheckpointError, refuses);
    assertEquals(error.code, "merge/method");
  }
  model.disableAdapter();
  assertEquals(await logits(model), base);
  for (const [key, data] of await model.weights()) assertEquals(bits(data), bits(weights.get(key)!), key);
  model.destroy();
}

async function matchesReference(model: Model): Promise<void> {
  const { config, layout } = model.state.adapters.get(model.activeAdapter!)!;
  const method = buildAdapter(config, "eval");
  const tensors = new Map([...await model.adapterTensors()].map(([key, data]) => [key, Float64Array.from(data)]));
  const weights = new Map<string, Float64Array>();
  for (const [name, data] of await model.weights()) {
    const saved = method.trains?.(name);
    weights.set(name, saved === undefined ? Float64Array.from(data) : tensors.get(saved)!);
  }
  const reference = { config: model.state.config, weights, acts: actsOf(config, tensors, 16) };
  const V = model.state.architecture.V, P = reference.acts.prompt ?? 0;
  const { logits: { data } } = await model.forward(BATCH);
  const expected = rows.flatMap((row) => adaptedLogits(reference, row).slice(P).flat());
  const most = Math.max(...expected.map(Math.abs));
  assertEquals(data.length, rows.length * rows[0]!.length * V);
  assert(worstDifference(data, expected) < 3e-6 * most, `logits: ${worstDifference(data, expected)} of ${most}`);

  const { loss, gradients } = await model.gradients(BATCH);
  const value = () => adaptedLoss(reference, rows);
  assert(Math.abs(value() - loss) < 3e-6 * Math.max(1, loss), `loss ${loss}, reference ${value()}`);
  assertEquals([...gradients.keys()].sort(), [...layout.tensors.keys()].sort());
  const largest = Math.max(...[...gradients.values()].map((g) => Math.max(...g.map(Math.abs))));
  const eps = 1e-5; // truncation and rounding of the f64 reference are both below 1e-9
  let worst = 0;
  const names = [...gradients.keys()];
  for (let n = 0; n < Math.max(24, names.length); n++) {
    const name = names[n % names.length]!, values = tensors.get(name)!;
    const i = (n * 7919) % values.length, kept = values[i]!;
    values[i] = kept + eps;
    const above = value();
    values[i] = kept - eps;
    const below = value();
    values[i] = kept;
    const error = Math.abs((above - below) / (2 * eps) - gradients.get(name)![i]!);
    if (error > worst) worst = error;
    assert(error < 2e-6 * Math.max(1, largest), `${name}[${i}]: off by ${error} of ${largest}`);
  }
  console.log(`gradients: off by at most ${worst.toExponential(1)}, the largest is ${largest.toPrecision(2)}`);
}

/** What is generated, position by position with a cache, is what the logits of the whole text say. */
async function generatesAsForward(model: Model): Promise<void> {
  const prompt = rows[0]!.slice(0, 4);
  const [written] = await generateIds(model, [prompt], { maxNewTokens: 5, ignoreEos: true });
  const text = [...prompt, ...written!];
  const { logits: { data, shape } } = await model.forward({ input_ids: [text] });
  const V = shape[2]!;
  for (let t = prompt.length; t < text.length; t++) {
    const scores = data.subarray((t - 1) * V, t * V);
    assertEquals(text[t], scores.indexOf(Math.max(...scores)), `token ${t}`);
  }
}

async function trainsAlone(model: Model, frozen: RegExp | undefined): Promise<void> {
  const before = await model.adapterTensors();
  for await (const _ of train(model, { data: [BATCH, BATCH], learningRate: 1e-2 }));
  for (const [key, data] of await model.adapterTensors()) {
    (frozen?.test(key) ? assertEquals : assertNotEquals)(bits(data), bits(before.get(key)!), key);
  }
}

/** Training goes on from a file as it does from what was saved. */
async function goesOn(model: Model): Promise<void> {
  const results = [];
  for (const name of ["default", "again"]) {
    model.setAdapter(name);
    for await (const _ of train(model, { data: [BATCH], learningRate: 1e-2 }));
    results.push([...(await model.adapterTensors()).values()].map(bits));
  }
  assertEquals(results[1], results[0]);
}

async function logits(model: Model): Promise<Float32Array> {
  return (await model.forward(BATCH)).logits.data;
}
