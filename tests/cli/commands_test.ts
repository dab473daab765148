// Every command through a process of its own. Few and fast: a start takes 0.2 s, with a GPU 1 s.
import { assert, assertEquals } from "@std/assert";
import { commands } from "../../src/cli/commands.ts";
import { FIXTURE, graft, listFiles, makeWorkspace, ROOT, type Workspace } from "./harness.ts";

/** Control characters other than tab and line break. */
// deno-lint-ignore no-control-regex
const CONTROLS = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/;

let workspace: Workspace;
let before: string[];

Deno.test.beforeAll(async () => {
  workspace = await makeWorkspace();
  before = await listFiles(workspace.folder);
});
Deno.test.afterAll(() => workspace.close());

Deno.test("cli: help, version and unknown commands", async () => {
  const none = await graft([]);
  assertEquals(none.code, 2);
  const help = await graft(["--help"]);
  assertEquals(help.code, 0);
  for (const name of commands.keys()) assert(help.stdout.includes(`\n  ${name} `), name);
  const version = await graft(["--version"]);
  assertEquals(version.code, 0);
  assert(/^graft \d+\.\d+\.\d+ \(deno \d/.test(version.stdout));
  const typo = await graft(["finetun", "--rank", "4"]);
  assertEquals([typo.code, typo.stdout], [2, ""]);
  assert(
    typo.stderr.startsWith('error[usage/command]: Cannot run "finetun"') &&
      typo.stderr.includes("Did you mean finetune?"),
  );
  const steer = await graft(["\x1b[31mx"]);
  assert(steer.stderr.includes("\\u{1b}[31mx") && !CONTROLS.test(steer.stderr));
});

Deno.test("cli: --help of every command works without any permission", async () => {
  for (const [name, { summary, examples }] of commands) {
    const { code, stdout } = await graft([name, "--help", "--nonsense"], { permissions: [] });
    assertEquals(code, 0, name);
    assert(stdout.includes(summary) && examples.every((example) => stdout.includes(example)), name);
    assert(examples.every((example) => example.startsWith(`deno task ${name}`)), name);
  }
});

Deno.test("cli: wrong usage exits with 2, says everything at once, and writes nothing", async () => {
  const { model, data, adapter, folder } = workspace;
  const rows: [args: string[], ...parts: string[]][] = [
    [["finetune", "--lerning-rate", "1", "--rank", "0"], "did you mean --learning-rate?", "--rank must be"],
    [
      ["finetune", "--model", `${folder}/no`, "--data", `${folder}/none`],
      `there is no "${folder}/no"`,
      `there is no "${folder}/none"`,
    ],
    [["finetune", "--model", "org/name", "--data", data], "deno task download org/name"],
    [["finetune", "--model", model, "--data", data, "--output", adapter], "error[out/not-empty]"],
    [
      ["finetune", "--model", model, "--data", data, "--output", `${folder}/o`, "--target-modules", "attn"],
      "lora/no-target",
      "q_proj [32, 32]",
    ],
    [["finetune", "--model", model, "--data", data, "--method", "full", "--rank", "4"], "--rank has no meaning"],
    [["finetune", "--model", model, "--data", data, "--method", "full", "--quantize", "int8"], "train an adapter"],
    [
      ["generate", "--model", model, "--prompt", "a", "--quantize", "int4"],
      "--quantize must be one of none, f16, bf16",
    ],
    [["generate", "--model", model], "--prompt or --prompts must be given"],
    [["generate", "--model", model, "--prompt", "a", "--compare"], "--compare needs --adapter"],
    [["merge", "--model", model, "--adapter", adapter], "--output must be given"],
    [["evaluate", "--model", `${model}/config.json`, "--data", data], "is no folder"],
    [["inspect"], "PATH must be given"],
    [["inspect", `${folder}/\x1b[31mred`], "\\u{1b}[31mred"],
    [["parity"], "CASE_DIR… must be given"],
    [["doctor", "--json=perhaps"], "--json must be true or false"],
  ];
  for (const [args, ...parts] of rows) {
    const { code, stdout, stderr } = await graft(args);
    assertEquals([code, stdout], [2, ""], `${args}: ${stderr}`);
    for (const part of parts) assert(stderr.includes(part), `${args}: ${stderr}`);
    assert(!CONTROLS.test(stderr) && !stderr.includes("    at "), `${args}: ${stderr}`);
  }
  const json = await graft(["inspect", "--json", "--oops"]);
  assertEquals([json.code, JSON.parse(json.stdout).error.code], [2, "usage/arguments"]);
  assertEquals(await listFiles(folder), before);
});

Deno.test("cli: finetune --dry-run says what would be done, and touches nothing", async () => {
  const { model, data, folder } = workspace;
  const { code, stdout, stderr } = await graft(
    ["finetune", "--model", model, "--data", data, "--output", `${folder}/out`, "--rank", "4", "--dry-run"],
    // Nothing is to be written, so it needs no permission to write.
    { permissions: ["--allow-read"] },
  );
  assertEquals(code, 0, stderr);
  for (
    const part of [
      "24 rows",
      "% trained",
      "「 2<|end|>」",
      "adapted 4 of 15 linear maps: q_proj, v_proj",
      "rank: 4",
      "on the device",
    ]
  ) {
    assert(stdout.includes(part), `${part}: ${stdout}`);
  }
  assert(!CONTROLS.test(stdout));
  assertEquals(await listFiles(folder), before);
});

Deno.test("cli: finetune trains, says so, and its files repeat it; generate, evaluate and merge use them", async () => {
  const { model, data, folder } = workspace;
  const out = `${folder}/out`;
  const common = ["--model", model, "--data", data, "--sample-tokens", "4"];
  const settings = ["--rank", "4", "--max-steps", "6", "--batch-size", "4", "--learning-rate", "0.01"];
  const first = await graft(["finetune", ...common, ...settings, "--output", out, "--json"]);
  assertEquals(first.code, 0, first.stderr);
  const result = JSON.parse(first.stdout);
  assertEquals([result.steps, result.output, result.after.domains[0].name], [6, out, "new"]);
  assert(result.after.domains[0].loss < result.before.domains[0].loss, first.stdout);
  // The estimate was made before anything was allocated.
  const share = result.memory.total / result.memory.peak;
  assert(share > 0.9 && share <= 1, `the estimate is ${share} of the peak`);
  assert(first.stderr.includes("step 6/6") && first.stderr.includes("deno task merge"), first.stderr);
  assert(!CONTROLS.test(first.stderr));
  assertEquals(await listFiles(out), [
    "README.md",
    "adapter_config.json",
    "adapter_model.safetensors",
    "config.yaml",
    "metrics.jsonl",
  ]);
  const metrics = (await Deno.readTextFile(`${out}/metrics.jsonl`)).trim().split("\n").map((line) => JSON.parse(line));
  assertEquals(metrics.map(({ step }) => step), [0, 1, 2, 3, 4, 5, 6, 6]);
  assertEquals(Object.keys(metrics[1]), [
    "step",
    "epoch",
    "loss",
    "learning_rate",
    "grad_norm",
    "tokens",
    "tokens_per_second",
  ]);
  assertEquals(metrics[0].eval_loss, result.before.domains[0].loss);

  const again = await graft(["finetune", "--config", `${out}/config.yaml`, "--output", `${folder}/out2`]);
  assertEquals(again.code, 0, again.stderr);
  for (const part of ["domain", "loss before", "before: ", "after:  ", "Saved in", "--compare"]) {
    assert(again.stdout.includes(part), `${part}: ${again.stdout}`);
  }
  const bytes = (path: string) => Deno.readFile(`${path}/adapter_model.safetensors`);
  assertEquals(await bytes(`${folder}/out2`), await bytes(out));

  const both = await graft([
    ...[
      "generate",
      "--model",
      model,
      "--adapter",
      out,
      "--prompt",
      "9 + 9 =",
      "--max-new-tokens",
      "5",
      "--compare",
      "--json",
    ],
  ]);
  assertEquals(both.code, 0, both.stderr);
  const [text] = JSON.parse(both.stdout).texts;
  assertEquals([text.prompt, typeof text.base, typeof text.text], ["9 + 9 =", "string", "string"]);

  const evaluated = await graft([
    "evaluate",
    "--model",
    model,
    "--adapter",
    out,
    "--data",
    data,
    "--batch-size",
    "4",
    "--json",
  ]);
  assertEquals(evaluated.code, 0, evaluated.stderr);
  const { base, adapted } = JSON.parse(evaluated.stdout);
  const [before, after] = [result.before.domains[0].loss, result.after.domains[0].loss];
  // Sums of single tokens in f64 against sums of batches in f32.
  assert(Math.abs(base.loss - before) < 1e-6 * before && Math.abs(adapted.loss - after) < 1e-6 * after);

  const merged = await graft(["merge", "--model", model, "--adapter", out, "--output", `${folder}/merged`, "--json"]);
  assertEquals(merged.code, 0, merged.stderr);
  const { maps, largestDifference, largestLogit } = JSON.parse(merged.stdout);
  // Both sum ~100 products in f32, in another order.
  assert(maps === 4 && largestDifference < 1e-5 * Math.max(1, largestLogit), merged.stdout);
  const plain = await graft(["evaluate", "--model", `${folder}/merged`, "--data", data, "--json"]);
  assert(Math.abs(JSON.parse(plain.stdout).base.loss - adapted.loss) < 1e-5, plain.stdout);
});

Deno.test("cli: quantize, and the commands that keep weights in few bits", async () => {
  const { model, data, folder } = workspace;
  const quantized = `${folder}/nf4`;
  const made = await graft(["quantize", "--model", model, "--output", quantized, "--json"]);
  assertEquals(made.code, 0, made.stderr);
  const { maps, before, after } = JSON.parse(made.stdout);
  assert(maps === 14 && after < before, made.stdout);
  const losses = [];
  for (const options of [["--model", quantized], ["--model", model, "--quantize", "nf4"], ["--model", model]]) {
    const { code, stdout, stderr } = await graft(["evaluate", ...options, "--data", data, "--json"]);
    assertEquals(code, 0, stderr);
    losses.push(JSON.parse(stdout).base.loss);
  }
  assert(losses[0] === losses[1] && losses[0] !== losses[2], `${losses}`);
  const { stdout } = await graft(["inspect", quantized]);
  assert(stdout.includes("in nf4, as it is quantized") && stdout.includes("nothing is wrong"), stdout);
  const trained = await graft([
    ...["finetune", "--model", model, "--data", data, "--quantize", "nf4", "--max-steps", "2", "--batch-size", "4"],
    ...["--samples", "0", "--output", `${folder}/out-nf4`, "--json"],
  ]);
  assertEquals(trained.code, 0, trained.stderr);
  assert(/weights [\d.]+ KiB in nf4/.test(trained.stderr), trained.stderr);
  const { memory, before: first } = JSON.parse(trained.stdout);
  assert(Math.abs(first.domains[0].loss - losses[1]) < 1e-5, trained.stdout); // batches of another size
  assert(memory.total / memory.peak > 0.9 && memory.total <= memory.peak, trained.stdout);
  for (const name of ["nf4", "out-nf4"]) await Deno.remove(`${folder}/${name}`, { recursive: true });
});

Deno.test("cli: inspect finds what is wrong with broken files and never throws", async () => {
  const { model, adapter, folder } = workspace;
  const fine = await graft(["inspect", adapter, "--model", model, "--json"]);
  assertEquals(fine.code, 0, fine.stdout + fine.stderr);
  const { kind, facts, problems } = JSON.parse(fine.stdout);
  assertEquals([kind, facts.matched.startsWith("28 of 28"), problems], ["adapter", true, []]);
  assertEquals((await graft(["inspect", model, "--values"])).code, 0);

  const broken = `${folder}/broken`;
  await Deno.mkdir(broken);
  await Deno.copyFile(`${adapter}/adapter_config.json`, `${broken}/adapter_config.json`);
  const bytes = await Deno.readFile(`${adapter}/adapter_model.safetensors`);
  await Deno.writeFile(`${broken}/adapter_model.safetensors`, bytes.subarray(0, bytes.length - 4));
  const cut = await graft(["inspect", broken]);
  assertEquals(cut.code, 1, cut.stderr);
  assert(cut.stdout.includes("1 problem:") && cut.stdout.includes("st/"), cut.stdout);
  // NaN in the last element.
  await Deno.writeFile(
    `${broken}/adapter_model.safetensors`,
    new Uint8Array([...bytes.subarray(0, -4), 0, 0, 0xc0, 0x7f]),
  );
  const nan = await graft(["inspect", broken, "--json"]);
  assertEquals([nan.code, JSON.parse(nan.stdout).problems.length], [1, 1]);
  assert(nan.stdout.includes("values are not finite"));
  await Deno.writeTextFile(`${broken}/\x1b[31m.safetensors`, "not one");
  const steer = await graft(["inspect", `${broken}/\x1b[31m.safetensors`]);
  assert(steer.code === 1 && steer.stdout.includes("\\u{1b}[31m") && !CONTROLS.test(steer.stdout));
  assertEquals((await graft(["inspect", folder])).code, 1);
  await Deno.remove(broken, { recursive: true });
});

Deno.test("cli: parity repeats a reference case; one that cannot run is a line, not a crash", async () => {
  const empty = `${workspace.folder}/empty-case`;
  await Deno.mkdir(empty);
  await Deno.writeTextFile(`${empty}/case.json`, "{}");
  const { code, stdout, stderr } = await graft(["parity", FIXTURE, empty, `${ROOT}/tests`]);
  assertEquals(code, 1, stderr);
  const [ran, failed] = stdout.trim().split("\n").map((line) => JSON.parse(line));
  assertEquals([ran.case, ran.ok, ran.generate, ran.lrs], ["llama-lora", true, "same", 0], stdout);
  assertEquals([failed.case, failed.ok], ["empty-case", false]);
  assert(failed.error.includes("there is no expected.safetensors"));
  assert(stderr.includes("1 of 2 cases ok") && stderr.includes(`left out: ${ROOT}/tests`), stderr);
  await Deno.remove(empty, { recursive: true });
});

Deno.test("cli: doctor", async () => {
  const { code, stdout, stderr } = await graft(["doctor", "--json"]);
  assertEquals(code, 0, stderr);
  const { ok, tests, device } = JSON.parse(stdout);
  assert(ok && tests.length > 4 && typeof device.name === "string", stdout);
  assert(stderr.includes("Self-test"));
});
