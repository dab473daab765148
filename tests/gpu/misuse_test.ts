// Each of these passes in silence, or aborts the process, when WebGPU is used directly in Deno.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { DeviceError } from "../../src/core/errors.ts";
import { createBuffer, destroyBuffer, readBack, upload } from "../../src/gpu/buffer.ts";
import { checkKernel, grid, workgroupBytes, workgroupSize } from "../../src/gpu/check.ts";
import type { GraftDevice } from "../../src/gpu/device.ts";
import { compile, read, run, write } from "../../src/gpu/executable.ts";
import { createStore, fetch, put, release, resident } from "../../src/gpu/store.ts";
import { Graph, type Kernel, type Value } from "../../src/graph/graph.ts";
import { guaranteed } from "../../src/graph/target.ts";
import { scale } from "../../src/ops/elementwise.ts";
import { foldProbe, loopProbe } from "../../src/ops/probe.ts";
import { gpuTest } from "../device.ts";
import { assertCode, COPY_WORD, ONE_WORD, raw, type RawKernel } from "./raw.ts";

/** The error of compiling one raw kernel in scope "layers.1". */
async function compileError(device: GraftDevice, kernel: RawKernel, inputs: readonly number[] = []): Promise<Error> {
  const before = device.memory.bytes;
  const graph = new Graph(device.target), store = createStore(device);
  const values = inputs.map((n, i) => graph.leaf("input", `x${i}`, [n]));
  const y = graph.scope("layers.1", () => raw(graph, values, [64], kernel));
  const error = await assertRejects(() => compile(graph, { store, keep: [y] }));
  release(store);
  assertEquals(device.memory.bytes, before, "a program that failed to compile left buffers behind");
  return error as Error;
}

gpuTest("a bad shader is shown with the place", async (device) => {
  const wgsl = ONE_WORD.replace("1.0", "wrong");
  const error = await compileError(device, { wgsl });
  assertCode(
    error,
    "device/shader",
    "Cannot compile layers.1: raw kernel",
    "at 2:",
    "fn main() { y[0] = wrong; }",
    "^",
  );
  const caret = error.message.split("\n").find((line) => line.trim() === "^")!;
  const line = error.message.split("\n").find((line) => line.startsWith(">"))!;
  assertEquals(line.slice(caret.indexOf("^")).startsWith("wrong"), true, error.message);
});

gpuTest("a shader without main, and bindings that do not fit the shader", async (device) => {
  assertCode(await compileError(device, { wgsl: ONE_WORD.replace("main", "other") }), "device/shader", "layers.1");
  assertCode(await compileError(device, { read: () => [] }, [4]), "device/validation", "bind layers.1: raw kernel");
  assertCode(await compileError(device, { uniform: [1] }), "device/validation", "bind layers.1: raw kernel");
});

gpuTest("kernels above a limit", async (device) => {
  const { workgroupBytes: limit, storageBuffers, invocations } = device.target;
  assertCode(await compileError(device, { trips: 65000 }), "device/limit", "loops 65000 times", "layers.1");
  assertCode(await compileError(device, { trips: NaN }), "device/limit", "loops NaN times");
  const shared = `const SIZE = ${limit / 16 + 1}u;\nvar<workgroup> tile: array<vec4f, SIZE>;\n${ONE_WORD}`;
  assertCode(await compileError(device, { wgsl: shared }), "device/limit", `${limit + 16} bytes`, `has ${limit}`);
  const wide = ONE_WORD.replace("size(1)", `size(${invocations}, 2)`);
  assertCode(await compileError(device, { wgsl: wide }), "device/limit", `${2 * invocations} invocations`);
  const many = (inputs: readonly Value[]) => Array.from({ length: storageBuffers }, () => inputs[0]!);
  assertCode(await compileError(device, { read: many }, [4]), "device/limit", `binds ${storageBuffers + 1} buffers`);
  assertCode(await compileError(device, { uniform: [1, NaN] }), "device/limit", "word 1 of its uniform is NaN");
  assertCode(await compileError(device, { uniform: [0.5] }), "device/limit", "is 0.5");
});

Deno.test("workgroup memory and size are read from the text, or refused", () => {
  const kernel = { name: "k", read: [], write: [], workgroups: 1, trips: 0 };
  const bytes: readonly (readonly [text: string, bytes: number])[] = [
    ["var<workgroup> a: array<f32, 64>;", 256],
    ["var<workgroup> a: array<array<vec4h, 5>, 16>;", 640],
    ["const N = 4u; const M: u32 = 8; var<workgroup> a: array<array<vec4<f32>, N>, M*2>;", 1024],
    ["var<workgroup> a: array<vec3f, 2>; var<workgroup> b: atomic<u32>;", 36],
    ["var<workgroup> m: array<mat4x4f, 2u>;", 128],
    ["var<workgroup> m: mat2x3<f32>;", 32],
  ];
  for (const [text, count] of bytes) assertEquals(workgroupBytes(text), count, text);
  for (
    const text of [
      "var<workgroup> a: Tile;",
      "var<workgroup> a: array<f32, N>;",
      "var<workgroup> a: array<f32, 2 + 2>;",
    ]
  ) {
    assertThrows(() => workgroupBytes(text), DeviceError, "Cannot read the");
  }
  assertEquals(["@workgroup_size(8, 4,)", "const L = 32u; @workgroup_size(L)", ""].map(workgroupSize), [32, 32, 1]);
  checkKernel({ ...kernel, wgsl: "// var<workgroup> old: Unknown;\n/* var<workgroup> x: Y; */" }, guaranteed);
});

Deno.test("workgroups fold into two dimensions, and explicit counts are refused", () => {
  const at = (workgroups: Kernel["workgroups"]) => grid({ name: "k", workgroups } as Kernel);
  for (const n of [1, 65535, 65536, 65537, 4194239, 4194240, 4194241, 65535 * 65535]) {
    const [x, y, z] = at(n);
    assert(x <= 65535 && y <= 65535 && z === 1 && x * y >= n && x * y < n + y, `${n} as ${[x, y, z]}`);
  }
  assertEquals(at([3, 4]), [3, 4, 1]);
  for (const counts of [[65536], [1, 65536], [0], [1, 2, -1], [1.5], [NaN]] as unknown as Kernel["workgroups"][]) {
    assertThrows(() => at(counts), DeviceError, "each count must be in [1, 65535]");
  }
  for (const count of [0, -1, NaN, 0.5, 65535 * 65535 + 1]) {
    assertThrows(() => at(count), DeviceError, "each count must be");
  }
});

gpuTest("a fold writes every element once", async (device) => {
  for (const count of [65535, 65536, 70001]) {
    const graph = new Graph(device.target), store = createStore(device);
    const ids = foldProbe(graph, count);
    const program = await compile(graph, { store, keep: [ids] });
    run(program);
    const [got] = await read(program, [ids]);
    assertEquals(got!.findIndex((v, i) => v !== i), -1, `${count} workgroups`);
    program.destroy();
    release(store);
  }
});

gpuTest("4,194,240 ± 1 elements: every one is written", async (device) => {
  for (const count of [4194239, 4194240, 4194241, 65536 * 64 + 1]) {
    const graph = new Graph(device.target), store = createStore(device);
    const x = graph.leaf("input", "x", [count]);
    const y = scale(x, 2);
    const program = await compile(graph, { store, keep: [y] });
    const data = new Float32Array(count);
    for (let i = 0; i < count; i++) data[i] = i & 0xffff;
    write(program, x, data);
    write(program, y, new Float32Array(count).fill(-1)); // a canary: no element may survive
    run(program);
    const [got] = await read(program, [y]) as [Float32Array];
    let wrong = 0;
    for (let i = 0; i < count; i++) if (got[i] !== 2 * data[i]!) wrong++;
    assertEquals(wrong, 0, `${count} elements`);
    program.destroy();
    release(store);
  }
});

gpuTest("bindings and buffers that are too large", async (device) => {
  const error = await compileError(device, {}, [1025]);
  assertCode(error, "device/binding", '"x0" [1025]', "4112 bytes", "at most 4096", "smaller batch", "layers.1");
}, { maxBinding: 4096 });

gpuTest("a value above the largest buffer is named before anything is allocated", async (device) => {
  const graph = new Graph(device.target);
  const words = Math.floor(device.target.maxBuffer / 4);
  const huge = graph.leaf("weight", "huge", [words + 5]);
  raw(graph, [huge], [1], {});
  const before = device.memory.created;
  const error = await assertRejects(() => compile(graph, { store: createStore(device) }));
  assertCode(error as Error, "mem/buffer", '"huge"', `${device.target.maxBuffer}`, "smaller batch");
  assertEquals(device.memory.created, before);
  for (const bytes of [NaN, Infinity, 2 ** 64, device.target.maxBuffer + 1]) {
    assertCode(await assertRejects(() => createBuffer(device, "odd", bytes)) as Error, "mem/buffer", '"odd"');
  }
});

gpuTest("a buffer both read and written, and writes that overlap", async (device) => {
  const [x] = [4];
  assertCode(await compileError(device, { write: (i) => i }, [x]), "device/alias", '"x0"', "layers.1", "read_write");
  const write = (_: readonly Value[], [y]: readonly Value[]) => [y!, y!];
  const wgsl = COPY_WORD.replace("storage, read>", "storage, read_write>");
  assertCode(await compileError(device, { wgsl, write }), "device/alias", "overlaps");
});

gpuTest("ranges that are unaligned or outside", async (device) => {
  const range = (offset: number, length: number) => ({
    read: ([x]: readonly Value[]) => [{ value: x!, offset, length }],
  });
  assertCode(await compileError(device, range(1, 4), [256]), "device/alignment", "byte 4 is not a multiple of", "x0");
  for (const [offset, length] of [[0, 257], [64, 200], [-64, 4], [0, 0], [0, NaN]] as const) {
    assertCode(await compileError(device, range(offset, length), [256]), "device/binding", '"x0" [256]', "layers.1");
  }
});

gpuTest("uploads that would abort the process", async (device) => {
  const buffer = await createBuffer(device, "target", 64);
  const detached = new Float32Array(4);
  structuredClone(null, { transfer: [detached.buffer] });
  const bad: readonly (readonly [data: Float32Array, offset: number, words: string])[] = [
    [new Float32Array(), 0, "empty or detached"],
    [detached, 0, "empty or detached"],
    [new Float32Array(17), 0, "68 bytes"],
    [new Float32Array(16), 4, "at 4"],
    [new Float32Array(1), 2, "at 2"],
    [new Float32Array(1), -4, "at -4"],
    [new Float32Array(1), NaN, "at NaN"],
    [new Uint8Array(5) as unknown as Float32Array, 0, "5 bytes"],
  ];
  for (const [data, offset, words] of bad) {
    assertCode(assertThrows(() => upload(device, buffer, data, offset)) as Error, "device/upload", '"target"', words);
  }
  upload(device, buffer, new Float32Array(16).fill(3));
  assertCode(
    await assertRejects(() => readBack(device, "x", [{ buffer, offset: 8, length: 9 }])) as Error,
    "device/validation",
    "read x",
  );
  const [words] = await readBack(device, "x", [{ buffer, offset: 8, length: 8 }]);
  assertEquals(new Float32Array(words!.buffer), new Float32Array(8).fill(3));
  destroyBuffer(device, buffer);
});

gpuTest("writes and reads of the wrong thing", async (device) => {
  const graph = new Graph(device.target), store = createStore(device);
  const x = graph.leaf("input", "x", [2, 3]), ids = graph.leaf("input", "ids", [3], { dtype: "u32" });
  const y = scale(x, 2), z = scale(y, 2);
  raw(graph, [ids], [1], {});
  const program = await compile(graph, { store, keep: [z], name: "small" });
  const other = new Graph(device.target).leaf("input", "other", [1]);
  const wrong = [[x, new Float32Array(5)], [x, new Uint32Array(6)], [ids, new Float32Array(3)]] as const;
  for (const [leaf, data] of wrong) {
    assertCode(assertThrows(() => write(program, leaf, data)) as Error, "device/upload", leaf.name, `[${leaf.shape}]`);
  }
  assertCode(assertThrows(() => write(program, other, new Float32Array(1))) as Error, "device/value", "other");
  assertCode(await assertRejects(() => read(program, [y])) as Error, "device/value", "not in `keep`", "small");
  write(program, x, new Float32Array(6).fill(1));
  run(program);
  assertEquals((await read(program, [z, x]))[0], new Float32Array(6).fill(4));
  program.destroy();
  for (const f of [() => run(program), () => write(program, x, new Float32Array(6))]) {
    assertCode(assertThrows(f) as Error, "device/destroyed", "small: it was freed");
  }
  assertCode(await assertRejects(() => read(program, [z])) as Error, "device/destroyed");
  release(store);
});

gpuTest("named buffers have one size, also where two ask at once", async (device) => {
  const store = createStore(device), before = device.memory.buffers;
  const [a, b] = await Promise.all([resident(store, "w", 20), resident(store, "w", 20)]);
  assertEquals([a === b, device.memory.buffers - before], [true, 1]);
  assertCode(await assertRejects(() => resident(store, "w", 24)) as Error, "device/store", "24 bytes", "with 20");
  assertCode(await assertRejects(() => put(store, "w", new Float32Array(6))) as Error, "device/store");
  assertCode(await assertRejects(() => fetch(store, "w", { offset: 1, length: 5 })) as Error, "device/store", "has 5");
  assertCode(await assertRejects(() => fetch(store, "v", { length: 5 })) as Error, "device/store", "no such buffer");
  release(store, ["w"]);
  assertEquals(device.memory.buffers, before);
});

gpuTest("the loop probe shows the limit of the software driver", async (device) => {
  const graph = new Graph(device.target), store = createStore(device);
  const count = loopProbe(graph, 70000);
  const program = await compile(graph, { store, keep: [count] });
  run(program);
  const [[turns]] = await read(program, [count]) as [Float32Array];
  console.log(`loop limit of ${device.name}: ${turns === 70000 ? "none below 70000" : turns}`);
  assertEquals(turns, device.software ? 65535 : 70000);
  program.destroy();
  release(store);
});
