// Programs that share a device: scratch memory in turns, live bytes, the interpreter, timings.
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { NumericError } from "../../src/core/errors.ts";
import type { GraftDevice } from "../../src/gpu/device.ts";
import { compile, type Executable, read, run, write } from "../../src/gpu/executable.ts";
import { firstNonFinite, interpret } from "../../src/gpu/interpret.ts";
import { chromeTrace, profile, timingTable } from "../../src/gpu/profile.ts";
import { createStore, fetch, put, release, type Store } from "../../src/gpu/store.ts";
import { floatBits, Graph, type Value } from "../../src/graph/graph.ts";
import { backward } from "../../src/ops/backward.ts";
import { add, multiply, scale } from "../../src/ops/elementwise.ts";
import { gpuTest } from "../device.ts";
import { assertCode, raw } from "./raw.ts";

/** y = ((2x) + x) · 2x over n elements. */
async function bucket(
  device: GraftDevice,
  store: Store,
  n: number,
): Promise<{ x: Value; y: Value; program: Executable }> {
  const graph = new Graph(device.target);
  const x = graph.leaf("input", "x", [n]);
  const double = scale(x, 2);
  const y = multiply(add(double, x), double);
  const program = await compile(graph, { store, keep: [y], name: `bucket ${n}` });
  write(program, x, new Float32Array(n).fill(n));
  return { x, y, program };
}

gpuTest("arena: programs take turns with the scratch of the largest", async (device) => {
  const before = device.memory.bytes;
  const store = createStore(device);
  const sizes = [4096, 1000, 2048, 64];
  const buckets: Awaited<ReturnType<typeof bucket>>[] = [];
  for (const n of sizes) buckets.push(await bucket(device, store, n));
  const arena = store.arena.reduce((sum, { size }) => sum + size, 0);
  assertEquals(arena, buckets[0]!.program.scratchBytes, "smaller programs created nothing");
  for (const { program } of buckets) {
    const slots = new Set(program.graph.nodes.map((node) => program.locate(node.outputs[0]).buffer));
    assertEquals(slots.size, new Set([...slots].map(({ label }) => label)).size);
    assert([...slots].every((buffer) => store.arena.includes(buffer)));
  }
  const expect = (n: number) => new Float32Array(n).fill(6 * n * n);
  for (const { program, y } of [...buckets, ...buckets.toReversed()]) {
    run(program);
    const n = y.shape[0]!;
    assertEquals((await read(program, [y]))[0], expect(n));
  }
  // What another program has run over is not handed out.
  run(buckets[1]!.program);
  run(buckets[2]!.program);
  const stale = await assertRejects(() => read(buckets[1]!.program, [buckets[1]!.y]));
  assertCode(stale as Error, "device/value", "bucket 1000", "another program ran since");
  // Freeing one leaves the others whole.
  buckets[0]!.program.destroy();
  run(buckets[2]!.program);
  assertEquals((await read(buckets[2]!.program, [buckets[2]!.y]))[0], expect(2048));
  for (const { program } of buckets) program.destroy();
  assertEquals(device.memory.bytes - before, arena);
  release(store);
  assertEquals(device.memory.bytes, before);
});

gpuTest("arena: a larger program later adds what is missing, and no more", async (device) => {
  const store = createStore(device);
  const small = await bucket(device, store, 64), large = await bucket(device, store, 4096);
  const held = store.arena.length;
  const after = await bucket(device, store, 4096), between = await bucket(device, store, 1024);
  assertEquals(store.arena.length, held, "what fits creates nothing");
  const total = store.arena.reduce((sum, { size }) => sum + size, 0);
  assertEquals(
    total,
    small.program.scratchBytes + large.program.scratchBytes,
    "none of the small ones was large enough",
  );
  for (const { program, y } of [small, large, after, between]) {
    run(program);
    assertEquals((await read(program, [y]))[0]![0], 6 * y.shape[0]! ** 2);
    program.destroy();
  }
  release(store);
  assertEquals(store.arena.length, 0);
});

gpuTest("arena: temporaries share buffers at offsets, and the summary has this program's own use", async (device) => {
  const store = createStore(device);
  await bucket(device, store, 65536);
  const graph = new Graph(device.target);
  const x = graph.leaf("input", "x", [100]);
  const values = Array.from({ length: 20 }, (_, i) => scale(x, i));
  const y = values.reduce((sum, v) => add(sum, v));
  const program = await compile(graph, { store, keep: [y], name: "many" });
  write(program, x, new Float32Array(100).fill(1));
  run(program);
  assertEquals((await read(program, [y]))[0], new Float32Array(100).fill(190));
  const places = values.map((v) => program.locate(v));
  assert(new Set(places.map(({ buffer }) => buffer)).size < values.length);
  const step = Math.ceil(400 / device.target.alignment) * device.target.alignment;
  assert(places.every(({ offset }) => (4 * offset) % device.target.alignment === 0));
  assert(program.scratchBytes >= 21 * step && program.scratchBytes <= 22 * step, `${program.scratchBytes}`);
  assertStringIncludes(program.summary, "temporaries 0.01 MiB in ");
  program.destroy();
  release(store);
});

gpuTest("memory: live bytes are constant over 1,000 runs, and all is destroyed", async (device) => {
  const start = { ...device.memory };
  const store = createStore(device);
  const graph = new Graph(device.target);
  const x = graph.leaf("input", "x", [1024]), w = graph.leaf("param", "w", [1024]);
  const y = multiply(scale(x, 2), w);
  const dw = backward(graph, y).get(w)!;
  await put(store, "w", new Float32Array(1024).fill(0.5));
  const program = await compile(graph, { store, keep: [y, dw] });
  const data = new Float32Array(1024).fill(1);
  let bytes = 0, rss = 0;
  for (let i = 1; i <= 1000; i++) {
    write(program, x, data);
    run(program);
    if (i % 50 !== 0) continue;
    assertEquals((await read(program, [y, dw])).map((v) => v[1023]), [1, 2]);
    if (i === 100) [bytes, rss] = [device.memory.bytes, Deno.memoryUsage().rss];
    if (i > 100) assertEquals(device.memory.bytes, bytes, `run ${i}`);
  }
  const grown = (Deno.memoryUsage().rss - rss) / 2 ** 20;
  console.log(`resident memory grew by ${grown.toFixed(1)} MiB over 900 runs`);
  assert(grown < 32, "a leak of one 36 KiB step would be 32 MiB"); // the garbage collector moves a few MiB
  program.destroy();
  release(store);
  const { bytes: left, buffers, created } = device.memory;
  assertEquals([left, buffers], [start.bytes, start.buffers]);
  assert(created - start.created >= 20, "every read-back has a buffer");
});

gpuTest(
  "interpret: names the op, the place and the culprit, for NaN in an input, a weight and a gradient",
  async (device) => {
    const N = 300;
    for (const planted of ["x", "w", "dy"]) {
      for (const bits of [0x7fc00000, 0xff800001, floatBits(Infinity), floatBits(-Infinity)]) {
        const graph = new Graph(device.target), store = createStore(device);
        const x = graph.leaf("input", "x", [N]), dy = graph.leaf("input", "dy", [N]);
        const w = graph.leaf("weight", "w", [N]), p = graph.leaf("param", "p", [N]);
        const y = graph.scope("layers.3", () => multiply(add(scale(x, 2), p), w));
        const dp = backward(graph, y, dy).get(p)!;
        const program = await compile(graph, { store, keep: [y, dp] });
        await put(store, "w", new Float32Array(N).fill(1));
        for (const leaf of [x, dy]) write(program, leaf, new Float32Array(N).fill(1));
        await interpret(program); // all is well
        assertEquals((await read(program, [y]))[0], new Float32Array(N).fill(2));
        const words = new Uint32Array(N).fill(floatBits(1));
        words[257] = bits;
        const leaf = { x, w, dy }[planted]!;
        write(program, leaf, new Float32Array(words.buffer));
        const error = await assertRejects(() => interpret(program), NumericError) as NumericError;
        assertEquals(error.code, "num/non-finite");
        const op = { x: "scale", w: "multiply", dy: "multiply" }[planted]!;
        const value = (bits & 0x7fffff) !== 0 ? "NaN" : bits === floatBits(Infinity) ? "Infinity" : "-Infinity";
        assertStringIncludes(error.message, `layers.3: ${op} (dispatch `);
        assertStringIncludes(error.message, `made ${value} at element 257 of [${N}]`);
        assertStringIncludes(error.message, `"${planted}" holds ${value} at element 257 already`);
        program.destroy();
        release(store);
      }
    }
  },
);

gpuTest("interpret: looks at what an op writes in place, and not at what a slot held before", async (device) => {
  const graph = new Graph(device.target), store = createStore(device);
  const x = graph.leaf("input", "x", [64]), state = graph.leaf("state", "s", [64]);
  const partly = raw(graph, [x], [64], {}); // writes one element; the rest is what the slot held
  raw(graph, [partly, state], [1], {
    read: ([a]) => [a!],
    write: ([, s], [y]) => [s!, y!],
    wgsl: `@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> s: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(1) fn main() { s[5] = x[0]; y[0] = 0.0; }`,
  });
  const program = await compile(graph, { store, keep: [partly] });
  write(program, partly, new Float32Array(64).fill(NaN));
  await interpret(program);
  assertEquals((await fetch(store, "s", { length: 6 }))[5], 0);
  program.destroy();
  release(store);
});

Deno.test("non-finite numbers are found by their bits", () => {
  const words = (...x: number[]) => new Uint32Array(new Float32Array(x).buffer);
  assertEquals(firstNonFinite(words(1, -0, 3.4e38, 1e-45)), -1);
  assertEquals([NaN, Infinity, -Infinity].map((x) => firstNonFinite(words(0, 1, x))), [2, 2, 2]);
  assertEquals(firstNonFinite(new Uint32Array([0x7f800001, 0xffffffff])), 0);
});

gpuTest("profile: sane timings, a table and a Chrome trace", async (device) => {
  if (!device.timestamps) return console.log("skipped, no timestamps");
  const store = createStore(device);
  const { program, y } = await bucket(device, store, 2 ** 20);
  run(program);
  await read(program, [y]);
  const before = performance.now();
  const timings = await profile(program);
  const wall = performance.now() - before;
  assertEquals(timings.map(({ name }) => name), ["scale", "add", "multiply"]);
  let end = 0;
  for (const { start, ms } of timings) {
    assert(ms > 0 && start >= end - 1e-3, `${start} + ${ms} after ${end}`); // ticks of a nanosecond in f64
    end = start + ms;
  }
  assert(end <= wall, `${end} ms of GPU in ${wall} ms`);
  assertEquals((await read(program, [y]))[0]![7], 6 * 2 ** 40);
  const { traceEvents } = JSON.parse(chromeTrace(timings));
  assertEquals(traceEvents.map((e: { ph: string; dur: number }) => [e.ph, e.dur > 0]), timings.map(() => ["X", true]));
  assertEquals(timingTable(timings).split("\n").length, 3);
  program.destroy();
  release(store);
});
