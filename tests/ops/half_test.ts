// Products in f16: their error, relative to the random-walk size of the sums, is that of f16 operands and of sixteen
// summands added in f16. The software class ignores the precision.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { DeviceError } from "../../src/core/errors.ts";
import { type DeviceOptions, type GraftDevice, openDevice } from "../../src/gpu/device.ts";
import { compile, read, run, write } from "../../src/gpu/executable.ts";
import { createStore, release } from "../../src/gpu/store.ts";
import { Graph, type Value } from "../../src/graph/graph.ts";
import { loraLinear } from "../../src/ops/lora_linear.ts";
import { matmul } from "../../src/ops/matmul.ts";
import { gpuTest } from "../device.ts";
import { normal, type Numbers } from "./harness.ts";

const M = 72, N = 84, K = 330, R = 8;

/** Root mean square and largest error of c, each in units of the spread √(Σ (a·b)²) of its sums. */
function errors(c: ArrayLike<number>, term: (m: number, n: number, k: number) => number, terms: number) {
  let squares = 0, largest = 0;
  for (let i = 0; i < M * N; i++) {
    let sum = 0, spread = 0;
    for (let k = 0; k < terms; k++) {
      const product = term(Math.floor(i / N), i % N, k);
      sum += product;
      spread += product * product;
    }
    const error = Math.abs(c[i]! - sum) / Math.sqrt(spread);
    squares += error * error;
    largest = Math.max(largest, error);
  }
  return { rms: Math.sqrt(squares / (M * N)), largest };
}

async function compute(
  device: GraftDevice,
  inputs: Readonly<Record<string, readonly [rows: number, columns: number, values: Numbers]>>,
  build: (values: Readonly<Record<string, Value>>) => Value,
): Promise<Float32Array> {
  const graph = new Graph(device.target);
  const leaves = Object.fromEntries(
    Object.entries(inputs).map(([name, [rows, columns]]) => [name, graph.leaf("input", name, [rows, columns])]),
  );
  const y = build(leaves);
  const store = createStore(device);
  const program = await compile(graph, { store, keep: [y] });
  for (const [name, [, , values]] of Object.entries(inputs)) write(program, leaves[name]!, Float32Array.from(values));
  run(program);
  const [result] = await read(program, [y]);
  program.destroy();
  release(store);
  return result!;
}

function check(name: string, { rms, largest }: { readonly rms: number; readonly largest: number }): void {
  console.log(`${name}: error ${rms.toExponential(1)} rms, ${largest.toExponential(1)} largest`);
  assert(rms > 1e-4, "this was not computed in f16");
  assert(rms < 8e-4 && largest < 4e-3); // operands 2^-12 each, sixteen roundings of partial sums; 4 σ of 6048 results
}

const half: DeviceOptions = { kind: "gpu", precision: "f16" };
const a = normal(M * K, 1), b = normal(K * N, 2);

for (const [ta, tb] of [[false, false], [false, true], [true, false]] as const) {
  const name = `${ta ? "t" : "n"}${tb ? "t" : "n"}`;
  gpuTest(`f16: matmul ${name}`, async (device) => {
    const inputs = { a: ta ? [K, M, a] as const : [M, K, a] as const, b: tb ? [N, K, b] as const : [K, N, b] as const };
    const c = await compute(device, inputs, (v) => matmul(v.a!, v.b!, { ta, tb }));
    const term = (m: number, n: number, k: number) => a[ta ? k * M + m : m * K + k]! * b[tb ? n * K + k : k * N + n]!;
    check(`matmul ${name}`, errors(c, term, K));
  }, half);
}

gpuTest("f16: a linear map with its low product", async (device) => {
  const down = normal(R * K, 3).map((x) => x / Math.sqrt(K)), up = normal(N * R, 4);
  const inputs = { x: [M, K, a], w: [N, K, b], down: [R, K, down], up: [N, R, up] } as const;
  const c = await compute(device, inputs, (v) => loraLinear(v.x!, v.x!, v.w!, v.down!, v.up!, { scale: 2 }));
  const h = (m: number, r: number) => {
    let sum = 0;
    for (let k = 0; k < K; k++) sum += a[m * K + k]! * down[r * K + k]!;
    return sum;
  };
  const rows = Float64Array.from({ length: M * R }, (_, i) => h(Math.floor(i / R), i % R));
  const term = (m: number, n: number, k: number) =>
    k < K ? a[m * K + k]! * b[n * K + k]! : 2 * rows[m * R + k - K]! * up[n * R + k - K]!;
  check("lora linear", errors(c, term, K + R));
}, half);

gpuTest("f16: the software class computes in f32", async (device) => {
  const c = await compute(device, { a: [M, K, a], b: [K, N, b] }, (v) => matmul(v.a!, v.b!));
  const { largest } = errors(c, (m, n, k) => a[m * K + k]! * b[k * N + n]!, K);
  assert(largest < 5e-6); // f32 rounding of sums of 330 terms
}, { kind: "software", precision: "f16" });

Deno.test("f16: an adapter without it is refused before a device is opened", async () => {
  const { gpu } = navigator;
  const adapter = { features: new Set(), info: { description: "no halves" } };
  Object.defineProperty(navigator, "gpu", {
    value: { requestAdapter: () => Promise.resolve(adapter) },
    configurable: true,
  });
  try {
    const error = await assertRejects(() => openDevice({ precision: "f16" }), DeviceError);
    assertEquals(error.code, "device/f16");
  } finally {
    Object.defineProperty(navigator, "gpu", { value: gpu, configurable: true });
  }
});
