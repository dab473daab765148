// Which modules are adapted: every rule of PEFT's matching, and patterns that would run for ever.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { loraSite } from "../../src/adapters/lora.ts";
import { lora, type LoraOptions } from "../../src/adapters/lora_config.ts";
import { fullMatch, suffixMatch } from "../../src/adapters/pattern.ts";
import { matchTargets, suffixes, type TargetRules, unmatchedNames } from "../../src/adapters/targets.ts";
import { SecurityError, UsageError } from "../../src/core/errors.ts";
import type { SiteInfo } from "../../src/nn/scope.ts";

const site = (path: string, output = false): SiteInfo => ({ path, In: 8, Out: 16, transposed: false, output });

/** A Llama of three layers, and a head. */
const llama = [
  ...[0, 1, 2].flatMap((i) =>
    ["self_attn.q_proj", "self_attn.v_proj", "mlp.up_proj"].map((name) => site(`model.layers.${i}.${name}`))
  ),
  site("lm_head", true),
];
/** A GPT-2 of two layers, and a head. */
const gpt2 = [
  ...[0, 1].flatMap((i) =>
    ["attn.c_attn", "attn.c_proj", "mlp.c_proj"].map((name) => site(`transformer.h.${i}.${name}`))
  ),
  site("lm_head", true),
];

const paths = (rules: TargetRules, sites: readonly SiteInfo[]): string[] =>
  matchTargets(rules, sites).map(({ path }) => path);

interface Row {
  readonly what: string;
  readonly rules: TargetRules;
  readonly on?: readonly SiteInfo[];
  readonly expected: readonly string[];
}

const layer = (i: number, ...names: string[]) => names.map((name) => `model.layers.${i}.${name}`);

const table: readonly Row[] = [
  {
    what: "a list matches behind a dot",
    rules: { targetModules: ["q_proj"] },
    expected: [0, 1, 2].flatMap((i) => layer(i, "self_attn.q_proj")),
  },
  {
    what: "a part of a name does not match",
    rules: { targetModules: ["proj", "attn.q_proj", "self_attn.v_proj"] },
    expected: [0, 1, 2].flatMap((i) => layer(i, "self_attn.v_proj")),
  },
  {
    what: "a full path",
    rules: { targetModules: ["model.layers.1.mlp.up_proj", "lm_head"] },
    expected: ["model.layers.1.mlp.up_proj", "lm_head"],
  },
  {
    what: "two segments tell c_proj apart",
    rules: { targetModules: ["mlp.c_proj"] },
    on: gpt2,
    expected: ["transformer.h.0.mlp.c_proj", "transformer.h.1.mlp.c_proj"],
  },
  {
    what: "a string is a regular expression of the whole path",
    rules: { targetModules: ".*\\.(0|2)\\..*\\.(q|v)_proj" },
    expected: [0, 2].flatMap((i) => layer(i, "self_attn.q_proj", "self_attn.v_proj")),
  },
  {
    what: "Python's named groups",
    rules: { targetModules: "model\\.layers\\.(?P<layer>\\d)\\.mlp\\.up_proj" },
    expected: [0, 1, 2].flatMap((i) => layer(i, "mlp.up_proj")),
  },
  {
    what: "all-linear in any case leaves the output projection out",
    rules: { targetModules: "All-Linear" },
    on: gpt2,
    expected: gpt2.slice(0, -1).map(({ path }) => path),
  },
  {
    what: "an exclude list wins over all-linear",
    rules: { targetModules: "all-linear", excludeModules: ["up_proj", "model.layers.1.self_attn.q_proj"] },
    expected: [
      ...layer(0, "self_attn.q_proj", "self_attn.v_proj"),
      ...layer(1, "self_attn.v_proj"),
      ...layer(2, "self_attn.q_proj", "self_attn.v_proj"),
    ],
  },
  {
    what: "an excluded pattern wins over a full path",
    rules: { targetModules: ["q_proj", "model.layers.0.mlp.up_proj"], excludeModules: ".*\\.0\\..*" },
    expected: [1, 2].flatMap((i) => layer(i, "self_attn.q_proj")),
  },
  {
    what: "layers restrict suffixes",
    rules: { targetModules: ["q_proj"], layersToTransform: [0, 2] },
    expected: [0, 2].flatMap((i) => layer(i, "self_attn.q_proj")),
  },
  {
    what: "one layer as a number, on a path whose blocks are called h",
    rules: { targetModules: ["c_attn"], layersToTransform: 1 },
    on: gpt2,
    expected: ["transformer.h.1.attn.c_attn"],
  },
  {
    what: "layers do not restrict full paths",
    rules: { targetModules: ["model.layers.0.mlp.up_proj", "v_proj"], layersToTransform: 1 },
    expected: ["model.layers.0.mlp.up_proj", "model.layers.1.self_attn.v_proj"],
  },
  {
    what: "no restriction by an empty list of layers",
    rules: { targetModules: ["up_proj"], layersToTransform: [], layersPattern: [] },
    expected: [0, 1, 2].flatMap((i) => layer(i, "mlp.up_proj")),
  },
  {
    what: "layers counted behind a given name",
    rules: { targetModules: ["q_proj"], layersToTransform: [1], layersPattern: ["blocks", "layers"] },
    on: [site("tower.5.layers.1.q_proj"), site("tower.1.layers.0.q_proj"), site("x.blocks.1.q_proj")],
    expected: ["tower.5.layers.1.q_proj", "x.blocks.1.q_proj"],
  },
  {
    what: "the first numbered segment counts without a given name",
    rules: { targetModules: ["q_proj"], layersToTransform: [1] },
    on: [site("a.tower.5.layers.1.q_proj"), site("a.tower.1.layers.0.q_proj")],
    expected: ["a.tower.1.layers.0.q_proj"],
  },
];

for (const { what, rules, on = llama, expected } of table) {
  Deno.test(`targets: ${what}`, () => assertEquals(paths(rules, on), expected));
}

Deno.test("targets: no match names the modules that exist, escaped", () => {
  const error = assertThrows(() => paths({ targetModules: ["query\x1b"] }, gpt2), UsageError);
  assertEquals(error.code, "lora/no-target");
  assertEquals(
    error.message,
    'Cannot adapt any module as target_modules ["query\\u001b"] matches none of 7\n' +
      "  This model has: c_attn [16, 8], c_proj [16, 8], lm_head [16, 8].",
  );
});

Deno.test("targets: a partial match is used, and the rest can be told", () => {
  const rules = { targetModules: ["q_proj", "query", "layers.9.mlp"] };
  assertEquals(paths(rules, llama).length, 3);
  assertEquals(unmatchedNames(rules, llama), ["query", "layers.9.mlp"]);
  assertEquals(suffixes(gpt2.slice(0, -1)), ["c_attn", "c_proj"]);
});

Deno.test("targets: layers beside a string, or a pattern without layers, are refused as in PEFT", () => {
  for (
    const rules of [
      { targetModules: ".*q_proj", layersToTransform: 0 },
      { targetModules: "all-linear", layersToTransform: [0] },
      { targetModules: ["q_proj"], layersPattern: "layers" },
    ]
  ) assertEquals(assertThrows(() => paths(rules, llama), UsageError).code, "lora/layers");
});

Deno.test("rank and alpha: the first pattern that matches wins, whole segments only", () => {
  const options: LoraOptions = {
    rank: 8,
    alpha: 16,
    rankPattern: { "layers\\.1\\..*q_proj": 4, "q_proj": 2, "proj": 1 },
    alphaPattern: { "^model.layers.2.self_attn.v_proj": 32, "up_proj": 0 },
  };
  const at = (path: string, more: LoraOptions = {}) => loraSite(lora({ ...options, ...more }), path);
  assertEquals(at("model.layers.1.self_attn.q_proj"), { R: 4, alpha: 16, scale: 4 });
  assertEquals(at("model.layers.0.self_attn.q_proj"), { R: 2, alpha: 16, scale: 8 });
  assertEquals(at("model.layers.0.self_attn.v_proj"), { R: 8, alpha: 16, scale: 2 });
  // PEFT prefixes `(.*\.)?`, so a `^` can only stand at the start of the path: it matches there.
  assertEquals(at("model.layers.2.self_attn.v_proj"), { R: 8, alpha: 32, scale: 4 });
  assertEquals(at("model.layers.2.mlp.up_proj"), { R: 8, alpha: 0, scale: 0 });
  assertEquals(at("model.layers.0.self_attn.q_proj", { rslora: true }).scale, 16 / Math.sqrt(2));
});

Deno.test("patterns: what tools write is accepted", () => {
  const unsloth = "(?:.*?(?:language|text).*?(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense).*?" +
    "(?:k_proj|v_proj|q_proj|out_proj|fc1|fc2|up_proj).*?)|(?:\\bmodel\\.layers\\.[\\d]{1,}\\.(?:self_attn|mlp)\\." +
    "(?:(?:q_proj|k_proj|v_proj|up_proj)))";
  assert(fullMatch(unsloth)("model.layers.11.self_attn.q_proj"));
  assert(fullMatch(unsloth)("model.language_model.layers.11.self_attn.q_proj"));
  assert(!fullMatch(unsloth)("model.visual.layers.11.self_attn.q_proj"));
  assert(fullMatch("^(?!.*visual).*(?:q_proj|v_proj)$")("model.layers.0.q_proj"));
  assert(fullMatch("model.layers.\\d{1,2}.(self_attn|mlp).(?:q|v|up)_proj\\Z")("model.layers.10.mlp.up_proj"));
  assert(!suffixMatch("q_proj")("model.layers.0.xq_proj"));
});

Deno.test("patterns: catastrophic ones are refused, the worst accepted one is fast", () => {
  const path = `model.layers.11.${"a".repeat(60)}.q_proj`;
  for (
    const pattern of [
      "(a+)+$",
      "(.*)*x",
      "(a|a)+x",
      "(?:a|.)*x",
      "((ab?)c?)*x",
      "(a{1,30}){1,30}x",
      ".*.*.*.*.*.*x",
      `${".?".repeat(40)}x`,
      `${"(a|aa)".repeat(30)}x`,
      `${"(?:.|..)".repeat(30)}x`,
      `${"(.*)".repeat(2)}{9}x`,
      "(.*){9}x",
    ]
  ) {
    const start = performance.now();
    assertEquals(assertThrows(() => fullMatch(pattern), SecurityError, "as a pattern").code, "security/regex");
    assert(performance.now() - start < 50, pattern);
  }
  const start = performance.now();
  assert(!fullMatch(".*.*.*.*(x|y)")(path));
  const ms = performance.now() - start;
  console.log(`slowest accepted pattern: ${ms.toFixed(1)} ms a path`);
  assert(ms < 200); // 10 ms on a quiet machine
  assertEquals(assertThrows(() => fullMatch("(a"), UsageError).code, "lora/pattern");
});
