// Graft's shaders are functions from options to WGSL text. This prints one and runs it with WebGPU alone, without
// Graft's engine: y = a · sigmoid(b) on 1,000 numbers.
//
//   deno run examples/shader.ts
import { elementwise, ELEMENTWISE_LANES } from "@graft/graft/shaders";

const text = elementwise({ reads: ["a", "b"], expression: "a / (1.0 + exp(-b))" });
console.log(text);

const adapter = await navigator.gpu.requestAdapter();
if (!adapter) throw new Error("Cannot find a WebGPU adapter: `sh setup.sh` installs what is missing");
const device = await adapter.requestDevice();

const count = 1000; // a multiple of 4: the shader works on vectors of four
const a = Float32Array.from({ length: count }, (_, i) => Math.sin(i));
const b = Float32Array.from({ length: count }, (_, i) => (i - 500) / 100);

const { STORAGE, UNIFORM, COPY_DST, COPY_SRC, MAP_READ } = GPUBufferUsage;
function buffer(size: number, usage: number, data?: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>): GPUBuffer {
  const made = device.createBuffer({ size, usage: usage | COPY_DST });
  if (data) device.queue.writeBuffer(made, 0, data);
  return made;
}
const output = buffer(4 * count, STORAGE | COPY_SRC);
const result = buffer(4 * count, MAP_READ);

// Bindings are in the order of the text: what is read, what is written, then the uniform p.
const bindings = [
  buffer(4 * count, STORAGE, a),
  buffer(4 * count, STORAGE, b),
  output,
  buffer(16, UNIFORM, new Uint32Array([count, 0, 0, 0])),
];
const pipeline = device.createComputePipeline({
  layout: "auto",
  compute: { module: device.createShaderModule({ code: text }) },
});
const encoder = device.createCommandEncoder();
const pass = encoder.beginComputePass();
pass.setPipeline(pipeline);
pass.setBindGroup(
  0,
  device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: bindings.map((buffer, binding) => ({ binding, resource: { buffer } })),
  }),
);
pass.dispatchWorkgroups(Math.ceil(count / 4 / ELEMENTWISE_LANES));
pass.end();
encoder.copyBufferToBuffer(output, 0, result, 0, 4 * count);
device.queue.submit([encoder.finish()]);

await result.mapAsync(GPUMapMode.READ);
const y = new Float32Array(result.getMappedRange());
const worst = y.reduce((most, value, i) => Math.max(most, Math.abs(value - a[i]! / (1 + Math.exp(-b[i]!)))), 0);
console.log(`largest error ${worst.toExponential(1)} on ${count} numbers`);
// exp may be off by 3 + 2·|x| ulp in WGSL; the values are below 1.
if (!(worst < 1e-6)) throw new Error("Cannot confirm the shader's numbers");
device.destroy();
