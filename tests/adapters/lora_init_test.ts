// Starts of LoRA that PEFT has beside the usual one: what B·A is at first, that the base stays, that the converted file
// is a plain LoRA for the original base.
import { assert, assertEquals, assertNotEquals, assertRejects, assertThrows } from "@std/assert";
import { loadModel, lora, type LoraConfig, type Model, train } from "../../mod.ts";
import { matrix, multiply, svd, transpose } from "../../src/core/linalg.ts";
import { ConfigError, UsageError } from "../../src/core/errors.ts";
import { gpuTest } from "../device.ts";
import { bits, fixture, worstDifference } from "../models/folder.ts";
import { withFolder } from "../temp_folder.ts";

const IDS = [[3, 1, 4, 1, 5, 9, 2, 6], [5, 3, 5, 8, 9, 7, 9, 3]];

async function logits(model: Model): Promise<Float32Array> {
  return (await model.forward({ input_ids: IDS })).logits.data;
}

/** s·B·A of one module as [Out, In], and W in the same form. */
async function parts(model: Model, path: string, scale: number) {
  const tensors = await model.adapterTensors();
  const { In, Out, transposed } = model.state.inventory.sites.get(path)!;
  const a = tensors.get(`base_model.model.${path}.lora_A.weight`)!;
  const b = tensors.get(`base_model.model.${path}.lora_B.weight`)!;
  const R = a.length / In;
  const w = (await model.weights()).get(`${path}.weight`)!;
  const product = multiply(matrix(Out, R, b), matrix(R, In, a));
  return {
    delta: matrix(Out, In, product.data.map((x) => x * scale)),
    w: transposed ? transpose(matrix(In, Out, w)) : matrix(Out, In, w),
    b: matrix(Out, R, b),
  };
}

const CASES: readonly (readonly [name: string, path: string, targets: readonly string[]])[] = [
  ["llama-lora", "model.layers.1.mlp.down_proj", ["q_proj", "down_proj"]],
  ["gpt2-lora", "transformer.h.0.attn.c_attn", ["c_attn"]],
];

for (const [name, path, targetModules] of CASES) {
  for (const init of ["pissa", "pissa_niter_8", "olora"] as const) {
    gpuTest(
      `${name}, ${init}: starts as the base, is trained, saved for the original base, and merged`,
      async (device) => {
        const [model, other] = [
          await loadModel(device, `${fixture(name)}/model`),
          await loadModel(device, `${fixture(name)}/model`),
        ];
        const base = await logits(model), weights = await model.weights();
        const config: LoraConfig = lora({ rank: 4, alpha: 6, targetModules, init, rankPattern: { "layers.0.*": 2 } });
        await model.addAdapter(config);
        const fresh = await logits(model);
        assert(worstDifference(fresh, base) < 2e-6); // s·B·A·x comes and goes in f32
        const { delta, w, b } = await parts(model, path, 1.5);
        const all = svd(w, Math.min(w.rows, w.cols)).s, R = 4;
        const rest = w.data.reduce((sum, x, i) => sum + (x - delta.data[i]!) ** 2, 0);
        if (init === "olora") {
          const bb = multiply(transpose(b), b);
          assert(worstDifference(bb.data, bb.data.map((_, i) => i % (R + 1) === 0 ? 1 : 0)) < 1e-6); // Q's columns
          // Q[:, :R]·R[:R] has the first R columns of W.
          for (let o = 0; o < w.rows; o++) {
            for (let i = 0; i < R; i++) {
              assert(Math.abs(delta.data[o * w.cols + i]! / 1.5 - w.data[o * w.cols + i]!) < 1e-6);
            }
          }
        } else {
          const least = all.slice(R).reduce((sum, s) => sum + s * s, 0);
          assert(Math.abs(rest / least - 1) < (init === "pissa" ? 1e-6 : 0.02), `${rest} ${least}`);
        }

        const batch = { input_ids: IDS, labels: IDS };
        for await (const _ of train(model, { data: [batch, batch, batch], learningRate: 1e-2 }));
        const trained = await logits(model);
        assert(worstDifference(trained, base) > 1e-2);
        await withFolder(async (out) => {
          await model.saveAdapter(`${out}/plain`);
          const json = JSON.parse(await Deno.readTextFile(`${out}/plain/adapter_config.json`));
          assertEquals([json.r, json.lora_alpha, json.init_lora_weights], [8, 12, true]);
          assertEquals(json.rank_pattern, { "layers.0.*": 4 });
          await other.loadAdapter(`${out}/plain`);
          assert(worstDifference(await logits(other), trained) < 2e-6);
          await model.saveAdapter(`${out}/raw`, { convert: false });
          const warnings: string[] = [];
          await other.loadAdapter(`${out}/raw`, { name: "raw", warn: (text) => warnings.push(text) });
          assert(worstDifference(await logits(other), trained) < 2e-6);
          assertEquals(warnings.length, init === "pissa_niter_8" ? 1 : 0);
        });
        await model.merge();
        assert(worstDifference(await logits(model), trained) < 1e-5);
        await model.unmerge();
        model.disableAdapter();
        assertEquals(await logits(model), base);
        for (const [key, data] of await model.weights()) assertEquals(bits(data), bits(weights.get(key)!), key);
        await model.combineAdapters(["default"]);
        assert(worstDifference(await logits(model), trained) < 1e-5);
        model.destroy();
        other.destroy();
      },
    );
  }
}

gpuTest("orthogonal: factors are random, their product is nothing, another seed gives others", async (device) => {
  const model = await loadModel(device, `${fixture("llama-lora")}/model`);
  const base = await logits(model);
  const config = lora({ rank: 4, targetModules: ["q_proj"], init: "orthogonal" });
  await model.addAdapter(config);
  const { delta, b } = await parts(model, "model.layers.0.self_attn.q_proj", 1);
  assert(delta.data.every((x) => Math.abs(x) < 1e-8)); // f32 factors of about 0.1
  const deviation = Math.sqrt(b.data.reduce((sum, x) => sum + x * x, 0) / b.data.length);
  assert(deviation > 0.04 && deviation < 0.11, `${deviation}`); // N(0, 1)/10 along half of the directions
  assert(worstDifference(await logits(model), base) < 1e-6);
  const first = await model.adapterTensors();
  await model.addAdapter(config, { name: "other", seed: 7 });
  for (const [key, data] of await model.adapterTensors()) assertNotEquals(data, first.get(key));
  model.destroy();
});

gpuTest("what cannot start so is said before", async (device) => {
  assertThrows(() => lora({ rank: 3, init: "orthogonal" }), ConfigError, "even ranks only: received 3");
  assertThrows(() => lora({ rankPattern: { q: 5 }, init: "orthogonal" }), ConfigError, "received 5");
  assertThrows(() => lora({ init: "pissa", dora: true }), ConfigError, "with use_dora");
  assertThrows(() => lora({ init: "loftq" as "pissa" }), ConfigError, '"pissa_niter_<N>" or "olora": received "loftq"');
  const model = await loadModel(device, `${fixture("llama-lora")}/model`);
  const wide = lora({ rank: 17, targetModules: ["k_proj"], init: "olora" });
  await assertRejects(() => model.addAdapter(wide), UsageError, "has only 16");
  const table = lora({ targetModules: ["embed_tokens"], init: "pissa" });
  await assertRejects(() => model.addAdapter(table), UsageError, "a table of token vectors");
  assertEquals(model.adapters, []);
  model.destroy();
});
