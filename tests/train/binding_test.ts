// Every tensor above one binding is cut: with bindings forced to 1 MiB a model computes what it computes without.
import { assert, assertEquals } from "@std/assert";
import { adamw, createModel, type GraftDevice, lora, train } from "../../mod.ts";
import { relativeError } from "../ops/harness.ts";
import { gpuTest, sharedDevice } from "../device.ts";

const MIB = 2 ** 20;

// Embedding, logits and hidden states exceed 1 MiB: 3001·128·4 = 1.5 MB, 2·160·3001·4 = 3.8 MB.
const gpt2 = {
  model_type: "gpt2",
  vocab_size: 3001,
  n_embd: 128,
  n_layer: 2,
  n_head: 4,
  n_positions: 160,
  n_inner: 1600,
};
const llama = {
  ...{ model_type: "llama", vocab_size: 3001, hidden_size: 128, intermediate_size: 1600, num_hidden_layers: 2 },
  ...{ num_attention_heads: 4, num_key_value_heads: 2, max_position_embeddings: 160, tie_word_embeddings: false },
};

const rows = Array.from({ length: 2 }, (_, b) => Array.from({ length: 160 }, (_, t) => (t * 37 + b * 1009) % 3001));
const batch = { input_ids: rows, labels: rows };

async function figures(device: GraftDevice, config: Record<string, unknown>, full: boolean) {
  const model = await createModel(device, config, { seed: 3 });
  if (full) await model.unfreeze();
  else await model.addAdapter(lora({ rank: 4, alpha: 8, targetModules: "all-linear", init: false }));
  const { logits, loss } = await model.forward(batch);
  const { gradients } = await model.gradients(batch);
  const losses: number[] = [];
  const run = train(model, {
    data: [batch, batch, batch],
    optimizer: adamw(),
    learningRate: 1e-2,
    gradientAccumulation: 1,
  });
  for await (const record of run) losses.push(record.loss);
  model.destroy();
  return { logits: logits.data, loss: loss!, gradients, losses };
}

// Two of the four: every shape is compiled twice, which costs more than the arithmetic.
for (const [name, config, full] of [["gpt2", gpt2, false], ["llama", llama, true]] as const) {
  gpuTest(`${name}, ${full ? "all weights" : "LoRA"}: bindings of 1 MiB change nothing`, async (whole) => {
    const cut = await sharedDevice({ maxBinding: MIB });
    const expected = await figures(whole, config, full);
    const actual = await figures(cut, config, full);
    // The order of some sums differs, so the last bits do: f32 sums of up to 3,001 terms.
    const logits = relativeError(actual.logits, expected.logits);
    assert(logits < 2e-6, `logits differ by ${logits}`);
    assert(Math.abs(actual.loss - expected.loss) < 2e-6);
    assertEquals([...actual.gradients.keys()], [...expected.gradients.keys()]);
    let worst = 0;
    for (const [key, gradient] of expected.gradients) {
      worst = Math.max(worst, relativeError(actual.gradients.get(key)!, gradient));
    }
    assert(worst < 1e-5, `gradients differ by ${worst}`);
    const losses = relativeError(actual.losses, expected.losses);
    assert(losses < 1e-5, `losses differ by ${losses}`);
    console.log(
      `differences: logits ${logits.toExponential(1)}, gradients ${worst.toExponential(1)}, losses ${
        losses.toExponential(1)
      }`,
    );
  });
}
