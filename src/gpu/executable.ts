// A graph compiled to a fixed list of dispatches with prebuilt pipelines and bind groups; running it replays the list.
import { bytes, size } from "../core/dims.ts";
import { debugLevel } from "../core/env.ts";
import { DeviceError } from "../core/errors.ts";
import type { AnyNode, Graph, Kernel, Range, Value, Values } from "../graph/graph.ts";
import { plan } from "../graph/plan.ts";
import { print } from "../graph/print.ts";
import { createBuffer, createUniform, destroyBuffer, padded, readBack, upload, type Words } from "./buffer.ts";
import { checkKernel, grid } from "./check.ts";
import { assertUsable, checked, type GraftDevice } from "./device.ts";
import { pipelineFor } from "./pipeline.ts";
import { resident, type Store } from "./store.ts";

/** One prebuilt dispatch. */
export interface Dispatch {
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly grid: readonly [number, number, number];
  readonly kernel: Kernel;
  readonly node: AnyNode;
}

/** A compiled program. Its weights, parameters and states live in the store, shared by name. */
export interface Executable {
  readonly device: GraftDevice;
  readonly graph: Graph;
  readonly dispatches: readonly Dispatch[];
  /** Where a value is: its buffer and its first word. */
  locate(value: Value): { readonly buffer: GPUBuffer; readonly offset: number };
  /** Bytes of temporaries, inputs and uniforms that belong to this program. */
  readonly bytes: number;
  /** "41 nodes, 55 dispatches, 12 pipelines; temporaries 8.4 MiB in 9 slots (26.1 without sharing)". */
  readonly summary: string;
  /** Free what belongs to this program. */
  destroy(): void;
}

/** Options of {@linkcode compile}. */
export interface CompileOptions {
  readonly store: Store;
  /** Temporaries that {@linkcode read} will be asked for. */
  readonly keep?: readonly Value[];
  /** What errors and debug lines call the program. */
  readonly name?: string;
}

/** Dispatches of one submit: a long list is cut so that no submit is one endless unit to a watchdog. */
const SUBMIT = 512;

/**
 * Compile `graph` for the device of the store.
 *
 * @throws {DeviceError} if a kernel exceeds a limit or does not compile.
 */
export async function compile(
  graph: Graph,
  { store, keep = [], name = "program" }: CompileOptions,
): Promise<Executable> {
  const { device } = store;
  const { slotOf, slotBytes, naiveBytes, lowerBytes } = plan(graph, keep);
  const owned: GPUBuffer[] = [];
  const own = async (label: string, count: number) => {
    const buffer = await createBuffer(device, `${name} ${label}`, count);
    owned.push(buffer);
    return buffer;
  };
  const slots: GPUBuffer[] = [];
  for (const [i, count] of slotBytes.entries()) slots.push(await own(`slot ${i}`, count));

  const leaves = new Map<Value, GPUBuffer>();
  for (const v of graph.leaves.values()) {
    if (v.within) continue;
    leaves.set(v, v.role === "input" ? await own(v.name, bytes(v)) : await resident(store, v.name, bytes(v)));
  }
  const locate = (value: Value): { buffer: GPUBuffer; offset: number } => {
    const place = graph.places.get(value) ?? value.within;
    if (place) {
      const outer = locate(place.parent);
      return { buffer: outer.buffer, offset: outer.offset + place.offset };
    }
    const buffer = leaves.get(value) ?? slots[slotOf.get(value) ?? -1];
    if (!buffer) throw new DeviceError("device/value", `Cannot find "${value.name}" in ${name}: nothing computes it`);
    return { buffer, offset: 0 };
  };

  const kernels = graph.nodes.flatMap((node) =>
    node.op.kernels(node, graph.target).map((kernel) => ({ node, kernel }))
  );
  const uniforms = await createUniforms(device, name, kernels.map(({ kernel }) => kernel.uniform));
  owned.push(...uniforms.buffers);

  const used = new Set<GPUComputePipeline>();
  const dispatches: Dispatch[] = [];
  for (const [i, { node, kernel }] of kernels.entries()) {
    const where = `${node.scope ? `${node.scope}: ` : ""}${kernel.name}`;
    checkKernel(kernel, graph.target);
    const pipeline = await pipelineFor(device, kernel.wgsl, where);
    used.add(pipeline);
    const resources: GPUBufferBinding[] = [...kernel.read, ...kernel.write].map((b) =>
      bindingOf(b, locate, graph, where)
    );
    const uniform = uniforms.binding(i);
    if (uniform) resources.push(uniform);
    const group = await checked(device, `bind ${where}`, () =>
      device.gpu.createBindGroup({
        label: where,
        layout: pipeline.getBindGroupLayout(0),
        entries: resources.map((resource, binding) => ({ binding, resource })),
      }));
    dispatches.push({ pipeline, group, grid: grid(kernel), kernel, node });
  }

  const mib = (n: number) => `${(n / 2 ** 20).toFixed(2)} MiB`;
  const slotSum = slotBytes.reduce((a, b) => a + b, 0);
  const summary = `${graph.nodes.length} nodes, ${dispatches.length} dispatches, ${used.size} pipelines; ` +
    `temporaries ${mib(slotSum)} in ${slots.length} slots (${mib(naiveBytes)} unshared, ${mib(lowerBytes)} at least)`;
  if (debugLevel() >= 1) console.error(`${name}: ${summary}`);
  if (debugLevel() >= 3) console.error(print(graph));
  return {
    device,
    graph,
    dispatches,
    locate,
    bytes: owned.reduce((sum, buffer) => sum + buffer.size, 0),
    summary,
    destroy: () => owned.splice(0).forEach((buffer) => destroyBuffer(device, buffer)),
  };
}

function bindingOf(
  binding: Value | Range,
  locate: Executable["locate"],
  graph: Graph,
  where: string,
): GPUBufferBinding {
  const range = "value" in binding;
  const value = range ? binding.value : binding;
  const { buffer, offset } = locate(value);
  const start = 4 * (offset + (range ? binding.offset : 0));
  const count = padded(4 * (range ? binding.length : size(value.shape)));
  const { maxBinding, alignment } = graph.target;
  if (start % alignment !== 0) {
    throw new DeviceError(
      "device/alignment",
      `Cannot bind "${value.name}" in ${where}: byte ${start} is not a multiple of ${alignment}`,
    );
  }
  if (count > maxBinding) {
    throw new DeviceError(
      "device/binding",
      `Cannot bind "${value.name}" [${value.shape}] in ${where}: it takes ${count} bytes, a binding at most ${maxBinding}`,
      { hint: "Use a smaller batch or shorter sequences." },
    );
  }
  return { buffer, offset: start, size: count };
}

/** All uniforms of a program in few buffers; kernels with the same words share them. */
async function createUniforms(
  device: GraftDevice,
  name: string,
  uniforms: readonly (readonly number[] | undefined)[],
): Promise<{
  readonly buffers: readonly GPUBuffer[];
  binding(i: number): GPUBufferBinding | undefined;
}> {
  const step = Math.max(64, device.target.alignment / 4); // words
  const index = new Map<string, { at: number; words: number }>();
  const words: number[] = [];
  for (const uniform of uniforms) {
    if (!uniform || index.has(String(uniform))) continue;
    const count = Math.ceil(uniform.length / 4) * 4;
    index.set(String(uniform), { at: words.length, words: count });
    words.push(...uniform);
    while (words.length % step !== 0) words.push(0);
  }
  if (words.length === 0) return { buffers: [], binding: () => undefined };
  const buffer = await createUniform(device, `${name} uniforms`, new Uint32Array(words));
  return {
    buffers: [buffer],
    binding(i) {
      const entry = uniforms[i] && index.get(String(uniforms[i]));
      return entry ? { buffer, offset: 4 * entry.at, size: 4 * entry.words } : undefined;
    },
  };
}

/**
 * Write an input (or another leaf) of the program.
 *
 * @throws {DeviceError} `device/upload` if the number of elements is not the leaf's.
 */
export function write(executable: Executable, value: Value, data: Words): void {
  if (data.length !== size(value.shape)) {
    throw new DeviceError(
      "device/upload",
      `Cannot write "${value.name}" [${value.shape}] with ${data.length} elements`,
    );
  }
  const { buffer, offset } = executable.locate(value);
  upload(executable.device, buffer, data, 4 * offset);
}

/**
 * Run the program once. Returns when the work is queued, not when it is done; what goes wrong on the device is thrown
 * by the next call.
 *
 * @throws {DeviceError} what went wrong before.
 */
export function run(executable: Executable): void {
  const { device, dispatches } = executable;
  assertUsable(device, "the program");
  const { gpu } = device;
  gpu.pushErrorScope("validation");
  for (let from = 0; from < dispatches.length; from += SUBMIT) {
    const encoder = gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (const { pipeline, group, grid: [x, y, z] } of dispatches.slice(from, from + SUBMIT)) {
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(x, y, z);
    }
    pass.end();
    gpu.queue.submit([encoder.finish()]);
  }
  gpu.popErrorScope().then((error) => {
    if (error) device.failure ??= new DeviceError("device/validation", error.message);
  });
}

/** Read the f32 values asked for, in one mapping. */
export async function read(executable: Executable, values: Values): Promise<Float32Array<ArrayBuffer>[]> {
  const requests = values.map((v) => ({ ...executable.locate(v), length: size(v.shape) }));
  const parts = await readBack(executable.device, values.map((v) => v.name).join(", "), requests);
  return parts.map((words) => new Float32Array(words.buffer));
}
