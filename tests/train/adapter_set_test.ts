// Several adapters on one base: switched, merged, combined, saved, deleted.
import { assert, assertEquals, assertNotEquals, assertRejects, assertThrows } from "@std/assert";
import { type Batch, type GraftDevice, loadModel, lora, type Model, train } from "../../mod.ts";
import { CheckpointError, GraftError, NumericError, UsageError } from "../../src/core/errors.ts";
import { readAdapterFolder, writeAdapterFolder } from "../../src/io/adapter_file.ts";
import { encodeSafetensors } from "../../src/io/safetensors_write.ts";
import { asBytes } from "../../src/io/tensor_dtype.ts";
import { gpuTest } from "../device.ts";
import { bits, fixture, worstDifference } from "../models/folder.ts";
import { withFolder } from "../temp_folder.ts";

const FOLDER = fixture("llama-lora");
const BATCH: Batch = { input_ids: [[3, 1, 4, 1, 5, 9, 2, 6], [5, 3, 5, 8, 9, 7, 9, 3]] };

async function logits(model: Model): Promise<Float32Array> {
  return (await model.forward(BATCH)).logits.data;
}

/** A model with adapters "a" and "b" that differ, "b" in use. */
async function withTwo(device: GraftDevice, act: (model: Model) => Promise<void>): Promise<void> {
  const model = await loadModel(device, `${FOLDER}/model`);
  await model.loadAdapter(`${FOLDER}/adapter_final`, { name: "a" });
  await model.addAdapter(lora({ rank: 3, alpha: 6, targetModules: ["q_proj", "down_proj"], init: false }), {
    name: "b",
  });
  await act(model);
  model.destroy();
}

gpuTest(
  "switching back compiles nothing; a second adapter of the same form no new pipeline",
  (device) =>
    withTwo(device, async (model) => {
      await model.loadAdapter(`${FOLDER}/adapter_init`, { name: "c" });
      const c = await logits(model);
      const pipelines = device.pipelines.size;
      model.setAdapter("a");
      const a = await logits(model);
      assertEquals(device.pipelines.size, pipelines);
      const programs = new Set(model.state.programs.values());
      for (let i = 0; i < 3; i++) {
        model.setAdapter("c");
        assertEquals(await logits(model), c);
        model.setAdapter("a");
        assertEquals(await logits(model), a);
      }
      assertEquals(new Set(model.state.programs.values()), programs);
      model.disableAdapter();
      const base = await logits(model);
      assertNotEquals(base, a);
      model.enableAdapter();
      assertEquals([model.activeAdapter, await logits(model)], ["a", a]);
      assertEquals(model.adapters, ["a", "b", "c"]);
    }),
);

gpuTest("a deleted adapter leaves nothing; its name can be used again", (device) =>
  withTwo(device, async (model) => {
    model.disableAdapter();
    const base = await logits(model);
    const buffers = [...model.state.store.buffers.keys()].sort(), programs = [...model.state.programs.keys()];
    await model.loadAdapter(`${FOLDER}/adapter_init`, { name: "b c" }); // begins like another name
    await model.loadAdapter(`${FOLDER}/adapter_final`, { name: "c" });
    const c = await logits(model);
    for await (const _ of train(model, { data: [{ ...BATCH, labels: BATCH.input_ids }], learningRate: 1e-2 }));
    await model.deleteAdapter("c");
    assertEquals([model.activeAdapter, model.adapters], [undefined, ["a", "b", "b c"]]);
    assertEquals(await logits(model), base);
    await model.addAdapter(lora({ targetModules: ["v_proj"], init: false }), { name: "c" });
    assertNotEquals(await logits(model), c);
    await model.deleteAdapter("c");
    await model.deleteAdapter("b c");
    const left = [...model.state.store.buffers.keys()].filter((name) => name.includes("adapter ")).sort();
    assertEquals(left, buffers.filter((name) => name.includes("adapter ")));
    assertEquals([...model.state.programs.keys()].filter((key) => !key.startsWith("evaluate")), programs);
    assertEquals((await assertRejects(() => model.deleteAdapter("c"), UsageError)).code, "adapter/unknown");
    assertThrows(() => model.enableAdapter(), CheckpointError, "none was in use");
    model.setAdapter("a");
    await model.merge();
    await assertRejects(() => model.deleteAdapter("a"), CheckpointError, '"a" as it is merged');
    await model.deleteAdapter("b");
    await model.unmerge();
    assertEquals(model.activeAdapter, "a");
  }));

/** Base weights plus Σ weight·scale·B·A, in f64. */
async function expected(model: Model, parts: readonly (readonly [name: string, weight: number, scale: number])[]) {
  const weights = new Map([...await model.weights()].map(([name, data]) => [name, Float64Array.from(data)]));
  for (const [name, weight, scale] of parts) {
    model.setAdapter(name);
    const tensors = await model.adapterTensors();
    for (const [key, a] of tensors) {
      const path = /^base_model\.model\.(.*)\.lora_A\.weight$/.exec(key)?.[1];
      if (path === undefined) continue;
      const b = tensors.get(key.replace("lora_A", "lora_B"))!, w = weights.get(`${path}.weight`)!;
      const { In, Out } = model.state.inventory.sites.get(path)!, R = a.length / In;
      for (let o = 0; o < Out; o++) {
        for (let r = 0; r < R; r++) {
          for (let i = 0; i < In; i++) w[o * In + i] = w[o * In + i]! + weight * scale * b[o * R + r]! * a[r * In + i]!;
        }
      }
    }
  }
  return weights;
}

async function worstWeight(model: Model, wanted: ReadonlyMap<string, Float64Array>): Promise<number> {
  const found = await model.weights();
  return Math.max(...[...wanted].map(([name, data]) => worstDifference(found.get(name)!, data)));
}

gpuTest(
  "two adapters merged are the sum of both; undone bit for bit; a broken one changes nothing",
  (device) =>
    withTwo(device, async (model) => {
      const before = await model.weights();
      const wanted = await expected(model, [["a", 1, 2], ["b", 1, 2]]);
      model.disableAdapter();
      await model.merge(["a", "b"]);
      const worst = await worstWeight(model, wanted);
      console.log(`merged weights: ${worst.toExponential(1)}`);
      assert(worst < 1e-6); // f32 sums of a dozen products near 1
      const merged = await logits(model);
      const already = await assertRejects(() => model.merge(["a"]), CheckpointError, '"a" and "b" is merged already');
      assertEquals(already.code, "merge/already");
      await model.unmerge();
      for (const [name, data] of await model.weights()) assertEquals(bits(data), bits(before.get(name)!), name);
      await withFolder(async (out) => {
        await model.saveMerged(`${out}/m`, { adapters: ["a", "b"] });
        const saved = await loadModel(device, `${out}/m`);
        assertEquals(await logits(saved), merged);
        saved.destroy();

        const { config, tensors } = await readAdapterFolder(`${FOLDER}/adapter_final`);
        tensors.values().toArray().at(-1)!.data[0] = Infinity;
        await writeAdapterFolder(`${out}/broken`, { config, tensors });
        await model.loadAdapter(`${out}/broken`, { name: "broken" });
        const error = await assertRejects(() => model.merge(["a", "broken"]), NumericError, "nothing was changed");
        assertEquals(error.code, "merge/non-finite");
      });
      for (const [name, data] of await model.weights()) assertEquals(bits(data), bits(before.get(name)!), name);
      await assertRejects(() => model.merge([]), UsageError, "no adapter");
      await assertRejects(() => model.merge(["a", "x"]), UsageError, '"x"');
    }),
);

gpuTest(
  "cat and svd of two adapters are their weighted sum, also from the file that is saved",
  (device) =>
    withTwo(device, async (model) => {
      const wanted = await expected(model, [["a", 0.7, 2], ["b", -0.3, 2]]);
      const weights = [0.7, -0.3];
      await model.combineAdapters(["a", "b"], { weights });
      const cat = await logits(model);
      await model.combineAdapters(["a", "b"], { weights, combination: "svd", rank: 7, name: "svd" });
      for (const name of ["combined", "svd"]) {
        model.setAdapter(name);
        await model.merge();
        const worst = await worstWeight(model, wanted);
        console.log(`${name}: ${worst.toExponential(1)}`);
        assert(worst < 1e-6);
        await model.unmerge();
      }
      await withFolder(async (out) => {
        model.setAdapter("combined");
        await model.saveAdapter(out);
        const json = JSON.parse(await Deno.readTextFile(`${out}/adapter_config.json`));
        assertEquals([json.r, json.lora_alpha], [4, 4]); // most modules have that of "a" alone
        assertEquals(json.rank_pattern["model.layers.0.self_attn.q_proj"], 7);
        await model.loadAdapter(out, { name: "again" });
        assertEquals(await logits(model), cat);
      });
      await model.combineAdapters(["a", "a"], { weights: [0.5, 0.5], combination: "ties", density: 1, name: "ties" });
      const twice = await logits(model);
      model.setAdapter("a");
      assert(worstDifference(twice, await logits(model)) > 1e-3); // ties averages: half of "a"
    }),
);

gpuTest("what cannot be combined is said at once", (device) =>
  withTwo(device, async (model) => {
    const base = { names: ["a", "b"], options: {} };
    const rows: readonly (readonly [text: string, call: Partial<typeof base>])[] = [
      ["no adapter is given", { names: [] }],
      ["a weight for each of 2 adapters: received 1; weights must be numbers", { options: { weights: [NaN] } }],
      ["ties needs density", { options: { combination: "ties" } }],
      ["density must be in (0, 1]: received 2", { options: { density: 2 } }],
      ["combination must be one of cat, linear", { options: { combination: "sum\x1b" } }],
      ["has ranks 4 and 3", { options: { combination: "linear" } }],
      ["rank must be a whole number above 0: received 0", { options: { rank: 0 } }],
      ['majoritySign must be "total" or "frequency"', { options: { majoritySign: "x" } }],
      ['the model has "a", "b"', { names: ["a", "z"] }],
      ['"full" has more than factors A and B: base_model.model.lm_head.weight', { names: ["full"] }],
    ];
    await model.addAdapter(lora({ targetModules: ["q_proj"], modulesToSave: ["lm_head"] }), { name: "full" });
    for (const [text, call] of rows) {
      const { names, options } = { ...base, ...call };
      const { message } = await assertRejects(() => model.combineAdapters(names, options), GraftError);
      assert(message.includes(text) && !message.includes("\x1b"), message);
    }
    assertEquals(model.adapters, ["a", "b", "full"]);
  }));

gpuTest(
  "all adapters of a model are saved as PEFT places them, and loaded by name or together",
  (device) =>
    withTwo(device, async (model) => {
      const b = await logits(model);
      await withFolder(async (out) => {
        await model.saveAdapter(`${out}/one`, { name: "a" });
        await model.saveAdapters(`${out}/named`);
        await model.loadAdapter(`${FOLDER}/adapter_init`);
        await model.saveAdapters(`${out}/all`);
        const names = (path: string) => Array.from(Deno.readDirSync(`${out}/${path}`), ({ name }) => name).sort();
        assertEquals(names("named"), ["a", "b"]);
        assertEquals(names("all"), ["README.md", "a", "adapter_config.json", "adapter_model.safetensors", "b"]);
        const other = await loadModel(device, `${FOLDER}/model`);
        await other.loadAdapter(`${out}/named`, { name: "b" });
        assertEquals(await logits(other), b);
        await assertRejects(() => other.loadAdapter(`${out}/named`, { name: "c" }), CheckpointError, "called a, b");
        await assertRejects(() => other.loadAdapters(`${out}/named`), UsageError, '"b"');
        assertEquals(other.adapters, ["b"]);
        await other.deleteAdapter("b");
        assertEquals(await other.loadAdapters(`${out}/all`), ["default", "a", "b"]);
        assertEquals(other.activeAdapter, "default");
        other.setAdapter("b");
        assertEquals(await logits(other), b);
        await assertRejects(() => other.loadAdapters(`${out}/one/none`), CheckpointError, "no such folder");
        await other.addAdapter(lora(), { name: "a/../b" });
        await assertRejects(() => other.saveAdapters(`${out}/x`), UsageError, "no folder can have that name");
        other.destroy();
      });
    }),
);

gpuTest("an adapter of mlx-lm computes what mlx-lm computes", (device) =>
  withTwo(device, async (model) => {
    const a = (model.setAdapter("a"), await logits(model));
    await withFolder(async (out) => {
      const parameters = { rank: 4, scale: 2.0, dropout: 0.0 }; // alpha 8 of rank 4
      await Deno.writeTextFile(
        `${out}/adapter_config.json`,
        JSON.stringify({ fine_tune_type: "lora", num_layers: 2, lora_parameters: parameters }),
      );
      const { tensors } = await readAdapterFolder(`${FOLDER}/adapter_final`);
      const entries = [...tensors].map(([name, { shape: [rows = 0, cols = 0], data }]) => ({
        name: name.replace("base_model.model.", "").replace(/\.lora_(A|B)\.weight$/, (_, x) =>
          `.lora_${x.toLowerCase()}`),
        dtype: "F32" as const,
        shape: [cols, rows],
        data: asBytes(data.map((_, i) =>
          data[(i % rows) * cols + Math.floor(i / rows)]!
        )),
      }));
      await Deno.writeFile(`${out}/adapters.safetensors`, encodeSafetensors(entries));
      await model.loadAdapter(out, { name: "mlx" });
      assertEquals(await logits(model), a);
      await model.saveAdapter(`${out}/peft`);
      await model.loadAdapter(`${out}/peft`, { name: "peft" });
      assertEquals(await logits(model), a);
    });
  }));
