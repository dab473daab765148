import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { IoError, NumericError } from "../../src/core/errors.ts";
import { compile, read, write } from "../../src/gpu/executable.ts";
import { observe } from "../../src/gpu/observe.ts";
import { createStore, release } from "../../src/gpu/store.ts";
import { Graph } from "../../src/graph/graph.ts";
import { scale } from "../../src/ops/elementwise.ts";
import { gpuTest } from "../device.ts";

/** Run `body` with variables set, and collect what goes to stderr. */
async function withEnv(variables: Readonly<Record<string, string>>, body: () => Promise<void>): Promise<string> {
  const lines: string[] = [];
  const { error } = console;
  console.error = (line: string) => void lines.push(line);
  for (const [name, value] of Object.entries(variables)) Deno.env.set(name, value);
  try {
    await body();
  } finally {
    console.error = error;
    for (const name of Object.keys(variables)) Deno.env.delete(name);
  }
  return lines.join("\n");
}

gpuTest("observe: runs the program once, whatever the environment asks for", async (device) => {
  const store = createStore(device), graph = new Graph(device.target);
  const x = graph.leaf("input", "x", [8]);
  const y = graph.scope("layers.0", () => scale(x, 3));
  const path = await Deno.makeTempFile({ suffix: ".json" });
  await Deno.writeTextFile(path, "");
  const text = await withEnv({ DEBUG: "4" }, async () => {
    const program = await compile(graph, { store, keep: [y], name: "tiny" });
    program.destroy();
  });
  assertStringIncludes(text, "tiny: 1 nodes (0 joined others), 1 dispatches (1.0 a layer)");
  assertStringIncludes(text, "f32[8] = scale(x)");
  const program = await compile(graph, { store, keep: [y], name: "tiny" });
  const step = async () => {
    write(program, y, new Float32Array(8));
    write(program, x, new Float32Array(8).fill(2));
    await observe(program);
    assertEquals((await read(program, [y]))[0], new Float32Array(8).fill(6));
  };
  assertEquals(await withEnv({}, step), "");
  assertEquals(await withEnv({ FINITE: "1" }, step), "");
  if (device.timestamps) {
    assertStringIncludes(await withEnv({ DEBUG: "2" }, step), "tiny: time by kernel\nscale ");
    assertEquals(await withEnv({ PROFILE: path }, step), "");
    const { traceEvents } = JSON.parse(await Deno.readTextFile(path));
    assertEquals(traceEvents.map(({ name, cat }: { name: string; cat: string }) => [name, cat]), [[
      "scale",
      "layers.0",
    ]]);
    await Deno.writeTextFile(path, "once");
    await withEnv({ PROFILE: path }, step);
    assertEquals(await Deno.readTextFile(path), "once");
    const nowhere = { PROFILE: `${path}.missing/trace.json` };
    await withEnv(
      nowhere,
      async () => void await assertRejects(() => observe(program), IoError, "Cannot write the profile"),
    );
  }
  await withEnv({ FINITE: "1" }, async () => {
    write(program, x, new Float32Array(8).fill(NaN));
    await assertRejects(() => observe(program), NumericError, "layers.0: scale");
  });
  program.destroy();
  release(store);
  await Deno.remove(path);
});
