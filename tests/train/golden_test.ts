// Real small models against the numbers that PyTorch computed for them (../shared/models/*/golden.json).
import { assert, assertEquals } from "@std/assert";
import { adamw, type GraftDevice, loadModel, lora, type Model, train } from "../../mod.ts";
import { upload } from "../../src/gpu/buffer.ts";
import { pageName } from "../../src/optim/flat.ts";
import { gpuTest } from "../device.ts";
import { sharedFolder } from "../shared.ts";

interface Golden {
  readonly text: string;
  readonly input_ids: number[];
  readonly loss_f64: number;
  readonly last_logits: number[];
  readonly per_token_nll: number[];
  readonly grad_l2: Record<string, number>;
  readonly lora: {
    readonly loss: number;
    readonly grad_l2: Record<string, [number, number]>;
    readonly "adamw_lr1e-2_wd0.01_losses": number[];
  };
}

for (const name of ["stories260K-hf", "babyllama105-hf"]) {
  gpuTest(`${name}: tokens, loss, logits, gradients, LoRA and ten AdamW losses are PyTorch's`, async (device) => {
    const shared = sharedFolder();
    if (!shared) return;
    const folder = `${shared}/models/${name}`;
    const golden: Golden = JSON.parse(await Deno.readTextFile(`${folder}/golden.json`));
    await checkBase(device, folder, golden);
    await checkLora(device, folder, golden);
  });
}

async function checkBase(device: GraftDevice, folder: string, golden: Golden): Promise<void> {
  const model = await loadModel(device, folder);
  const ids = golden.input_ids;
  assertEquals(model.tokenizer.encode(golden.text).slice(0, ids.length), ids); // cut to 96 tokens in babyllama105
  const { loss, logits } = await model.forward({ input_ids: [ids], labels: [ids] });
  const V = logits.shape[2]!;
  const last = logits.data.subarray(logits.data.length - V);
  const nll = Math.max(...golden.per_token_nll.map((expected, t) => {
    const row = logits.data.subarray(t * V, (t + 1) * V);
    const top = Math.max(...row);
    const lse = top + Math.log(row.reduce((sum, x) => sum + Math.exp(x - top), 0));
    return Math.abs(lse - row[ids[t + 1]!]! - expected);
  }));
  const worst = Math.max(...golden.last_logits.map((x, i) => Math.abs(x - last[i]!)));
  await model.unfreeze();
  const { gradients } = await model.gradients({ input_ids: [ids], labels: [ids] });
  const gradient = Math.max(
    ...Object.entries(golden.grad_l2).map(([key, expected]) => Math.abs(l2(gradients.get(key)!) / expected - 1)),
  );
  console.log(
    `loss ${Math.abs(loss! - golden.loss_f64).toExponential(1)}, logits ${worst.toExponential(1)}, tokens ${
      nll.toExponential(1)
    }, gradient norms ${gradient.toExponential(1)}`,
  );
  assert(Math.abs(loss! - golden.loss_f64) < 1e-6); // f32 mean of 55 losses around 0.7
  assert(nll < 2e-5); // as the logits
  assert(worst < 2e-5); // logits up to 10 through five layers in f32
  assert(gradient < 1e-5); // norms of f32 sums
  model.destroy();
}

async function checkLora(device: GraftDevice, folder: string, golden: Golden): Promise<void> {
  const model = await loadModel(device, folder);
  await model.addAdapter(lora({ rank: 4, alpha: 8, targetModules: ["q_proj", "v_proj"] }));
  writeFactors(model);
  const batch = { input_ids: [golden.input_ids], labels: [golden.input_ids] };
  const { loss, gradients } = await model.gradients(batch);
  assert(Math.abs(loss - golden.lora.loss) < 1e-6, `LoRA loss ${loss}, expected ${golden.lora.loss}`);
  for (const [site, [a, b]] of Object.entries(golden.lora.grad_l2)) {
    for (const [factor, expected] of [["A", a], ["B", b]] as const) {
      const actual = l2(gradients.get(`base_model.model.${site}.lora_${factor}.weight`)!);
      assert(Math.abs(actual / expected - 1) < 1e-4, `${site} ${factor}: ${actual}, expected ${expected}`);
    }
  }
  const expected = golden.lora["adamw_lr1e-2_wd0.01_losses"];
  const losses: number[] = [];
  const run = train(model, {
    data: expected.map(() => batch),
    optimizer: adamw({ weightDecay: 0.01 }),
    learningRate: 1e-2,
    schedule: "constant",
    maxGradNorm: 0,
  });
  for await (const record of run) losses.push(record.loss);
  const worst = Math.max(...losses.map((x, i) => Math.abs(x - expected[i]!)));
  console.log(`ten AdamW losses: worst difference ${worst.toExponential(1)}`);
  assert(worst < 1e-4); // f32 against f64 over ten updates of rate 1e-2
  model.destroy();
}

/** A and B as golden.json describes them: a hash of the position, seeded module by module. */
function writeFactors(model: Model): void {
  const { layout, targets } = model.state.adapters.get("default")!;
  let seed = 0;
  for (const site of targets) {
    for (const [factor, shift] of [["A", 0], ["B", 100000]] as const) {
      const { shape, place } = layout.tensors.get(`base_model.model.${site}.lora_${factor}.weight`)!;
      const bound = factor === "A" ? 1 / Math.sqrt(shape[1]!) : 0.02;
      const values = Float32Array.from({ length: place.length }, (_, i) => {
        const x = Math.sin((i + seed + shift) * 12.9898) * 43758.5453;
        return bound * (2 * (x - Math.floor(x)) - 1);
      });
      const buffer = model.state.store.buffers.get(pageName(layout, "params", place.page))!;
      upload(model.device, buffer, values, 4 * place.offset);
    }
    seed += 1000003 % 7919;
  }
}

function l2(values: Float32Array): number {
  return Math.sqrt(values.reduce((sum, x) => sum + x * x, 0));
}
