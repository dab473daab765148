// From folders to models: what is wrong with them is listed before anything is allocated.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { loadModel, lora } from "../../mod.ts";
import { CheckpointError, ConfigError, ModelError } from "../../src/core/errors.ts";
import { fromF32, toF32, type WeightDType } from "../../src/io/tensor_dtype.ts";
import { architectureOf, models } from "../../src/models/mod.ts";
import { gpuTest } from "../device.ts";
import { bits, GPT2, LLAMA, randomWeights, type Weights, writeModel } from "./folder.ts";
import { withFolder } from "../temp_folder.ts";
import { withModel } from "./with_model.ts";

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

Deno.test("config.json: what families assume where the configuration says nothing", () => {
  const few = { ...LLAMA, hidden_size: 64, num_attention_heads: 32, num_key_value_heads: undefined };
  const { max_position_embeddings: _, ...rest } = few;
  const table = { // heads of keys, width of a head, positions, tied
    llama: [32, 2, 2048, false],
    mistral: [8, 2, 131_072, false],
    qwen2: [32, 2, 32_768, false],
    qwen3: [32, 128, 32_768, false],
    gemma: [16, 256, 8192, true],
    gemma2: [4, 256, 8192, true],
    phi3: [32, 2, 4096, false],
  } as const;
  for (const [model_type, [K, E, positions, tied]] of Object.entries(table)) {
    const found = architectureOf({ ...rest, model_type });
    assertEquals([found.type, found.cache, found.positions, found.tied], [model_type, { K, E }, positions, tied]);
    assertEquals(architectureOf({ ...few, model_type, num_key_value_heads: null }).cache.K, 32);
  }
});

Deno.test("config.json: windows are of layers that exist, and have a size", () => {
  const qwen = { ...LLAMA, model_type: "qwen3", head_dim: 8 };
  architectureOf({ ...qwen, sliding_window: 4096, layer_types: null, max_window_layers: 0 });
  const mixed = ["full_attention", "sliding_attention"];
  assertEquals(fields({ ...qwen, layer_types: mixed }), ["use_sliding_window"]);
  const on = { ...qwen, use_sliding_window: true };
  architectureOf({ ...on, layer_types: mixed });
  assertEquals(fields({ ...on, layer_types: mixed, sliding_window: null }), ["sliding_window"]);
  assertEquals(fields({ ...on, sliding_window: 0, max_window_layers: -1 }), ["max_window_layers", "sliding_window"]);
  for (const layer_types of [["full_attention"], ["full_attention", "chunked\x1b"], "all"]) {
    assertEquals(fields({ ...on, layer_types }), ["layer_types"]);
    assert(!assertThrows(() => architectureOf({ ...on, layer_types }), ConfigError).message.includes("\x1b"));
  }
  assertEquals(fields({ ...LLAMA, model_type: "mistral", sliding_window: 1.5 }), ["sliding_window"]);
  assertEquals(fields({ ...qwen, head_dim: 7, use_sliding_window: 1 }), ["use_sliding_window", "head_dim"]);
});

Deno.test("config.json: every problem of a Gemma 2 and of a Phi-3 is listed", () => {
  const gemma = {
    ...{ attention_bias: 1, use_bidirectional_attention: true, hidden_activation: "relu", query_pre_attn_scalar: 0 },
    ...{ attn_logit_softcapping: -1, final_logit_softcapping: "30", head_dim: 7 },
  };
  assertEquals(fields({ ...LLAMA, model_type: "gemma2", ...gemma }).sort(), Object.keys(gemma).sort());
  const phi = { ...LLAMA, model_type: "phi3" };
  const longrope = { type: "longrope", short_factor: [1, 1, 1, 1], long_factor: [1, 1, 1] };
  assertEquals(fields({ ...phi, rope_scaling: longrope }), ["rope_scaling"]);
  assertEquals(fields({ ...phi, partial_rotary_factor: 0.4 }), ["partial_rotary_factor"]); // 3 of 8 columns
  for (const share of [0, 1.5, "half"]) {
    assertEquals(fields({ ...phi, partial_rotary_factor: share }), ["partial_rotary_factor"]);
  }
  assertEquals(fields({ ...LLAMA, partial_rotary_factor: 0.5 }), ["partial_rotary_factor"]);
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

gpuTest("a GPT-2 without the prefix of its language model is the same", (device) => {
  const weights = randomWeights(GPT2);
  return withModel(device, GPT2, async (model) => {
    for (const [name, data] of await model.weights()) assertEquals(bits(data), bits(weights.get(name)!.data), name);
  }, { weights: renamed(weights, (name) => name.replace("transformer.", "")) });
});

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
