// Errors that come late: queued work, lost devices and calls that overlap.
import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { checked, closeDevice, openDevice } from "../../src/gpu/device.ts";
import { compile, read, run, write } from "../../src/gpu/executable.ts";
import { createStore, put, release } from "../../src/gpu/store.ts";
import { Graph } from "../../src/graph/graph.ts";
import { add } from "../../src/ops/elementwise.ts";
import { gpuTest } from "../device.ts";
import { assertCode } from "./raw.ts";

gpuTest("calls that overlap keep their errors apart", async (device) => {
  const wait = () => new Promise<void>((resolve) => setTimeout(resolve, 1));
  const bad = (bytes: number) => () => device.gpu.createBuffer({ label: `of ${bytes}`, size: bytes, usage: 0 });
  const good = checked(device, "good", async () => (await wait(), "fine"));
  const first = checked(device, "first", async () => (bad(2 ** 40)(), await wait()));
  const second = checked(device, "second", bad(2 ** 41));
  const results = await Promise.allSettled([good, first, second]);
  const texts = results.map((r) =>
    r.status === "fulfilled" ? r.value : `${r.reason.code} ${r.reason.message}`
  ) as string[];
  assertEquals(texts[0], "fine");
  assertStringIncludes(texts[1]!, "device/validation Cannot first: ");
  assertStringIncludes(texts[1]!, String(2 ** 40));
  assertStringIncludes(texts[2]!, "device/validation Cannot second: ");
  assertStringIncludes(texts[2]!, String(2 ** 41));
  const thrown = await assertRejects(() => checked(device, "third", () => Promise.reject(new TypeError("odd"))));
  assertCode(thrown as Error, "device/internal", "Cannot third: odd");
});

/** A program on a device of its own, which the test may break. */
async function breakable() {
  const device = await openDevice();
  const graph = new Graph(device.target), store = createStore(device);
  const x = graph.leaf("input", "x", [4]);
  const y = add(x, x);
  const program = await compile(graph, { store, keep: [y], name: "step" });
  write(program, x, new Float32Array(4).fill(1));
  return { device, store, x, y, program };
}

const broken: Omit<Deno.TestDefinition, "name" | "fn"> = { sanitizeOps: false, sanitizeResources: false };

Deno.test("a device lost in the middle: no result is believed", broken, async () => {
  const { device, store, x, y, program } = await breakable();
  run(program);
  device.gpu.destroy();
  run(program); // queued in silence: nobody was told yet
  assertCode(await assertRejects(() => read(program, [y])) as Error, "device/lost", "read");
  for (const f of [() => run(program), () => write(program, x, new Float32Array(4))]) {
    assertCode(assertThrows(f) as Error, "device/lost", "Cannot");
  }
  assertCode(await assertRejects(() => read(program, [y])) as Error, "device/lost");
  assertCode(await assertRejects(() => put(store, "w", new Float32Array(4))) as Error, "device/lost");
  program.destroy();
  release(store);
  assertEquals(device.memory.bytes, 0);
});

Deno.test("a device that was closed", broken, async () => {
  const { device, y, program } = await breakable();
  closeDevice(device);
  assertCode(assertThrows(() => run(program)) as Error, "device/closed", "run step");
  assertCode(await assertRejects(() => read(program, [y])) as Error, "device/closed");
});

Deno.test("an error of queued work is thrown by the next call", broken, async () => {
  const { device, store, y, program } = await breakable();
  release(store); // takes the scratch memory away
  run(program);
  assertCode(await assertRejects(() => read(program, [y])) as Error, "device/validation", "step", "destroyed");
  assertCode(assertThrows(() => run(program)) as Error, "device/validation", "run step");
  device.gpu.destroy();
});
