// Models whose frozen weights are packed: the same numbers as the float64 reference of the unpacked weights, adapters
// that train over them, merging into the full weights, and folders that are quantized on disk.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { evaluate, loadModel, lora, type Model, train } from "../../mod.ts";
import { bytes, type PackedDType } from "../../src/core/dims.ts";
import { ModelError, UsageError } from "../../src/core/errors.ts";
import { openModelFolder } from "../../src/io/hf.ts";
import { pack, unpack } from "../../src/io/packing.ts";
import { openSafetensors } from "../../src/io/safetensors.ts";
import { quantizeFolder } from "../../src/train/quantize.ts";
import { gpuTest } from "../device.ts";
import { fixture, GPT2, LLAMA, randomWeights, worstDifference, writeModel } from "../models/folder.ts";
import { referenceLogits, referenceLoss, type ReferenceModel } from "../models/reference.ts";
import { withModel } from "../models/with_model.ts";
import { withFolder } from "../temp_folder.ts";

const FORMATS: readonly PackedDType[] = ["f16", "bf16", "int8", "nf4"];
const ids = [5, 1, 60, 33, 2, 2, 17, 9];
const batch = { input_ids: [ids, ids.toReversed()], labels: [ids, ids.toReversed()] };

/** What the device holds, as numbers. */
function unpacked(model: Model, weights: ReferenceModel["weights"]): ReferenceModel["weights"] {
  return new Map([...weights].map(([name, data]) => {
    const format = model.state.formats.get(name);
    return [name, format ? unpack(format, pack(format, Float32Array.from(data)), data.length) : data];
  }));
}

for (const [family, config] of Object.entries({ llama: { ...LLAMA, tie_word_embeddings: true }, gpt2: GPT2 })) {
  for (const quantize of FORMATS) {
    gpuTest(`${family} in ${quantize}: logits, loss and gradients of the unpacked weights`, async (device) => {
      await withModel(device, config, async (model, { weights }) => {
        const { formats, inventory } = model.state;
        const half = quantize === "f16" || quantize === "bf16";
        assertEquals(formats.size, inventory.sites.size - (half ? 0 : 1)); // the tied table is also the output map
        for (const [name, { shape }] of inventory.weights) {
          const dtype = formats.get(name) ?? "f32";
          assertEquals(model.state.store.sizes.get(name), bytes({ shape, dtype }), name);
        }
        const reference = { config, weights: unpacked(model, weights) };
        const { logits, loss } = await model.forward(batch);
        const wanted = referenceLogits(reference, ids).flat();
        // f32 rounding of two layers, as for f32 weights.
        assert(worstDifference(logits.data.subarray(0, wanted.length), wanted) < 2e-5);
        assert(Math.abs(loss! - referenceLoss(reference, batch.input_ids, batch.labels)) < 1e-5);

        await model.addAdapter(lora({ rank: 2, alpha: 4, targetModules: "all-linear" }));
        const { gradients } = await model.gradients(batch);
        const tensors = await model.adapterTensors();
        const adapted = (name: string, i: number, by: number) => {
          const moved = new Map([...tensors].map(([key, data]) => [key, Float64Array.from(data)]));
          moved.get(name)![i]! += by;
          return referenceLoss({ ...reference, adapter: { tensors: moved, scale: 2 } }, batch.input_ids, batch.labels);
        };
        const names = [...tensors.keys()].filter((name) => name.includes("lora_B")); // A has no gradient while B is zero
        for (const name of [names[0]!, names.at(-1)!]) {
          for (const i of [0, 3]) {
            const difference = (adapted(name, i, 1e-5) - adapted(name, i, -1e-5)) / 2e-5;
            assert(Math.abs(gradients.get(name)![i]! - difference) < 1e-5, `${name}[${i}]`);
          }
        }
      }, { quantize });
    });
  }
}

gpuTest("an adapter trains over nf4, and merges into the weights of the folder", async (device) => {
  const config = { ...LLAMA, tie_word_embeddings: true };
  await withModel(device, config, async (model, { weights }, folder) => {
    await model.addAdapter(lora({ rank: 4, alpha: 8, targetModules: ["q_proj", "down_proj"] }));
    const examples = batch.input_ids.map((row) => ({ ids: Uint32Array.from(row), labels: Int32Array.from(row) }));
    const before = await evaluate(model, { examples });
    const options = { data: { examples }, batchSize: 2, epochs: 30, learningRate: 2e-2 };
    for await (const _ of train(model, options));
    const after = await evaluate(model, { examples });
    assert(after.loss < before.loss - 0.5, `${before.loss} → ${after.loss}`);

    await model.saveAdapter(`${folder}/a`);
    await model.saveMerged(`${folder}/merged`);
    const full = await loadModel(device, `${folder}/m`);
    await full.loadAdapter(`${folder}/a`);
    const merged = await loadModel(device, `${folder}/merged`);
    const [adapted, saved] = [await full.forward(batch), await merged.forward(batch)];
    assert(worstDifference(adapted.logits.data, saved.logits.data) < 2e-5);

    // In place: the adapted maps become f32, and come back bit for bit.
    const packed = await model.forward(batch);
    await model.merge();
    assertEquals(model.state.formats.has("model.layers.0.self_attn.q_proj.weight"), false);
    assertEquals(model.state.formats.has("model.layers.0.self_attn.k_proj.weight"), true);
    const name = "model.layers.0.self_attn.q_proj.weight";
    assert(
      worstDifference((await model.weights()).get(name)!, (await merged.weights()).get(name)!) < 1e-6,
      "in place and on disk the same",
    );
    await model.unmerge();
    assertEquals((await model.forward(batch)).logits.data, packed.logits.data);
    assert(worstDifference((await full.weights()).get(name)!, weights.get(name)!) === 0);
    full.destroy();
    merged.destroy();
  }, { quantize: "nf4" });
});

gpuTest("all weights cannot be trained where some are packed", async (device) => {
  await withModel(device, LLAMA, async (model) => {
    const error = await assertRejects(() => model.unfreeze(), UsageError);
    assertEquals(error.code, "train/quantized");
  }, { quantize: "bf16" });
});

gpuTest("tables keep the halves in which they are stored, bit for bit", async (device) => {
  await withFolder(async (folder) => {
    const config = { ...LLAMA, torch_dtype: "float16" };
    await writeModel(`${folder}/m`, config, randomWeights(config), { dtype: "f16" });
    const full = await loadModel(device, `${folder}/m`);
    const halves = await loadModel(device, `${folder}/m`, { quantize: "f16" });
    assertEquals((await halves.forward(batch)).logits.data, (await full.forward(batch)).logits.data);
    const nf4 = await loadModel(device, `${folder}/m`, { quantize: "nf4" });
    assertEquals(nf4.state.formats.get("model.embed_tokens.weight"), "f16");
    assertEquals(nf4.state.formats.get("lm_head.weight"), "f16");
    for (const model of [full, halves, nf4]) model.destroy();
  });
});

for (const format of ["int8", "nf4"] as const) {
  for (const [family, config] of Object.entries({ llama: LLAMA, gpt2: GPT2 })) {
    gpuTest(`${family}: a folder in ${format} is what quantizing on load makes`, async (device) => {
      await withModel(device, config, async (model, _, folder) => {
        await quantizeFolder(`${folder}/m`, `${folder}/q`, { format });
        const stored = await loadModel(device, `${folder}/q`);
        assertEquals(stored.state.formats, model.state.formats);
        assertEquals((await stored.forward(batch)).logits.data, (await model.forward(batch)).logits.data);
        stored.destroy();
        const error = await assertRejects(() => loadModel(device, `${folder}/q`, { quantize: "bf16" }), UsageError);
        assertEquals(error.code, "model/quantized");
        await assertRejects(() => quantizeFolder(`${folder}/q`, `${folder}/q2`, { format }), UsageError, "already");
      }, { quantize: format });
    });
  }
}

Deno.test("a folder in nf4 has the names and the settings of bitsandbytes", async () => {
  await withFolder(async (folder) => {
    await writeModel(`${folder}/m`, LLAMA);
    await quantizeFolder(`${folder}/m`, `${folder}/q`, { format: "nf4" });
    const { config, ...opened } = await openModelFolder(`${folder}/q`);
    opened.close();
    const settings = config.quantization_config as Record<string, unknown>;
    assertEquals([settings.quant_method, settings.bnb_4bit_quant_type], ["bitsandbytes", "nf4"]);
    assertEquals([settings.load_in_4bit, settings.bnb_4bit_use_double_quant], [true, true]);
    assertEquals(opened.tensors.get("model.layers.1.mlp.up_proj.weight")!.shape, [40, 32]);
    assertEquals(opened.quantized.size, 14);

    const file = await openSafetensors(`${folder}/q/model.safetensors`);
    const name = "model.layers.1.mlp.up_proj.weight";
    const found = [...file.tensors].filter(([key]) => key.startsWith(name)).map((
      [key, { dtype, shape }],
    ) => [key.slice(name.length), dtype, ...shape]);
    assertEquals(found.filter(([key]) => !String(key).includes("state")).sort(), [
      ["", "U8", 640, 1],
      [".absmax", "U8", 20],
      [".nested_absmax", "F32", 1],
      [".nested_quant_map", "F32", 256],
      [".quant_map", "F32", 16],
    ]);
    const state = JSON.parse(new TextDecoder().decode(await file.read(`${name}.quant_state.bitsandbytes__nf4`)));
    file.close();
    assertEquals({ ...state, nested_offset: typeof state.nested_offset }, {
      ...{ quant_type: "nf4", blocksize: 64, dtype: "float32", shape: [40, 32] },
      ...{ nested_blocksize: 256, nested_dtype: "float32", nested_offset: "number" },
    });
  });
});

gpuTest("values that a format cannot hold, and methods that are not known, are refused", async (device) => {
  await withFolder(async (folder) => {
    const weights = randomWeights(LLAMA);
    weights.get("model.layers.0.mlp.up_proj.weight")!.data[7] = 70_000;
    await writeModel(`${folder}/m`, LLAMA, weights);
    await assertRejects(() => loadModel(device, `${folder}/m`, { quantize: "f16" }), ModelError, "element 7 is 70000");
    (await loadModel(device, `${folder}/m`, { quantize: "bf16" })).destroy();
    weights.get("model.layers.0.mlp.up_proj.weight")!.data[7] = NaN;
    await writeModel(`${folder}/n`, LLAMA, weights);
    await assertRejects(() => loadModel(device, `${folder}/n`, { quantize: "nf4" }), ModelError, "element 7 is NaN");
    await writeModel(`${folder}/g`, { ...LLAMA, quantization_config: { quant_method: "gptq" } });
    const error = await assertRejects(() => loadModel(device, `${folder}/g`), ModelError, "gptq");
    assertEquals(error.code, "model/quantization");
  });
});

gpuTest("the committed reference case stays close in every format", async (device) => {
  const folder = `${fixture("llama-lora")}/model`;
  const full = await loadModel(device, folder);
  const { V } = full.state.architecture;
  const input_ids = [Array.from({ length: 16 }, (_, t) => (7 * t + 3) % V)];
  const exact = (await full.forward({ input_ids, labels: input_ids })).loss!;
  full.destroy();
  // A random tiny model: what the weights lose shows in the loss about as much as here.
  for (const [quantize, bound] of [["f16", 1e-3], ["bf16", 1e-2], ["int8", 2e-2], ["nf4", 0.3]] as const) {
    const model = await loadModel(device, folder, { quantize });
    const { loss } = await model.forward({ input_ids, labels: input_ids });
    assert(Math.abs(loss! - exact) < bound, `${quantize}: ${loss} instead of ${exact}`);
    model.destroy();
  }
  await assertRejects(() => loadModel(device, `${folder}/none`, { quantize: "nf4" }), ModelError);
});
