// A new op: squared ReLU (arXiv:2109.08668), y = max(x, 0)², with its WGSL and its gradient dx = 2·max(x, 0)·dy. It then
// works like the ops that Graft ships: in graphs, in `backward`, in profiles and error messages.
//
//   deno run examples/custom_op.ts
import { closeDevice, openDevice } from "@graft/graft";
import { backward, compile, createStore, defineOp, Graph, type Kernel, put, read, run, sum } from "@graft/graft/ops";
import { multiply, type Value } from "@graft/graft/ops";
import { flatWorkgroup, wgsl } from "@graft/graft/shaders";

const LANES = 64;

/** x[n], dy[n] → y[n]: one invocation per element. A tensor must fit into one binding. */
function shader(inputs: readonly string[], expression: string): string {
  const declarations = inputs.map((name, i) => `@group(0) @binding(${i}) var<storage, read> ${name}: array<f32>;`);
  return wgsl`
${declarations.join("\n")}
@group(0) @binding(${inputs.length}) var<storage, read_write> y: array<f32>;
@group(0) @binding(${inputs.length + 1}) var<uniform> count: u32;
${flatWorkgroup()}
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(id, groups) * ${LANES}u + lane;
  if (i >= count) { return; }
  y[i] = ${expression};
}`;
}

function kernel(name: string, text: string, read: readonly Value[], write: Value): Kernel {
  const count = write.shape.reduce((a, b) => a * b, 1);
  return { name, wgsl: text, read, write: [write], uniform: [count], workgroups: Math.ceil(count / LANES), trips: 0 };
}

const forward = defineOp<null, readonly [Value], readonly [Value]>({
  name: "squared_relu",
  infer: ([x]) => [x],
  kernels: ({ inputs, outputs: [y] }) => [
    kernel("squared_relu", shader(["x"], "max(x[i], 0.0) * max(x[i], 0.0)"), inputs, y),
  ],
  grad: [({ inputs: [x] }, dy) => dy.graph.add(gradient, [x, dy], null)[0]],
});

const gradient = defineOp<null, readonly [Value, Value], readonly [Value]>({
  name: "squared_relu_grad",
  infer: ([x]) => [x],
  kernels: ({ inputs, outputs: [dx] }) => [
    kernel("squared_relu_grad", shader(["x", "dy"], "2.0 * max(x[i], 0.0) * dy[i]"), inputs, dx),
  ],
});

/** y = max(x, 0)². */
function squaredRelu(x: Value): Value {
  return x.graph.add(forward, [x], null)[0];
}

// loss = Σ w·squaredRelu(x), so that the gradient is 2·w·max(x, 0).
const n = 1001;
const x = Float32Array.from({ length: n }, (_, i) => Math.sin(i));
const w = Float32Array.from({ length: n }, (_, i) => Math.cos(3 * i));
const device = await openDevice();
const store = createStore(device);
await put(store, "x", x);
await put(store, "w", w);
const graph = new Graph(device.target);
const y = squaredRelu(graph.leaf("param", "x", [n]));
const dx = backward(graph, sum(multiply(y, graph.leaf("weight", "w", [n])))).values().next().value!;
const program = await compile(graph, { store, keep: [y, dx] });
run(program);
const [gotY, gotDx] = await read(program, [y, dx]);
const worst = (got: Float32Array, want: (i: number) => number) =>
  got.reduce((most, value, i) => Math.max(most, Math.abs(value - want(i))), 0);
const errors = [worst(gotY!, (i) => Math.max(x[i]!, 0) ** 2), worst(gotDx!, (i) => 2 * w[i]! * Math.max(x[i]!, 0))];
console.log(`largest error: forward ${errors[0]!.toExponential(1)}, gradient ${errors[1]!.toExponential(1)}`);
if (!(Math.max(...errors) < 1e-6)) throw new Error("Cannot confirm the numbers of the new op"); // f32 rounding near 1
closeDevice(device);
