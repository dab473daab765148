// Adapters that do not fit the model, or only in part: what is said, and that nothing is done before.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { loadModel, lora } from "../../mod.ts";
import { GraftError, UsageError } from "../../src/core/errors.ts";
import { readAdapterFolder, writeAdapterFolder } from "../../src/io/adapter_file.ts";
import { gpuTest } from "../device.ts";
import { fixture, LLAMA, writeModel } from "../models/folder.ts";
import { withFolder } from "../temp_folder.ts";

const FOLDER = fixture("llama-lora");

gpuTest("an adapter for another base is refused before anything is uploaded; what is odd is told", async (device) => {
  await withFolder(async (out) => {
    await writeModel(`${out}/wide`, { ...LLAMA, hidden_size: 48, num_attention_heads: 6, num_key_value_heads: 3 });
    const wide = await loadModel(device, `${out}/wide`);
    const buffers = wide.state.store.buffers.size;
    const error = await assertRejects(() => wide.loadAdapter(`${FOLDER}/adapter_final`), GraftError);
    assertEquals([error.code, wide.state.store.buffers.size, wide.adapters], ["adapter/keys", buffers, []]);
    assert(/down_proj\.lora_A\.weight is \[4,\d+\], this model needs \[4,40\]/.test(error.message), error.message);
    assert(/and \d+ more tensors have other shapes/.test(error.message), error.message);
    const { config, tensors } = await readAdapterFolder(`${FOLDER}/adapter_init`);
    const model = await loadModel(device, `${FOLDER}/model`);
    const warnings: string[] = [];
    const warn = (text: string) => void warnings.push(text);
    const zero = new Map(
      [...tensors].map(([name, { shape, data }]) =>
        [name, { shape, data: name.includes("lora_B") ? data.map(() => 0) : data }] as const
      ),
    );
    const targets = [...config["target_modules"] as string[], "c_attn"];
    await writeAdapterFolder(`${out}/odd`, { config: { ...config, target_modules: targets }, tensors: zero });
    await model.loadAdapter(`${out}/odd`, { warn });
    assertEquals(warnings, [
      "Of the target modules, c_attn match nothing in this model; others do.",
      "The adapter changes nothing: every B is zero, as before training.",
    ]);
    await model.addAdapter(lora({ targetModules: ["q_proj", "wq\x1b"] }), { name: "partly", warn });
    assertEquals(warnings.at(-1), "Of the target modules, wq\\u{1b} match nothing in this model; others do.");
    const none = await assertRejects(
      () => model.addAdapter(lora({ targetModules: ["wq"] }), { name: "x" }),
      UsageError,
    );
    assert(none.message.includes("q_proj [") && none.message.includes("lm_head ["), none.message);
    const renamed = { ...config, base_model_name_or_path: "org/name" };
    await writeAdapterFolder(`${out}/named`, { config: renamed, tensors: new Map() });
    await assertRejects(
      () => model.loadAdapter(`${out}/named`, { name: "n" }),
      GraftError,
      "It was made for org/name.",
    );
    // Fields that nobody knows are kept when the adapter is saved again.
    const future = { ...config, future_field: { a: [1, null] } };
    await writeAdapterFolder(`${out}/future`, { config: future, tensors });
    await model.loadAdapter(`${out}/future`, { name: "future", warn });
    assert(warnings.at(-1)!.includes("unknown fields: future_field"), warnings.join());
    await model.saveAdapter(`${out}/again`);
    assertEquals((await readAdapterFolder(`${out}/again`)).config["future_field"], { a: [1, null] });
    wide.destroy();
    model.destroy();
  });
});
