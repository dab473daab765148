// Methods on the command line: what their settings make, and which of them mean nothing.
import { assertEquals } from "@std/assert";
import {
  meaningful,
  methodConfig,
  methodFields,
  methodProblems,
  METHODS,
  type MethodSettings,
} from "../../src/cli/method_settings.ts";
import { LEARNING_RATES } from "../../src/adapters/defaults.ts";

function settings(given: Partial<MethodSettings>): MethodSettings {
  const defaults = Object.fromEntries(Object.entries(methodFields).map(([name, field]) => [name, field.default]));
  return { ...defaults, ...given } as MethodSettings;
}

Deno.test("methods: every name makes settings, and has a learning rate", () => {
  const types = METHODS.map((method) => methodConfig(settings({ method }))?.type);
  assertEquals(types, [
    ...["LORA", "LORA", "ADALORA", "VERA", "IA3", "LN_TUNING", "GRAFT_BITFIT"],
    ...["PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "GRAFT_BOTTLENECK", undefined],
  ]);
  assertEquals(Object.keys(LEARNING_RATES), [...METHODS]);
});

Deno.test("methods: settings arrive under the names of the method", () => {
  const dora = methodConfig(settings({ method: "dora", rank: 3, bias: "targets", targetModules: "a, b" }));
  assertEquals(dora?.type === "LORA" && [dora.dora, dora.rank, dora.bias, dora.targetModules], [true, 3, "lora_only", [
    "a",
    "b",
  ]]);
  const tokens = methodConfig(settings({ trainableTokens: ["5", "9"], loraBias: true }));
  assertEquals(tokens?.type === "LORA" && [tokens.trainableTokens, tokens.loraBias], [[5, 9], true]);
  const ranks = methodConfig(settings({ method: "adalora", rank: 6 }));
  assertEquals(ranks?.type === "ADALORA" && [ranks.targetRank, ranks.initialRank], [6, 9]);
  const prompt = methodConfig(settings({ method: "prompt-tuning", promptText: "Be kind.", virtualTokens: 4 }));
  assertEquals(prompt?.type === "PROMPT_TUNING" && [prompt.init, prompt.initText, prompt.virtualTokens], [
    "TEXT",
    "Be kind.",
    4,
  ]);
  const parallel = methodConfig(settings({ method: "bottleneck", placement: "parallel" }));
  assertEquals(parallel?.type === "GRAFT_BOTTLENECK" && [parallel.reductionFactor, parallel.scale], [2, 4]);
  const regex = methodConfig(settings({ method: "ia3", targetModules: ".*mlp.*", feedforwardModules: ["mlp"] }));
  assertEquals(regex?.type === "IA3" && [regex.targetModules, regex.feedforwardModules], [".*mlp.*", ["mlp"]]);
});

Deno.test("methods: settings of another method are named, and left out of the file of a run", () => {
  assertEquals(methodProblems({ method: "ia3", rank: 4, promptText: "x" }), [
    "--rank has no meaning with --method ia3",
    "--prompt-text has no meaning with --method ia3",
  ]);
  assertEquals(methodProblems({ rank: 4, targetModules: "q_proj" }), []);
  assertEquals(methodProblems({ method: "prompt-tuning", promptInit: "text" }), [
    "--prompt-init text needs --prompt-text",
  ]);
  assertEquals(methodProblems({ trainableTokens: ["5", "x"] }), [
    '--trainable-tokens must be ids of tokens: received "x"',
  ]);
  assertEquals(Object.keys(meaningful(settings({ method: "full" }))), ["method"]);
  assertEquals(Object.keys(meaningful(settings({ method: "bitfit" }))), ["method", "targetModules", "modulesToSave"]);
});
