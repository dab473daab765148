// AdaLoRA on models: what it computes and how its loss and gradients differ from those of its factors alone, a run whose
// ranks are shared out, and files with fewer ranks.
import { assert, assertEquals, assertNotEquals, assertRejects, assertThrows } from "@std/assert";
import { adalora, loadModel, lora, type Model, train } from "../../mod.ts";
import { matrix, multiply, transpose } from "../../src/core/linalg.ts";
import { ConfigError, UsageError } from "../../src/core/errors.ts";
import { inspectAdapter } from "../../src/cli/inspect_adapter.ts";
import { readAdapterFolder, writeAdapterFolder } from "../../src/io/adapter_file.ts";
import { gpuTest } from "../device.ts";
import { bits, fixture, worstDifference } from "../models/folder.ts";
import { withFolder } from "../temp_folder.ts";

const IDS = [[3, 1, 4, 1, 5, 9, 2, 6], [5, 3, 5, 8, 9, 7, 9, 3]];
const BATCH = { input_ids: IDS, labels: IDS };

async function logits(model: Model): Promise<Float32Array> {
  return (await model.forward(BATCH)).logits.data;
}

const CASES = [["llama-lora", ["q_proj", "down_proj"]], ["gpt2-lora", ["c_attn"]]] as const;

for (const [name, targetModules] of CASES) {
  gpuTest(`${name}, AdaLoRA: the output is that of E·A and B, the loss has the orthogonal term`, async (device) => {
    const model = await loadModel(device, `${fixture(name)}/model`);
    const base = await logits(model);
    await model.addAdapter(adalora({ targetModules, initialRank: 3, targetRank: 2 }));
    assertEquals(await logits(model), base); // E is 0
    const config = adalora({
      targetModules,
      initialRank: 3,
      targetRank: 2,
      init: false,
      alpha: 0.5,
      orthogonality: 0.7,
    });
    await model.addAdapter(config, { name: "random" });
    const output = await logits(model), tensors = await model.adapterTensors();
    const { loss, gradients } = await model.gradients(BATCH);

    // The same as plain LoRA: E·A in place of A, and alpha / r = 0.5 / (3 + 1e-5).
    const alpha = 3 * 0.5 / (3 + 1e-5);
    await model.addAdapter(lora({ targetModules, rank: 3, alpha }), { name: "plain" });
    await withFolder(async (out) => {
      await model.saveAdapter(out);
      const { config: json } = await readAdapterFolder(out);
      const plain = new Map(
        [...tensors].filter(([key]) => !key.endsWith("_E")).map(([key, data]) => {
          const e = tensors.get(key.replace(/_[AB]$/, "_E"))!, isA = key.endsWith("_A");
          const [R, width] = [3, data.length / 3];
          const scaled = isA ? data.map((x, i) => x * e[Math.floor(i / width)]!) : data;
          return [`${key}.weight`, { shape: isA ? [R, width] : [width, R], data: scaled }] as const;
        }),
      );
      await writeAdapterFolder(`${out}/plain`, { config: json, tensors: plain });
      await model.loadAdapter(`${out}/plain`, { name: "same" });
    });
    const same = await logits(model), { loss: without, gradients: parts } = await model.gradients(BATCH);
    const size = Math.max(...same.map(Math.abs));
    const apartOf = worstDifference(output, same) / size;
    console.log(`outputs ${apartOf.toExponential(1)}`);
    assert(apartOf < 1e-5); // factors of N(0, 1) make hidden numbers of hundreds
    assert(worstDifference(output, base) > 1e-2);

    // w / (2 · targets) · Σ ‖P·Pᵀ − I‖, whose gradient is 2·(P·Pᵀ − I)·P / ‖P·Pᵀ − I‖.
    const factors = [...tensors].filter(([key]) => !key.endsWith("_E"));
    let term = 0, worst = 0;
    for (const [key, data] of factors) {
      const isA = key.endsWith("_A"), width = data.length / 3;
      const p = isA ? matrix(3, width, data) : transpose(matrix(width, 3, data));
      const apart = multiply(p, transpose(p));
      for (let i = 0; i < 3; i++) apart.data[4 * i] = apart.data[4 * i]! - 1;
      const norm = Math.sqrt(apart.data.reduce((sum, x) => sum + x * x, 0));
      term += 0.7 * norm / factors.length;
      const d = multiply(apart, p), slope = isA ? d : transpose(d);
      const e = tensors.get(key.replace(/_[AB]$/, "_E"))!, plain = parts.get(`${key}.weight`)!;
      const expected = slope.data.map((x, i) =>
        2 * 0.7 / factors.length / norm * x + plain[i]! * (isA ? e[Math.floor(i / width)]! : 1)
      );
      const scale = Math.max(...expected.map(Math.abs));
      worst = Math.max(worst, worstDifference(gradients.get(key)!, expected) / scale);
    }
    console.log(`loss ${Math.abs(loss - without - term).toExponential(1)}, gradients ${worst.toExponential(1)}`);
    assert(Math.abs(loss - without - term) < 1e-5 * loss);
    assert(worst < 2e-5); // the norms are of numbers around 40
    model.setAdapter("random");
    await model.merge();
    assert(worstDifference(await logits(model), output) < 1e-5 * size);
    await model.unmerge();
    model.destroy();
  });
}

gpuTest("AdaLoRA: a run takes ranks away, its file leaves them out, and loads as the same adapter", async (device) => {
  const folder = `${fixture("llama-lora")}/model`;
  const [model, other] = [await loadModel(device, folder), await loadModel(device, folder)];
  const targetModules = ["q_proj", "v_proj", "up_proj"];
  const config = adalora({ targetModules, initialRank: 4, targetRank: 1, finalSteps: 4, warmupSteps: 2, interval: 3 });
  await model.addAdapter(config);
  const losses: number[] = [];
  const data = Array.from({ length: 16 }, () => BATCH);
  for await (const { loss } of train(model, { data, learningRate: 2e-2, schedule: "constant" })) losses.push(loss);
  assert(losses.at(-1)! < losses[0]!);
  const trained = await logits(model);
  await withFolder(async (out) => {
    await model.saveAdapter(out);
    const { config: json, tensors } = await readAdapterFolder(out);
    assertEquals([json["peft_type"], json["init_r"], json["target_r"], json["total_step"]], ["ADALORA", 4, 1, 16]);
    const pattern = json["rank_pattern"] as Record<string, boolean[]>;
    assertEquals(Object.keys(pattern).length, 6);
    assertEquals(Object.values(pattern).flat().filter(Boolean).length, 6); // 1 of 4 in the mean
    for (const [key, kept] of Object.entries(pattern)) {
      const R = kept.filter(Boolean).length;
      assertEquals(tensors.get(`base_model.model.${key}`)!.shape, [R, 1]);
      assertEquals(tensors.get(`base_model.model.${key.replace("_E", "_A")}`)!.shape[0], R);
      assertEquals(tensors.get(`base_model.model.${key.replace("_E", "_B")}`)!.shape[1], R);
    }
    assert(Object.values(pattern).some((kept) => !kept.includes(true))); // a module without any rank
    await other.loadAdapter(out);
    assertEquals(await logits(other), trained);
    assertEquals((await inspectAdapter(out, { model: folder })).problems, []);
    await other.saveAdapter(`${out}/again`);
    const again = await readAdapterFolder(`${out}/again`);
    assertEquals(again.config, json);
    for (const [key, { data }] of tensors) assertEquals(bits(again.tensors.get(key)!.data), bits(data), key);
    const broken = { ...json, rank_pattern: { ...pattern, [Object.keys(pattern)[0]!]: [true, true, true, false] } };
    await writeAdapterFolder(`${out}/broken`, { config: broken, tensors });
    await assertRejects(() => other.loadAdapter(`${out}/broken`, { name: "x" }), ConfigError, "this model needs");
  });
  await model.addAdapter({ ...config, totalSteps: 16 }, { name: "windows" });
  const twice = { data, learningRate: 2e-2, schedule: "constant", gradientAccumulation: 2, maxSteps: 1 } as const;
  const [first] = await Array.fromAsync(train(model, twice));
  assert(Math.abs(first!.loss - losses[0]!) < 1e-5); // the term counts once in a window of two
  assertNotEquals(losses[0], losses[1]);
  await model.addAdapter(adalora({ targetModules, warmupSteps: 16 }), { name: "late" });
  assertThrows(() => train(model, { data }), UsageError, "leave none between them");
  await assertRejects(() => model.combineAdapters(["late"]), UsageError, "of type ADALORA");
  assertThrows(() => adalora({ targetRank: 20, totalSteps: 3, warmupSteps: 3 }), ConfigError, "must be at most init_r");
  model.destroy();
  other.destroy();
});
