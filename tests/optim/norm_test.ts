// Global norm, clipping, the non-finite flag, accumulation and the ring.
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { encodeScalars, RING_SLOTS } from "../../src/core/scalars.ts";
import type { DeviceOptions, GraftDevice } from "../../src/gpu/device.ts";
import { compile, read, run, write } from "../../src/gpu/executable.ts";
import { createStore, fetch, put, release } from "../../src/gpu/store.ts";
import { Graph } from "../../src/graph/graph.ts";
import { adamw, sgd } from "../../src/optim/mod.ts";
import { flatLayout, flatPages } from "../../src/optim/flat.ts";
import { gradientNorm, scalarsLeaf, statsLeaf } from "../../src/optim/norm.ts";
import { accumulate, recordLoss, ringLeaf, ringWrite } from "../../src/optim/window.ts";
import { gpuTest } from "../device.ts";
import { normal, relativeError } from "../ops/harness.ts";
import { fill, initial, randomTensors, tensors, unpack, updater } from "./harness.ts";

const devices: readonly DeviceOptions[] = [{}, { kind: "gpu" }, { kind: "default", maxBinding: 2 ** 16 }];

async function normOf(device: GraftDevice, gradient: Float32Array, maxNorm: number): Promise<number[]> {
  const most = device.target.maxBinding / 4;
  const graph = new Graph(device.target);
  const store = createStore(device);
  const pages = [];
  for (let at = 0; at < gradient.length; at += most) {
    const part = gradient.subarray(at, at + most);
    await put(store, `grads.${pages.length}`, part);
    pages.push(graph.leaf("state", `grads.${pages.length}`, [part.length]));
  }
  gradientNorm(graph, pages);
  const program = await compile(graph, { store });
  write(program, scalarsLeaf(graph), encodeScalars({ maxNorm }));
  run(program);
  const [stats] = await read(program, [statsLeaf(graph)]);
  program.destroy();
  release(store);
  return [...stats!.subarray(0, 3)];
}

for (const options of devices) {
  gpuTest(`norm against f64, ${JSON.stringify(options)}`, async (device) => {
    let worst = 0;
    for (const count of [1, 7, 64, 65, 1000, 100_003]) {
      const gradient = Float32Array.from(normal(count, count));
      const norm = Math.sqrt(gradient.reduce((sum, g) => sum + g * g, 0));
      const [found, coefficient, flag] = await normOf(device, gradient, 1);
      worst = Math.max(worst, Math.abs(found! / norm - 1));
      assert(Math.abs(found! / norm - 1) < 2e-7, `${count}: ${found} instead of ${norm}`); // a few roundings of 6e-8
      assert(Math.abs(coefficient! / Math.min(1, 1 / (norm + 1e-6)) - 1) < 3e-7);
      assertEquals(flag, 0);
    }
    console.log(`error norm ${worst.toExponential(1)}`);
  }, options);
}

// torch.nn.utils.clip_grad_norm_: clip_coef = max_norm / (total_norm + 1e-6), clamped to at most 1
gpuTest("clipping above, below, exactly at the norm, of nothing, and off", async (device) => {
  const gradient = new Float32Array([3, 0, 4]); // norm 5
  const rows = [[2.5, 2.5 / 5.000001], [50, 1], [5, 5 / 5.000001], [0, 1]] as const;
  for (const [maxNorm, expected] of rows) {
    const [norm, coefficient, flag] = await normOf(device, gradient, maxNorm);
    assertAlmostEquals(norm!, 5, 1e-6); // WGSL allows roots and quotients some units in the last place
    assertAlmostEquals(coefficient!, expected, 3e-7);
    assert(coefficient! <= 1 && flag === 0);
  }
  assertEquals(await normOf(device, new Float32Array(9), 1), [0, 1, 0]);
});

gpuTest("what is not finite is found wherever it is, also a norm that overflows", async (device) => {
  for (const bad of [NaN, Infinity, -Infinity, 3e38]) {
    for (const at of [0, 63, 5000, 9999]) {
      const gradient = Float32Array.from(normal(10_000, 1));
      gradient[at] = bad;
      assertEquals(await normOf(device, gradient, 1), [Infinity, 0, 1], `${bad} at ${at}`);
    }
  }
  assertEquals((await normOf(device, new Float32Array([1e15, -1e15]), 0))[2], 0);
});

gpuTest("an update with gradients that are not finite changes nothing", async (device) => {
  for (const optimizer of [adamw({ weightDecay: 0.1 }), sgd({ momentum: 0.9 })]) {
    const u = await updater(device, optimizer);
    const corrections = optimizer.corrections(1);
    await u.step(randomTensors(1), { lr: 0.1, corrections });
    const before = [await u.tensors("params"), await u.tensors(optimizer.stateNames[0]!)];
    const gradients = randomTensors(2);
    gradients.get("d")![64] = NaN;
    await u.step(gradients, { lr: 0.1, corrections });
    assertEquals((await u.stats())[2], 1);
    assertEquals([await u.tensors("params"), await u.tensors(optimizer.stateNames[0]!)], before);
    await u.step(randomTensors(2), { lr: 0.1, corrections });
    assert(relativeError((await u.tensors("params")).get("e")!, before[0]!.get("e")!) > 0.001);
    u.destroy();
  }
});

for (const options of [{}, { kind: "gpu", maxBinding: 4352 }] satisfies DeviceOptions[]) {
  gpuTest(`three micro-batches add up, and the next window starts anew, ${JSON.stringify(options)}`, async (device) => {
    const layout = flatLayout(tensors, { maxWords: device.target.maxBinding / 4 });
    const graph = new Graph(device.target);
    const loss = graph.leaf("input", "a loss", [1]);
    recordLoss(graph, loss);
    accumulate(graph, layout);
    flatPages(graph, layout, "grads");
    const store = createStore(device);
    await fill(store, layout, "total", new Map([...initial()].map(([name, x]) => [name, x.fill(NaN)]))); // left over
    const program = await compile(graph, { store });
    for (const window of [0, 1]) {
      const parts = [1, 2, 3].map((i) => randomTensors(10 * window + i));
      for (const [i, part] of parts.entries()) {
        await fill(store, layout, "grads", part);
        write(program, scalarsLeaf(graph), encodeScalars({ first: i === 0 }));
        write(program, loss, new Float32Array([i + 0.5 + window]));
        run(program);
      }
      for (const [name, total] of await unpack(store, layout, "total")) {
        const sum = parts[0]!.get(name)!.map((x, i) =>
          Math.fround(Math.fround(x + parts[1]!.get(name)![i]!) + parts[2]!.get(name)![i]!)
        );
        assertEquals([...total], [...sum], name); // f32 additions in this order: no rounding is left open
      }
      assertEquals([...await fetch(store, "loss", { length: 1 })], [4.5 + 3 * window]);
    }
    program.destroy();
    release(store);
  }, options);
}

gpuTest("the ring keeps loss, norm, flag and rate of every update", async (device) => {
  const graph = new Graph(device.target);
  const gradient = graph.leaf("state", "grads.0", [64]);
  gradientNorm(graph, [gradient]);
  ringWrite(graph);
  const store = createStore(device);
  const program = await compile(graph, { store });
  const rows = [[0, 3, 0.5], [1, 0, 0.25], [RING_SLOTS - 1, NaN, 0.125]] as const;
  for (const [slot, g, lr] of rows) {
    await put(store, "grads.0", new Float32Array(64).fill(g, 5, 6));
    await put(store, "loss", new Float32Array([10 + slot]));
    write(program, scalarsLeaf(graph), encodeScalars({ slot, lr, maxNorm: 1 }));
    run(program);
  }
  const [ring] = await read(program, [ringLeaf(graph)]);
  assertAlmostEquals(ring![1]!, 3, 1e-6);
  ring![1] = 3;
  assertEquals([...ring!.subarray(0, 8)], [10, 3, 0, 0.5, 11, 0, 0, 0.25]);
  assertEquals([...ring!.subarray(4 * (RING_SLOTS - 1))], [9 + RING_SLOTS, Infinity, 1, 0.125]);
  assertEquals(ring!.subarray(8, 4 * (RING_SLOTS - 1)).every((x) => x === 0), true);
  program.destroy();
  release(store);
});
