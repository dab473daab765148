// What commands may not do: go on without a permission, lose work on Ctrl-C, ask for more than they need.
import { assert, assertEquals } from "@std/assert";
import { commands } from "../../src/cli/commands.ts";
import { FIXTURE, graft, listFiles, makeWorkspace, permissionsOf, start, TASKS, type Workspace } from "./harness.ts";

let workspace: Workspace;

Deno.test.beforeAll(async () => {
  workspace = await makeWorkspace();
});
Deno.test.afterAll(() => workspace.close());

Deno.test("cli: with a permission less, the message names the flag", async () => {
  const { model, data, adapter, folder } = workspace;
  const finetune = ["finetune", "--model", model, "--data", data, "--output", `${folder}/never`];
  const rows: [args: string[], without: string][] = [
    [finetune, "--allow-read"],
    [finetune, "--allow-write"],
    [["merge", "--model", model, "--adapter", adapter, "--output", `${folder}/never`], "--allow-write"],
    [["inspect", model], "--allow-read"],
    [["parity", FIXTURE], "--allow-read"],
  ];
  for (const [args, without] of rows) {
    const permissions = permissionsOf(args[0]!).filter((flag) => flag !== without);
    const { code, stdout, stderr } = await graft(args, { permissions });
    assertEquals(code, 1, `${args[0]} without ${without}: ${stderr}`);
    assert((stderr + stdout).includes(without), `${args[0]} without ${without}: ${stderr}`);
  }
  assert(!(await listFiles(folder)).includes("never"));
});

Deno.test("cli: Ctrl-C finishes the step, saves what there is, and exits with 130", async () => {
  const { model, data, folder } = workspace;
  const args = ["finetune", "--model", model, "--data", data, "--output", `${folder}/stopped`, "--epochs", "100000"];
  const child = start([...args, "--samples", "0", "--batch-size", "2"]);
  // Wait for the first steps.
  const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; !text.includes("step ");) {
    const { value, done } = await reader.read();
    assert(!done, text);
    text += value;
  }
  child.kill("SIGINT");
  let rest = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) rest += part.value;
  await child.stdout.cancel();
  const { code } = await child.status;
  assertEquals(code, 130, rest);
  assert(rest.includes("saved in"), rest);
  assert((await listFiles(`${folder}/stopped`)).includes("adapter_model.safetensors"));
});

const DRIVER = ["XDG_RUNTIME_DIR", "DENO_WEBGPU_BACKEND"];
const CACHE = ["XDG_CACHE_HOME", "HOME", "USERPROFILE"];
const HUB = ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", ...CACHE];

/** The variables that each command reads, beside DEBUG. */
const VARIABLES: Readonly<Record<string, readonly string[]>> = {
  finetune: ["PROFILE", "FINITE", ...DRIVER, ...HUB],
  download: ["HF_TOKEN", ...HUB],
  generate: [...DRIVER, ...HUB],
  evaluate: [...DRIVER, ...HUB],
  merge: [...DRIVER, ...HUB],
  combine: [...DRIVER, ...HUB],
  quantize: HUB,
  inspect: HUB,
  doctor: DRIVER,
  tune: [...DRIVER, ...CACHE],
  parity: ["FINITE", ...DRIVER],
};

Deno.test("cli: every command has a task with no more permissions than it needs", () => {
  const writing = new Set(["finetune", "generate", "merge", "combine", "quantize", "download", "tune"]);
  for (const name of commands.keys()) {
    const words = TASKS.get(name) ?? [];
    assertEquals(words.slice(-2), ["src/cli/main.ts", name], `deno.json has no task "${name}"`);
    const flags = permissionsOf(name).map((flag) => flag.split("="));
    const wanted = [
      ...(name === "doctor" ? [] : ["--allow-read"]),
      ...(writing.has(name) ? ["--allow-write"] : []),
      ...(name === "download" ? ["--allow-net"] : []),
      "--allow-env",
    ];
    assertEquals(flags.map(([kind]) => kind), wanted, name);
    const variables = flags.at(-1)![1]?.split(",") ?? [];
    assertEquals(variables.sort(), ["DEBUG", ...VARIABLES[name]!].sort(), name);
    assert(!words.some((word) => /^-A|--allow-(all|net$|run|ffi|sys|import|hrtime)/.test(word)), `${name}: ${words}`);
  }
});
