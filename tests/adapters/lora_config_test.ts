// LoRA's settings: PEFT's file read and written again, wrong values refused together, and how the factors start.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { loraAdapter } from "../../src/adapters/lora.ts";
import { lora, type LoraConfig, loraFromJson, type LoraOptions, loraToJson } from "../../src/adapters/lora_config.ts";
import { adapterFromJson } from "../../src/adapters/mod.ts";
import { CheckpointError, ConfigError } from "../../src/core/errors.ts";
import { Graph } from "../../src/graph/graph.ts";
import { fullSequence } from "../../src/nn/full_sequence.ts";
import { linear } from "../../src/nn/linear.ts";
import { initialValues } from "../../src/train/init.ts";
import { recordingLeaves, type TensorSpec } from "../../src/train/leaves.ts";

type Fields = Record<string, unknown>;

const context = { baseModel: null, taskType: "CAUSAL_LM", fanInFanOut: false };

async function peftFile(name: string): Promise<Fields> {
  const path = new URL(`../fixtures/${name}/adapter_init/adapter_config.json`, import.meta.url);
  return JSON.parse(await Deno.readTextFile(path));
}

Deno.test("config: PEFT's files survive reading and writing in every field that is written", async () => {
  for (const name of ["llama-lora", "gpt2-lora", "llama-rslora-qv"]) {
    const theirs = await peftFile(name);
    const ours = loraToJson(loraFromJson(theirs), { ...context, fanInFanOut: name.startsWith("gpt2") });
    assertEquals(ours, Object.fromEntries(Object.keys(ours).map((key) => [key, theirs[key]])));
    // What is left out has PEFT's default: null, false, or a version and a group size that mean nothing here.
    for (const [key, value] of Object.entries(theirs)) {
      if (!(key in ours)) assert(value === null || value === false || /version|qalora/.test(key), key);
    }
    assertEquals(loraFromJson(ours), loraFromJson(theirs));
  }
});

Deno.test("config: every option survives writing and reading", () => {
  const config = lora({
    rank: 3,
    alpha: 6.5,
    dropout: 0.25,
    rslora: true,
    rankPattern: { "q_proj": 5 },
    alphaPattern: { "layers\\.0\\..*": 1.5 },
    init: "gaussian",
    targetModules: ["q_proj"],
    excludeModules: "lm_.*",
    layersToTransform: [0, 2],
    layersPattern: ["layers"],
    dora: true,
    bias: "all",
    modulesToSave: ["score"],
    unknown: { future_field: { a: [1, null] } },
  });
  const json = JSON.parse(JSON.stringify(loraToJson(config, context)));
  assertEquals(json.future_field, { a: [1, null] });
  assertEquals(loraFromJson(json), config);
  assertEquals(adapterFromJson(json), config);
});

Deno.test("config: the smallest file takes PEFT's defaults", () => {
  const config = loraFromJson({ peft_type: "LORA" });
  assertEquals(config, lora());
  assertEquals([config.rank, config.alpha, config.dropout, config.rslora, config.init], [8, 8, 0, false, true]);
});

Deno.test("config: all wrong values are listed together, under the first one's code", () => {
  const wrong: Fields = {
    bias: "some",
    modules_to_save: "lm_head",
    arrow_config: { top_k: 3 },
    r: 1.5,
    lora_alpha: "16",
    lora_dropout: "0.1",
    use_rslora: "true",
    rank_pattern: { q_proj: 0, "\x1b[2J": -1 },
    alpha_pattern: [1],
    init_lora_weights: "loftq",
    target_modules: ["q_proj", 3],
    exclude_modules: {},
    layers_to_transform: [0.5],
    layers_pattern: 7,
  };
  const { problems, code, message } = assertThrows(() => loraFromJson(wrong), ConfigError);
  assertEquals(code, "adapter/arrow_config");
  assertEquals(
    problems.map((text: string) => /^"(.*?)"/.exec(text)![1]),
    [
      ...["arrow_config", "r", "lora_alpha", "lora_dropout", "use_rslora"],
      ...["rank_pattern.q_proj", "rank_pattern.\\u{1b}[2J", "alpha_pattern", "init_lora_weights", "target_modules"],
      ...["exclude_modules", "layers_pattern", "bias", "modules_to_save", "layers_to_transform"],
    ],
  );
  assert(message.includes('"r" must be a whole number above 0: received 1.5'));
  assert(!message.includes("\x1b"));
});

Deno.test("config: one wrong value at a time, as an option and in a file", () => {
  const rows: readonly (readonly [field: string, options: LoraOptions])[] = [
    ["r", { rank: 0 }],
    ["r", { rank: -1 }],
    ["r", { rank: 1.5 }],
    ["lora_alpha", { alpha: NaN }],
    ["lora_alpha", { alpha: Infinity }],
    ["lora_dropout", { dropout: 1 }],
    ["lora_dropout", { dropout: -0.1 }],
    ["rank_pattern.x", { rankPattern: { x: 2.5 } }],
    ["alpha_pattern.x", { alphaPattern: { x: NaN } }],
    ["layers_to_transform", { layersToTransform: -1 }],
  ];
  for (const [field, options] of rows) {
    assertEquals(assertThrows(() => lora(options), ConfigError).code, `adapter/${field}`);
    const file = { ...loraToJson({ ...lora(), ...options }, context) };
    assertEquals(assertThrows(() => loraFromJson(file), ConfigError).code, `adapter/${field}`);
  }
});

Deno.test("config: an unknown method names the known ones; a method called like a property is unknown", () => {
  for (const peft_type of ["FOURIERFT", "constructor", "__proto__", null, undefined, 3]) {
    const error = assertThrows(() => adapterFromJson({ peft_type }), CheckpointError, "supported are LORA");
    assertEquals(error.code, "adapter/peft_type");
  }
});

/** The factors of one linear map [Out 48, In 64]. */
function factors(config: LoraConfig, transposed = false): { readonly a: TensorSpec; readonly b: TensorSpec } {
  const { leaves, inventory } = recordingLeaves();
  const graph = new Graph();
  const adapter = loraAdapter(config, "eval");
  const m = { graph, adapter, leaves, sequence: fullSequence({ B: 1, T: 1 }) };
  linear(m, "q", graph.leaf("input", "x", [1, 64]), { In: 64, Out: 48, transposed });
  const tensor = (name: string) => inventory.params.get(`base_model.model.q.lora_${name}.weight`)! as TensorSpec;
  assertEquals(inventory.params.size, 2);
  return { a: tensor("A"), b: tensor("B") };
}

/** Largest magnitude, mean and standard deviation. */
function spread(values: Float32Array): { readonly max: number; readonly mean: number; readonly std: number } {
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
  const std = Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length);
  return { max: values.reduce((most, x) => Math.max(most, Math.abs(x)), 0), mean, std };
}

Deno.test("init: names and shapes are PEFT's, also where W is stored [In, Out]", () => {
  for (const transposed of [false, true]) {
    const { a, b } = factors(lora({ rank: 4, targetModules: ["q"] }), transposed);
    assertEquals([a.shape, b.shape], [[4, 64], [48, 4]]);
  }
});

Deno.test("init: A is uniform within 1/√In and B zero; gaussian A has deviation 1/r; false draws both", () => {
  const rank = 32; // 2,048 and 1,536 draws
  const draw = (init: LoraConfig["init"], seed = 1) => {
    const { a, b } = factors(lora({ rank, init, targetModules: "q" }));
    return { a: initialValues(a, seed), b: initialValues(b, seed) };
  };
  const uniform = draw(true);
  const { max, mean, std } = spread(uniform.a);
  assert(max <= 1 / 8 && max > 0.99 / 8, `${max}`); // one of 2,048 draws is in the outer 1 % almost surely
  assert(Math.abs(mean) < 4 * std / Math.sqrt(2048)); // four standard errors
  assert(Math.abs(std * 8 * Math.sqrt(3) - 1) < 0.04); // deviation of U(±b) is b/√3
  assertEquals(spread(uniform.b).max, 0);

  const normal = draw("gaussian");
  assert(Math.abs(spread(normal.a).std * rank - 1) < 4 / Math.sqrt(2 * 2048)); // four standard errors
  assert(spread(normal.a).max > 3 / rank);
  assertEquals(spread(normal.b).max, 0);

  const both = draw(false);
  assert(spread(both.a).max <= 1 / 8);
  assert(spread(both.b).max <= 1 / Math.sqrt(rank) && spread(both.b).max > 0.99 / Math.sqrt(rank));

  assertEquals(draw(true).a, uniform.a);
  assert(draw(true, 2).a.some((x, i) => x !== uniform.a[i]));
});
