// Settings of methods other than LoRA: PEFT's files read and written again, wrong values refused together.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { bottleneck, ia3, prefixTuning, promptTuning, pTuning, vera } from "../../mod.ts";
import { type AdapterConfig, adapterFromJson, adapterToJson, methods, resolveAdapter } from "../../src/adapters/mod.ts";
import { savedName } from "../../src/adapters/names.ts";
import type { Base } from "../../src/adapters/resolve.ts";
import { CheckpointError, ConfigError, UsageError } from "../../src/core/errors.ts";

const context = { baseModel: null, taskType: "CAUSAL_LM", fanInFanOut: false };

const linear = (path: string, In: number, Out: number) => ({ path, In, Out, transposed: false, output: false });
const BASE: Base = {
  ...{ type: "gpt2", D: 32, layers: 2, cache: { K: 4, E: 8 }, heads: 4, encoderDecoder: false },
  modules: [
    { ...linear("transformer.wte", 101, 32), kind: "embedding" },
    { ...linear("transformer.h.0.ln_1", 32, 32), kind: "norm" },
    linear("transformer.h.0.attn.c_attn", 32, 96),
    linear("transformer.h.0.mlp.c_proj", 128, 32),
  ],
  weights: ["transformer.h.0.attn.c_attn.weight", "transformer.h.0.attn.c_attn.bias"],
  encode: (text) => [...text].map((letter) => letter.charCodeAt(0)),
};

Deno.test("configs: PEFT's files survive reading and writing in every field that is written", async () => {
  for (const name of ["gpt2-ia3", "llama-ia3", "llama-vera", "gpt2-lntuning", "gpt2-prompt", "gpt2-prefix"]) {
    const path = new URL(`../fixtures/${name}/adapter_init/adapter_config.json`, import.meta.url);
    const theirs = JSON.parse(await Deno.readTextFile(path));
    const config = adapterFromJson(theirs);
    const ours = adapterToJson(config, { ...context, fanInFanOut: name === "gpt2-ia3" });
    assertEquals(ours, Object.fromEntries(Object.keys(ours).map((key) => [key, theirs[key] ?? null])), name);
    for (const [key, value] of Object.entries(theirs)) {
      if (!(key in ours)) assert(value === null || key === "peft_version", `${name}: ${key}`);
    }
    assertEquals(adapterFromJson(ours), config);
  }
});

Deno.test("configs: unknown fields are kept, the smallest file takes PEFT's defaults", () => {
  for (const type of Object.keys(methods)) {
    const json = { peft_type: type, future: { a: [1] } };
    const config = adapterFromJson(json);
    assertEquals(adapterToJson(config, context).future, { a: [1] }, type);
  }
  const smallest = adapterFromJson({ peft_type: "PROMPT_TUNING", num_virtual_tokens: 3 });
  assert(smallest.type === "PROMPT_TUNING" && smallest.init === "RANDOM" && smallest.virtualTokens === 3);
  assertEquals(promptTuning().init, "SAMPLE_VOCAB");
  assertEquals(promptTuning({ initText: "x" }).init, "TEXT");
});

Deno.test("configs: all wrong values are listed together, under the first one's code", () => {
  const wrong = { peft_type: "VERA", r: 0, vera_dropout: 1, save_projection: false, bias: "some", d_initial: "0.1" };
  const { code, problems } = assertThrows(() => adapterFromJson(wrong), ConfigError, "these VeRA settings");
  assertEquals(code, "adapter/r");
  assertEquals(problems.map((text: string) => /^"(.*?)"/.exec(text)![1]), [
    "r",
    "save_projection",
    "vera_dropout",
    "d_initial",
    "bias",
  ]);
  const rows: readonly (readonly [string, () => AdapterConfig])[] = [
    ["adapter/feedforward_modules", () => ia3({ feedforwardModules: [1] as unknown as string[] })],
    ["adapter/prompt_tuning_init_text", () => promptTuning({ init: "TEXT" })],
    ["adapter/num_virtual_tokens", () => prefixTuning({ virtualTokens: 0 })],
    ["adapter/reduction_factor", () => bottleneck({ reductionFactor: 0.5 })],
    ["adapter/placement", () => bottleneck({ placement: "x" as "pfeiffer" })],
    ["adapter/projection_prng_key", () => vera({ projectionKey: 1.5 })],
    ["adapter/encoder_hidden_size", () => pTuning({ encoderWidth: -1 })],
  ];
  for (const [expected, make] of rows) assertEquals(assertThrows(make, ConfigError).code, expected);
  assertThrows(() => adapterFromJson({ peft_type: "OFT" }), CheckpointError, "supported are LORA, ADALORA, IA3");
});

Deno.test("configs: the model fills in what is left to it, and refuses what it cannot have", () => {
  const resolve = <C extends AdapterConfig>(config: C) => resolveAdapter(config, BASE) as C;
  const usual = resolve(ia3());
  assertEquals([usual.targetModules, usual.feedforwardModules], [["c_attn", "mlp.c_proj"], ["mlp.c_proj"]]);
  assertEquals(resolve(vera()).size, { In: 32, Out: 96 });
  const text = resolve(promptTuning({ initText: "ab" }));
  assertEquals([text.initTokens, text.table, text.tokenDim], [[97, 98], "transformer.wte.weight", 32]);
  const prefix = resolve(prefixTuning({ projection: true }));
  assertEquals([prefix.tokenDim, prefix.layers, prefix.heads, prefix.encoderWidth, prefix.encoder], [
    32,
    2,
    4,
    32,
    true,
  ]);
  const refusals: readonly (readonly [string, AdapterConfig])[] = [
    ["adapter/feedforward", ia3({ targetModules: ["c_attn"], feedforwardModules: ["c_proj"] })],
    ["lora/no-target", ia3({ targetModules: ["q_proj"] })],
    ["adapter/base", prefixTuning({ tokenDim: 64 })],
    ["adapter/base", pTuning({ encoderKind: "LSTM" })],
    ["lora/no-target", { ...adapterFromJson({ peft_type: "GRAFT_BITFIT", target_modules: ["ln_1"] }) }],
    ["lora/no-target", { ...adapterFromJson({ peft_type: "LN_TUNING", target_modules: ["c_attn"] }) }],
    ["adapter/tokens", { ...adapterFromJson({ peft_type: "LORA", trainable_token_indices: [101] }) }],
    ["adapter/tokens", { ...adapterFromJson({ peft_type: "LORA", trainable_token_indices: { wpe: [1] } }) }],
  ];
  const encoderDecoder = { ...BASE, encoderDecoder: true };
  assertThrows(() => resolveAdapter(promptTuning(), encoderDecoder), UsageError, "in front of the text");
  for (const [code, config] of refusals) assertEquals(assertThrows(() => resolve(config), UsageError).code, code);
});

Deno.test("names: what PEFT calls tensors in memory and in files", () => {
  assertEquals(
    [
      "base_model.model.x.lora_A.default.weight",
      "base_model.model.x.lora_magnitude_vector.default.weight",
      "base_model.model.classifier.modules_to_save.default.weight",
      "prompt_encoder.default.embedding.weight",
      "base_model.model.x.ia3_l.default",
    ].map(savedName),
    [
      "base_model.model.x.lora_A.weight",
      "base_model.model.x.lora_magnitude_vector",
      "base_model.model.classifier.weight",
      "prompt_embeddings",
      "base_model.model.x.ia3_l",
    ],
  );
});
