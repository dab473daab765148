// `combine`, and `merge` of several adapters, as users call them.
import { assert, assertEquals } from "@std/assert";
import { graft, listFiles, makeWorkspace, type Workspace } from "./harness.ts";

let workspace: Workspace;

Deno.test.beforeAll(async () => {
  workspace = await makeWorkspace();
});
Deno.test.afterAll(() => workspace.close());

Deno.test("cli: adapters become one, or are folded in together, with the same numbers", async () => {
  const { model, adapter, folder } = workspace;
  const two = ["--model", model, "--adapter", adapter, "--adapter", adapter, "--json"];
  const made = await graft(["combine", ...two, "--weights", "1.5,-0.5", "--output", `${folder}/both`]);
  assertEquals(made.code, 0, made.stderr);
  const { combination, parameters } = JSON.parse(made.stdout);
  assert(combination === "cat" && parameters > 0, made.stdout);
  assertEquals(await listFiles(`${folder}/both`), ["README.md", "adapter_config.json", "adapter_model.safetensors"]);

  const merge = async (args: string[], name: string) => {
    const run = await graft(["merge", "--json", ...args, "--output", `${folder}/${name}`]);
    assertEquals(run.code, 0, run.stderr);
    const report = JSON.parse(run.stdout);
    assert(report.largestDifference < 1e-5 * Math.max(1, report.largestLogit), run.stdout);
    return report.largestLogit as number;
  };
  // 1.5 - 0.5 of the same adapter is that adapter.
  const one = await merge(["--model", model, "--adapter", adapter], "one");
  assert(Math.abs(await merge(["--model", model, "--adapter", `${folder}/both`], "merged") - one) < 1e-5);
  const halves = ["--weights", "0.5,0.5", "--combination", "linear"];
  assert(Math.abs(await merge([...two.slice(0, -1), ...halves], "linear") - one) > 1e-4); // √½ twice: mixed terms double it
  assert(await merge(two.slice(0, -1), "twice") !== one);
});

Deno.test("cli: what does not fit together is refused before anything is done", async () => {
  const { model, adapter, folder } = workspace;
  const before = await listFiles(folder);
  const output = ["--model", model, "--output", `${folder}/never`];
  const rows: [args: string[], text: string][] = [
    [["combine"], "--adapter must be given"],
    [
      ["combine", "--adapter", adapter, "--weights", "1,2"],
      "--weights must have one for each of 1 adapters: received 2",
    ],
    [["merge", "--adapter", adapter, "--weights", "x"], "--weights must be numbers: received x"],
    [["merge", "--adapter", adapter, "--combination", "ties"], "needs --density"],
    [["merge", "--adapter", adapter, "--combination", "sum"], "must be one of cat, linear"],
    [["merge", "--adapter", adapter, "--adapter", `${folder}/none`], "--adapter"],
    [["merge", "--adapter", adapter, "--density", "1.5"], "--density must be a number"],
    [["merge", "--adapter", adapter, "--output", "x"], "--output is given 2 times"],
  ];
  for (const [args, text] of rows) {
    const { code, stderr } = await graft([...args, ...output]);
    assertEquals(code, 2, stderr);
    assert(stderr.includes(text), stderr);
  }
  assertEquals(await listFiles(folder), before);
});
