// Adapters of mlx-lm: their schema, their transposed tensors under other names, and what is refused.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { ConfigError } from "../../src/core/errors.ts";
import { adapterPath, isAdapterName, namedAdapters, readAdapterFolder } from "../../src/io/adapter_file.ts";
import { encodeSafetensors } from "../../src/io/safetensors_write.ts";
import { asBytes, fromF32 } from "../../src/io/tensor_dtype.ts";
import { withFolder } from "../temp_folder.ts";

const CONFIG = {
  adapter_path: "adapters",
  batch_size: 4,
  fine_tune_type: "lora",
  lora_parameters: { rank: 2, scale: 20.0, dropout: 0.05 },
  model: "org/name",
  num_layers: 16,
};

type Tensors = Readonly<Record<string, readonly [shape: readonly number[], data: readonly number[]]>>;

const Q = "model.layers.1.self_attn.q_proj";
const TENSORS: Tensors = {
  [`${Q}.lora_a`]: [[3, 2], [1, 2, 3, 4, 5, 6]],
  [`${Q}.lora_b`]: [[2, 1], [7, 8]],
  "model.embed_tokens.lora_a": [[5, 2], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]],
  "model.embed_tokens.lora_b": [[2, 3], [1, 2, 3, 4, 5, 6]],
};

async function write(folder: string, config: object, tensors: Tensors, half = false): Promise<void> {
  await Deno.writeTextFile(`${folder}/adapter_config.json`, JSON.stringify(config));
  const entries = Object.entries(tensors).map(([name, [shape, values]]) => {
    const data = Float32Array.from(values);
    return half
      ? { name, dtype: "F16" as const, shape, data: fromF32(data, "f16").bytes }
      : { name, dtype: "F32" as const, shape, data: asBytes(data) };
  });
  await Deno.writeFile(`${folder}/adapters.safetensors`, encodeSafetensors(entries));
}

Deno.test("mlx-lm: settings and tensors come in PEFT's form", async () => {
  for (const half of [false, true]) {
    await withFolder(async (folder) => {
      await write(folder, CONFIG, TENSORS, half);
      const { config, tensors } = await readAdapterFolder(folder);
      assertEquals(config, {
        peft_type: "LORA",
        r: 2,
        lora_alpha: 40, // PEFT divides by r, mlx-lm does not
        lora_dropout: 0.05,
        target_modules: ["model.embed_tokens", Q],
        base_model_name_or_path: "org/name",
        task_type: "CAUSAL_LM",
        use_dora: false,
      });
      assertEquals(Object.fromEntries([...tensors].map(([name, { shape, data }]) => [name, [shape, [...data]]])), {
        [`base_model.model.${Q}.lora_A.weight`]: [[2, 3], [1, 3, 5, 2, 4, 6]],
        [`base_model.model.${Q}.lora_B.weight`]: [[1, 2], [7, 8]],
        "base_model.model.model.embed_tokens.lora_embedding_A": [[2, 5], [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]],
        "base_model.model.model.embed_tokens.lora_embedding_B": [[3, 2], [1, 4, 2, 5, 3, 6]],
      });
    });
  }
});

Deno.test("mlx-lm: DoRA's magnitudes, and GPT-2's other name of the trunk", async () => {
  await withFolder(async (folder) => {
    const c = "model.h.0.attn.c_attn";
    const tensors: Tensors = {
      [`${c}.lora_a`]: [[1, 2], [1, 2]],
      [`${c}.lora_b`]: [[2, 2], [3, 4, 5, 6]],
      [`${c}.m`]: [[2], [7, 8]],
    };
    await write(folder, { ...CONFIG, fine_tune_type: "dora" }, tensors);
    const read = await readAdapterFolder(folder);
    assertEquals([read.config["use_dora"], read.config["target_modules"]], [true, ["transformer.h.0.attn.c_attn"]]);
    const magnitude = read.tensors.get("base_model.model.transformer.h.0.attn.c_attn.lora_magnitude_vector");
    assertEquals([magnitude?.shape, [...magnitude!.data]], [[2], [7, 8]]);
    await write(folder, { use_dora: true, lora_layers: 4, lora_parameters: CONFIG.lora_parameters }, tensors);
    assertEquals((await readAdapterFolder(folder)).config, { ...read.config, base_model_name_or_path: null });
  });
});

Deno.test("mlx-lm: all that does not fit is listed", async () => {
  await withFolder(async (folder) => {
    const parameters = { rank: 0, dropout: 0 };
    await write(folder, { ...CONFIG, fine_tune_type: "full", lora_parameters: parameters }, {
      "model.norm.weight": [[2], [1, 2]],
      "a.lora_a": [[1, 2], [1, 2]],
    });
    const { problems, code, message } = await assertRejects(() => readAdapterFolder(folder), ConfigError);
    assertEquals(code, "adapter/mlx-lm");
    assert(message.startsWith(folder));
    assertEquals(problems, [
      '"fine_tune_type" must be "lora" or "dora": received "full"',
      '"lora_parameters.rank" must be a whole number above 0: received 0',
      '"lora_parameters.scale" must be a number: received nothing',
      "model.norm.weight is no tensor of LoRA or DoRA",
      "a has no lora_b",
    ]);
    await write(folder, CONFIG, {
      "a.lora_a": [[3, 1], [1, 2, 3]],
      "a.lora_b": [[1, 3], [1, 2, 3]],
      "b.lora_a": [[1, 2], [1, 2]],
      "b.lora_b": [[2, 1], [1, 2]],
      "b.m": [[1], [1]],
    });
    assertEquals((await assertRejects(() => readAdapterFolder(folder), ConfigError)).problems, [
      "a has lora_a [3,1] and lora_b [1,3], which must be [In, 2] and [2, Out]",
      'b has a magnitude m, but "fine_tune_type" is "lora"',
    ]);
  });
});

Deno.test("named adapters: their folders are found, checkpoints are not adapters, an error lists the names", async () => {
  await withFolder(async (folder) => {
    for (const name of ["b", "a b", "checkpoint-10", "empty"]) {
      await Deno.mkdir(`${folder}/${name}`);
      if (name !== "empty") await Deno.writeTextFile(`${folder}/${name}/adapter_config.json`, "{}");
    }
    assertEquals(await namedAdapters(folder), ["a b", "b"]);
    assertEquals(await adapterPath(folder, "b"), `${folder}/b`);
    assertEquals(await adapterPath(folder, "c"), folder);
    assertEquals(await adapterPath(folder, "../x"), folder);
    const error = await assertRejects(() => readAdapterFolder(folder), Error, "has no adapter_config.json");
    assert(error.message.includes("It has adapters called a b, b: give one."));
    await Deno.writeTextFile(`${folder}/adapter_config.json`, "{}");
    assertEquals(await adapterPath(folder, "b"), folder); // a folder that is an adapter is that adapter
  });
  assertEquals(["ok", "a.b", "", ".", "..", "a/b", "a\\b", "c:", "x\u0000"].map(isAdapterName), [
    ...[true, true, false, false, false, false, false, false, false],
  ]);
});
