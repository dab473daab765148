// Pre-trains the base model that Graft ships: a Llama of 0.9 M parameters, from random weights, on public-domain English
// (Moby Dick and the King James Bible), two passes in 47 minutes on two busy CPU cores with the software driver. Held-out
// loss then: 3.767 nats per token. The whole recipe:
//
//   sh examples/fetch_corpus.sh && deno task data     texts, tokenizer, runs/corpus/pretrain.txt
//   deno task pretrain                                runs/pretrained, to be copied to examples/assets/base
import { adamw, createModel, evaluate, loadDataset, loadTokenizer, openDevice, train } from "@graft/graft";

const CORPUS = "runs/corpus/pretrain";
const ASSETS = "examples/assets";
const OUTPUT = "runs/pretrained";
const TOKENIZER = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"];

const config = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  vocab_size: 1536,
  hidden_size: 128,
  intermediate_size: 352,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 32,
  max_position_embeddings: 256,
  rope_theta: 10000,
  rms_norm_eps: 1e-5,
  hidden_act: "silu",
  tie_word_embeddings: true,
  bos_token_id: 0,
  eos_token_id: 0,
  pad_token_id: 1,
};

// Every passage ends with the end token; all are joined and cut into windows, so that nothing is padded.
const passages = (await Deno.readTextFile(`${CORPUS}.txt`)).trim().split("\n\n");
await Deno.writeTextFile(`${CORPUS}.jsonl`, passages.map((text) => JSON.stringify({ text })).join("\n"));

const device = await openDevice();
const tokenizer = await loadTokenizer(`${ASSETS}/base`);
const maxLength = config.max_position_embeddings;
const data = await loadDataset(`${CORPUS}.jsonl`, { tokenizer, maxLength, packing: true });
const old = await loadDataset(`${ASSETS}/old`, { tokenizer, maxLength, split: "valid" });

const model = await createModel(device, config, { seed: 42, tokenizer });
await model.unfreeze();
console.log(`${model.parameters.total} parameters, ${data.report.tokens} tokens`);
const run = train(model, {
  data,
  optimizer: adamw({ beta2: 0.95, weightDecay: 0.1 }),
  learningRate: 3e-3,
  schedule: "cosine",
  warmupSteps: 100,
  epochs: Number(Deno.args[0] ?? 2),
  batchSize: 8,
  logEvery: 50,
});
for await (const { step, steps, loss, tokensPerSecond, secondsLeft } of run) {
  if (step % 50 !== 0 && step !== steps) continue;
  const minutes = (secondsLeft / 60).toFixed(1);
  console.log(
    `step ${step}/${steps}  loss ${loss.toFixed(3)}  ${tokensPerSecond.toFixed(0)} tokens/s  ${minutes} min left`,
  );
}

await model.saveMerged(OUTPUT, { dtype: "f16" });
for (const name of TOKENIZER) await Deno.copyFile(`${ASSETS}/base/${name}`, `${OUTPUT}/${name}`);
const { loss, tokens } = await evaluate(model, old);
console.log(`held-out loss ${loss.toFixed(4)} nats per token on ${tokens} tokens; saved ${OUTPUT}`);
if (!(loss < 4)) throw new Error(`Cannot call this a language model: its held-out loss is ${loss}`);
closeAll();

function closeAll(): void {
  model.destroy();
  device.gpu.destroy();
}
