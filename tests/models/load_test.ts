// From folders to models: what is wrong with them is listed before anything is allocated.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { loadModel, lora } from "../../mod.ts";
import { CheckpointError, ConfigError, ModelError } from "../../src/core/errors.ts";
import { fromF32, toF32, type WeightDType } from "../../src/io/tensor_dtype.ts";
import { architectureOf, models } from "../../src/models/mod.ts";
import { gpuTest } from "../device.ts";
import { bits, GPT2, LLAMA, randomWeights, type Weights, writeModel } from "./folder.ts";
import { withFolder } from "../temp_folder.ts";

const fields = (config: Readonly<Record<string, unknown>>): string[] => {
  const { code, problems } = assertThrows(() => architectureOf(config), ConfigError);
  const found = problems.map((text: string) => /^"(.*?)"/.exec(text)![1]!);
  assertEquals(code, `config/${found[0]}`);
  return found;
};

Deno.test("config.json: every problem of a Llama is listed", () => {
  const wrong = {
    ...LLAMA,
    vocab_size: "61",
    hidden_size: 33,
    num_hidden_layers: 1e9,
    num_key_value_heads: 3,
    head_dim: null,
    rms_norm_eps: null,
    max_position_embeddings: 0,
    attention_bias: "no",
    hidden_act: "gelu\x1b",
    rope_theta: -1,
    rope_scaling: { rope_type: "yarn", factor: 0 },
  };
  assertEquals(fields({ ...wrong, rms_norm_eps: "x" }).sort(), [
    ...["attention_bias", "hidden_act", "hidden_size", "max_position_embeddings", "num_hidden_layers"],
    ...["num_key_value_heads", "rms_norm_eps", "rope_scaling", "rope_theta", "vocab_size"],
  ]);
  assert(!assertThrows(() => architectureOf(wrong), ConfigError).message.includes("\x1b"));
  assertEquals(fields({ model_type: "llama" }).slice(0, 5), [
    ...["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"],
  ]);
  assertEquals(fields({ ...LLAMA, num_hidden_layers: 0 }), ["num_hidden_layers"]);
  assertEquals(fields({ ...LLAMA, head_dim: 7 }), ["head_dim"]);
});

Deno.test("config.json: a Qwen3 has heads of 128 unless it says otherwise, and no sliding windows", () => {
  const config = { ...LLAMA, model_type: "qwen3", hidden_size: 30 };
  const { type, cache } = architectureOf({ ...config, head_dim: null, sliding_window: 4096, layer_types: null });
  assertEquals([type, cache.E], ["qwen3", 128]);
  assertEquals(fields({ ...config, use_sliding_window: true }), ["use_sliding_window"]);
  assertEquals(fields({ ...config, layer_types: ["full_attention", "sliding_attention\x1b"] }), ["layer_types"]);
  assertEquals(fields({ ...config, head_dim: 7, use_sliding_window: 1 }), ["head_dim", "use_sliding_window"]);
});

Deno.test("config.json: every problem of a GPT-2 is listed", () => {
  const wrong = { n_embd: 30, n_layer: 1.5, activation_function: "tanh", add_cross_attention: true, n_inner: -1 };
  assertEquals(fields({ ...GPT2, ...wrong }).sort(), Object.keys(wrong).sort());
});

Deno.test("config.json: rope rules that are not known, or lack numbers, are refused", () => {
  for (const rope_type of ["yarn", "dynamic", "longrope", "su", "constructor"]) {
    assertEquals(fields({ ...LLAMA, rope_scaling: { rope_type } }), ["rope_scaling"]);
    assertEquals(fields({ ...LLAMA, rope_parameters: { rope_type, rope_theta: 1e4 } }), ["rope_scaling"]);
  }
  const rules = [{ type: "linear" }, { type: "linear", factor: 0 }, { rope_type: "llama3", factor: 8 }, [], "linear"];
  for (const rope_scaling of rules) assertEquals(fields({ ...LLAMA, rope_scaling }), ["rope_scaling"]);
  for (const rope_theta of ["1e4", 0, -5]) assertEquals(fields({ ...LLAMA, rope_theta }), ["rope_theta"]);
  architectureOf({ ...LLAMA, rope_scaling: null, rope_theta: null });
});

Deno.test("config.json: an unknown family names the known ones", () => {
  for (const model_type of ["mamba\x1b", "__proto__", "toString", 3, null, undefined]) {
    const error = assertThrows(
      () => architectureOf({ ...LLAMA, model_type }),
      ModelError,
      `supported are ${Object.keys(models).join(", ")}`,
    );
    assertEquals(error.code, "config/model_type");
    assert(!error.message.includes("\x1b"));
  }
});

/** The weights of a file under other names. */
const renamed = (weights: Weights, name: (old: string) => string): Weights =>
  new Map([...weights].map(([old, value]) => [name(old), value]));

gpuTest("weights of f32, f16 and bf16, whole and in shards, are the rounded ones", async (device) => {
  const weights = randomWeights(LLAMA);
  for (const dtype of ["f32", "f16", "bf16"] satisfies WeightDType[]) {
    for (const maxShardBytes of [5e9, 8000]) {
      await withFolder(async (folder) => {
        await writeModel(`${folder}/m`, LLAMA, weights, { dtype, maxShardBytes });
        const shards = [...Deno.readDirSync(`${folder}/m`)].filter(({ name }) => name.endsWith(".safetensors"));
        assertEquals(shards.length > 1, maxShardBytes < 5e9);
        const model = await loadModel(device, `${folder}/m`);
        for (const [name, data] of await model.weights()) {
          const type = ({ f32: "F32", f16: "F16", bf16: "BF16" } as const)[dtype];
          assertEquals(bits(data), bits(toF32(type, fromF32(weights.get(name)!.data, dtype).bytes)), name);
        }
        model.destroy();
      });
    }
  }
});

gpuTest("a GPT-2 without the prefix of its language model is the same", (device) =>
  withFolder(async (folder) => {
    const weights = randomWeights(GPT2);
    await writeModel(`${folder}/bare`, GPT2, renamed(weights, (name) => name.replace("transformer.", "")));
    const model = await loadModel(device, `${folder}/bare`);
    for (const [name, data] of await model.weights()) assertEquals(bits(data), bits(weights.get(name)!.data), name);
    model.destroy();
  }));

gpuTest(
  "missing and misshaped tensors are listed, surplus ones are warned of, and nothing stays allocated",
  (device) =>
    withFolder(async (folder) => {
      const weights = randomWeights(LLAMA);
      const { bytes } = device.memory;
      const refuse = async (name: string, config: typeof LLAMA, stored: Weights) => {
        await writeModel(`${folder}/${name}`, config, stored);
        const error = await assertRejects(() => loadModel(device, `${folder}/${name}`), ConfigError);
        assertEquals(device.memory.bytes, bytes);
        assert(error.message.startsWith(`${folder}/${name}`));
        return error as ConfigError;
      };
      const kept = new Map([...weights].filter(([name]) => !/norm|up_proj/.test(name)));
      const missing = await refuse("missing", LLAMA, kept);
      assertEquals([missing.code, missing.problems.length], ["model/missing-tensor", 7]);
      assert(missing.message.includes("model.layers.1.mlp.up_proj.weight [40,32] is missing"));

      const many = await refuse("many", { ...LLAMA, num_hidden_layers: 4 }, weights);
      assertEquals(many.problems.length, 11);
      assertEquals(many.problems.at(-1), "and 8 more"); // 18 tensors of two layers

      const shape = await refuse("shape", { ...LLAMA, intermediate_size: 48 }, weights);
      assertEquals([shape.code, shape.problems.length], ["model/shape", 6]);
      assert(shape.message.includes("model.layers.0.mlp.gate_proj.weight is [40,32], config.json says [48,32]"));

      const untied = new Map([...weights].filter(([name]) => name !== "lm_head.weight"));
      assertEquals((await refuse("untied", LLAMA, untied)).code, "model/missing-tensor");
      const tied = { ...LLAMA, tie_word_embeddings: true };
      await writeModel(`${folder}/tied`, tied, untied);
      const model = await loadModel(device, `${folder}/tied`);
      await model.addAdapter(lora({ targetModules: ["lm_head"] }), { name: "head" });
      assertEquals((await assertRejects(() => model.merge(), CheckpointError)).code, "merge/method");
      await model.addAdapter(lora({ targetModules: "all-linear" }));
      await model.merge();
      model.destroy();

      const warnings: string[] = [];
      const surplus = new Map([...weights, ["model.layers.9.x", weights.get("model.norm.weight")!]]);
      await writeModel(`${folder}/surplus`, LLAMA, surplus);
      (await loadModel(device, `${folder}/surplus`, { warn: (text) => warnings.push(text) })).destroy();
      assertEquals(warnings, [`1 tensors of ${folder}/surplus are not used: model.layers.9.x`]);
      assertEquals(device.memory.bytes, bytes);
    }),
);
