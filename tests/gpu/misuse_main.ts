// One misuse a process, for process_test.ts: `deno run tests/gpu/misuse_main.ts empty`.
import { createBuffer, upload } from "../../src/gpu/buffer.ts";
import { openDevice } from "../../src/gpu/device.ts";
import { compile, read, run, write } from "../../src/gpu/executable.ts";
import { createStore, put, release } from "../../src/gpu/store.ts";
import { Graph } from "../../src/graph/graph.ts";
import { backward } from "../../src/ops/backward.ts";
import { multiply, scale } from "../../src/ops/elementwise.ts";
import { matmul } from "../../src/ops/matmul.ts";
import { normal } from "../ops/harness.ts";

const device = await openDevice();
const buffer = await createBuffer(device, "target", 64);
const name = Deno.args[0] ?? "";

/** Loss and gradients of a small product, as a hash of their bits, 20 times. */
async function digests(): Promise<void> {
  const graph = new Graph(device.target), store = createStore(device);
  const x = graph.leaf("input", "x", [67, 130]), w = graph.leaf("param", "w", [130, 45]);
  const y = matmul(x, w);
  const dw = backward(graph, scale(multiply(y, y), 0.5)).get(w)!;
  await put(store, "w", Float32Array.from(normal(130 * 45, 1)));
  const program = await compile(graph, { store, keep: [y, dw] });
  write(program, x, Float32Array.from(normal(67 * 130, 2)));
  for (let i = 0; i < 20; i++) {
    run(program);
    const parts = await read(program, [y, dw]);
    const hash = await crypto.subtle.digest("SHA-256", new Float32Array(parts.flatMap((part) => [...part])));
    console.log(new Uint8Array(hash).toHex());
  }
}

const cases: Readonly<Record<string, () => void | Promise<void>>> = {
  empty: () => upload(device, buffer, new Float32Array()),
  detached() {
    const data = new Float32Array(4);
    structuredClone(null, { transfer: [data.buffer] });
    upload(device, buffer, data);
  },
  long: () => upload(device, buffer, new Float32Array(17)),
  unaligned: () => upload(device, buffer, new Float32Array(1), 3),
  uncaptured: () => void device.gpu.createBuffer({ size: 2 ** 50, usage: GPUBufferUsage.STORAGE }),
  async unseen() {
    const graph = new Graph(device.target), store = createStore(device);
    scale(graph.leaf("input", "x", [4]), 2);
    const program = await compile(graph, { store });
    release(store);
    run(program); // and then nothing that would throw
  },
  digest: digests,
};

await cases[name]!();
