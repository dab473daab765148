import { assert, assertEquals, assertRejects } from "@std/assert";
import { defineCommand, report } from "../../src/cli/command.ts";
import { commandHelp } from "../../src/cli/help.ts";
import { editDistance, nearest } from "../../src/cli/nearest.ts";
import { choice, count, flag, list, path, real, required, text } from "../../src/cli/settings.ts";
import { settingsText } from "../../src/cli/settings_file.ts";
import { createTerminal } from "../../src/cli/terminal.ts";
import { UsageError } from "../../src/core/errors.ts";

const schema = {
  data: path("training data", { transient: true }),
  learningRate: real("step size", { default: 2e-4, above: 0, max: 10 }),
  rank: count("width", { default: 8, min: 1, max: 64 }),
  method: choice("what is trained", ["lora", "full"], { default: "lora" }),
  packing: flag("join examples"),
  prompt: text("opening"),
  targets: list("modules"),
  config: path("settings file", { transient: true }),
};

/** The settings that a command line gives, as the command sees them. */
async function settingsOf(args: readonly string[]): Promise<Record<string, unknown>> {
  let seen: Record<string, unknown> = {};
  const entry = defineCommand({
    name: "try",
    summary: "A trial.",
    schema,
    examples: ["deno task try"],
    presets: (given) => given.data === undefined ? { rank: 3 } : {},
    run: (settings) => {
      seen = settings;
      return Promise.resolve(0);
    },
  });
  const { run } = await entry.prepare(args);
  await run(createTerminal({ json: false, plain: true }), new AbortController().signal);
  return seen;
}

async function problemsOf(args: readonly string[]): Promise<string> {
  const error = await assertRejects(() => settingsOf(args), UsageError);
  assertEquals(report(error).code, 2);
  return error.message;
}

Deno.test("settings: values, defaults, presets and switches", async () => {
  const some = await settingsOf(["--data", "x", "--learning-rate=1e-3", "--packing", "--targets", "a, b"]);
  assertEquals(some, {
    data: "x",
    learningRate: 1e-3,
    rank: 8,
    method: "lora",
    packing: true,
    prompt: undefined,
    targets: ["a", "b"],
    config: undefined,
  });
  assertEquals((await settingsOf([])).rank, 3);
  assertEquals((await settingsOf(["--rank", "5"])).rank, 5);
  assertEquals((await settingsOf(["--packing", "--no-packing"])).packing, false);
  assertEquals((await settingsOf(["--prompt=--not a flag"])).prompt, "--not a flag");
});

Deno.test("settings: everything that is wrong with a command line is told at once", async () => {
  const rows: [args: string[], ...parts: string[]][] = [
    [["--lerning-rate", "1"], "unknown option --lerning-rate: did you mean --learning-rate?"],
    [["--zzzzzz"], "unknown option --zzzzzz"],
    [["--__proto__", "1"], "unknown option --__proto__"],
    [["-q"], "unknown option -q"],
    [["--no-rank"], "unknown option --no-rank: did you mean --rank?"],
    [["--rank"], "--rank needs a value"],
    [["--rank="], "--rank needs a value"],
    [["--data", "", "--rank", "4"], "--data needs a value"],
    [["--data", " "], "--data must be a path"],
    [["--data", "a\0b"], '--data must be a path without zero bytes: received "a\\u{0}b"'],
    [["--rank", "1e999"], "--rank must be a whole number from 1 to 64", '"1e999"'],
    [["--rank", "-1"], '"-1"'],
    [["--rank", "2.5"], "whole number"],
    [["--rank", "0x10"], "whole number"],
    [["--rank", "eight"], '"eight"'],
    [["--rank", "NaN"], '"NaN"'],
    [["--rank", "4", "--rank", "4"], "--rank is given 2 times"],
    [["--learning-rate", "0"], "above 0 and of at most 10"],
    [["--learning-rate", "-.5"], '"-.5"'],
    [["--method", "lara"], "--method must be one of lora, full"],
    [["--packing=maybe"], "--packing must be true or false"],
    [["--targets", "a,,b"], "words parted by commas"],
    [["stray"], '"stray" is one argument too many'],
    [["--rank", "x", "--learning-rate", "y", "--oops"], "--rank must be", "--learning-rate must be", "--oops"],
    [["--\x1b[31mred"], "\\u{1b}"],
    [["--method", "\x1b]0;title\x07"], "\\u{1b}]0;title\\u{7}"],
  ];
  for (const [args, ...parts] of rows) {
    const message = await problemsOf(args);
    for (const part of parts) assert(message.includes(part), `${args}: ${message}`);
    // deno-lint-ignore no-control-regex
    assert(!/[\x00-\x09\x0b-\x1f]/.test(message), `a control character of ${JSON.stringify(args)} is printed`);
  }
});

Deno.test("settings: flags win over the file, the file over defaults; its problems name it", async () => {
  const folder = await Deno.makeTempDir();
  const file = `${folder}/run.yaml`;
  await Deno.writeTextFile(file, "learning_rate: 2e-3\nrank: 16\npacking: true\ntargets: [q, v]\nprompt: null\n");
  const settings = await settingsOf(["--config", file, "--rank", "4"]);
  assertEquals([settings.learningRate, settings.rank, settings.packing, settings.targets], [2e-3, 4, true, ["q", "v"]]);
  await Deno.writeTextFile(file, '{"rank": 2}');
  assertEquals((await settingsOf(["--config", file])).rank, 2);
  await Deno.writeTextFile(file, settingsText(schema, settings, "written by a test"));
  const again = await settingsOf(["--config", file]);
  assertEquals({ ...again, config: undefined }, { ...settings, config: undefined });

  const rows: [content: string, part: string][] = [
    ["lerning_rate: 1", "unknown setting lerning_rate: did you mean learning_rate?"],
    ["rank: .inf", "rank must be a whole number from 1 to 64: received Infinity"],
    ["rank: eight", 'received "eight"'],
    ["packing: 1", "packing must be true or false: received 1"],
    ["__proto__: {rank: 9}", "unknown setting __proto__"],
    ["- rank", "must hold lines such as"],
    ["rank: 1\nrank: 2", "duplicated key"],
    ["rank: [1", "no YAML"],
    ["rank: !!js/function 'x'", "no YAML"],
  ];
  for (const [content, part] of rows) {
    await Deno.writeTextFile(file, content);
    const message = await problemsOf(["--config", file]);
    assert(message.includes(part) && message.includes("run.yaml"), `${content}: ${message}`);
  }
  assert((await problemsOf(["--config", `${folder}/none.yaml`])).includes("no such file"));
  await Deno.remove(folder, { recursive: true });
});

Deno.test("settings: what must be given, and the help", async () => {
  const entry = defineCommand({
    name: "copy",
    summary: "Copies.",
    schema: { output: required(path("where to")), dtype: choice("type", ["f32", "f16"], { default: "f32" }) },
    operands: { name: "FILE…", help: "what to copy", min: 1, max: 2 },
    examples: ["deno task copy a --output b"],
    run: () => Promise.resolve(0),
  });
  const missing = await assertRejects(() => entry.prepare(["a"]), UsageError);
  assert(missing.message.includes("--output must be given: where to"));
  const none = await assertRejects(() => entry.prepare(["--output", "b"]), UsageError);
  assert(none.message.includes("FILE… must be given: what to copy"));
  const many = await assertRejects(() => entry.prepare(["a", "b", "c", "--output", "b"]), UsageError);
  assert(many.message.includes('"c" is one argument too many'));
  const help = commandHelp(entry);
  for (
    const part of ["FILE…", "--output PATH", "where to (must be given)", "--dtype f32|f16", "type (f32)", "--json"]
  ) {
    assert(help.includes(part), part);
  }
});

Deno.test("nearest: words with a letter swapped, left out or added", () => {
  const flags = ["learning-rate", "rank", "alpha", "max-steps", "max-length"];
  assertEquals(nearest("lerning-rate", flags), "learning-rate");
  assertEquals(nearest("learnign-rate", flags), "learning-rate");
  assertEquals(nearest("maxsteps", flags), "max-steps");
  assertEquals(nearest("lr-schedule-kind", flags), undefined);
  assertEquals(editDistance("", "abc"), 3);
  assertEquals(editDistance("ab", "ba"), 1);
  assertEquals(editDistance("kitten", "sitting"), 3);
});

Deno.test("report: an unexpected error says that it is a bug, without a stack", () => {
  const { text, code } = report(new TypeError("x is \x1b[31mundefined"));
  assertEquals(code, 1);
  assert(text.startsWith("error[internal]: TypeError: x is \\u{1b}[31mundefined\n") && text.includes("bug in Graft"));
  assert(!text.includes("settings_test.ts"));
});
