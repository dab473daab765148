// A graph compiled to a fixed list of dispatches with prebuilt pipelines and bind groups; running it replays the list.
import { bytes, size, wordsOf } from "../core/dims.ts";
import { debugLevel } from "../core/env.ts";
import { DeviceError, OutOfMemoryError } from "../core/errors.ts";
import { fuse, type Listing } from "../graph/fuse.ts";
import type { AnyNode, Graph, Kernel, Value, Values } from "../graph/graph.ts";
import { plan } from "../graph/plan.ts";
import { layerOf, recompute } from "../graph/recompute.ts";
import { print } from "../graph/print.ts";
import type { Target } from "../graph/target.ts";
import { createUniforms, storageBindings } from "./binding.ts";
import { createBuffer, destroyBuffer, readBack, upload, type Words } from "./buffer.ts";
import { checkKernel, grid } from "./check.ts";
import { assertUsable, checked, type GraftDevice, queued } from "./device.ts";
import { pipelineFor } from "./pipeline.ts";
import { borrow, resident, type Store } from "./store.ts";

/** One prebuilt dispatch. */
export interface Dispatch {
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly grid: readonly [number, number, number];
  readonly kernel: Kernel;
  readonly node: AnyNode;
}

/**
 * A compiled program. Its weights, parameters and states live in the store, shared by name; its temporaries live in
 * the store's arena, which all programs over the store use in turn.
 */
export interface Executable {
  readonly device: GraftDevice;
  readonly store: Store;
  readonly graph: Graph;
  /** What errors and debug lines call it. */
  readonly name: string;
  readonly dispatches: readonly Dispatch[];
  /** Where a value is: its buffer and its first word. */
  locate(value: Value): { readonly buffer: GPUBuffer; readonly offset: number };
  /** Temporaries that live inside of a resident value. */
  readonly places: Listing["places"];
  /** Temporaries that can be read after a run. */
  readonly kept: ReadonlySet<Value>;
  /** Bytes of inputs and uniforms, which belong to this program alone. */
  readonly bytes: number;
  /** Bytes of the arena that its temporaries take. */
  readonly scratchBytes: number;
  /** Nodes that others do the work of. */
  readonly joined: number;
  /** Dispatches of one layer, on average: of the nodes whose place in the model has a number. */
  readonly perLayer: number;
  /** "41 nodes (8 joined others), 55 dispatches (9.5 a layer), 12 pipelines; temporaries 8.40 MiB in 6 buffers (26.10 MiB unshared, …); own 0.02 MiB". */
  readonly summary: string;
  /** Whether it was freed. */
  readonly destroyed: boolean;
  /** Free what belongs to this program; the arena stays until the store is released. */
  destroy(): void;
}

/** Options of {@linkcode compile}. */
export interface CompileOptions {
  readonly store: Store;
  /** Temporaries that {@linkcode read} will be asked for. They last until the next run of any program over the store. */
  readonly keep?: readonly Value[];
  /** What errors and debug lines call the program. */
  readonly name?: string;
  /** Whether nodes may join others ({@linkcode fuse}); true by default. */
  readonly fused?: boolean;
}

/** Dispatches of one submit: a long list is cut so that no submit is one endless unit to a watchdog. */
const SUBMIT = 512;

/**
 * Compile `graph` for the device of the store. Where several programs take turns, compile the largest first: the
 * others then fit into its scratch memory.
 *
 * @throws {DeviceError} if a kernel exceeds a limit or does not compile.
 * @throws {OutOfMemoryError} `mem/buffer` if a value exceeds one buffer, `mem/device` if memory is full.
 */
export async function compile(
  graph: Graph,
  { store, keep = [], name = "program", fused = true }: CompileOptions,
): Promise<Executable> {
  const { device } = store;
  const listed = fused ? fuse(graph, keep) : graph;
  const listing = recompute(listed, keep);
  const kernels = lower(listing, device.target);
  const arena = [...store.arena];
  const kernelsByNode = Map.groupBy(kernels, ({ node }) => node);
  const { spotOf, bufferBytes, naiveBytes, lowerBytes } = plan(listing, {
    keep,
    arena: arena.map(({ size }) => size),
    kernelsOf: (node) => (kernelsByNode.get(node) ?? []).map(({ kernel }) => kernel),
  });
  const scratch = await borrow(store, arena, bufferBytes);
  const owned: GPUBuffer[] = [];
  const free = () => owned.splice(0).forEach((buffer) => destroyBuffer(device, buffer));
  const leaves = new Map<Value, GPUBuffer>();
  const locate = (value: Value): { buffer: GPUBuffer; offset: number } => {
    const place = listing.places.get(value) ?? value.within;
    if (place) {
      const outer = locate(place.parent);
      return { buffer: outer.buffer, offset: outer.offset + wordsOf(place.parent.dtype, place.offset) };
    }
    const spot = spotOf.get(value);
    if (spot) return { buffer: scratch[spot.buffer]!, offset: spot.offset / 4 };
    const buffer = leaves.get(value);
    if (!buffer) throw new DeviceError("device/value", `Cannot find "${value.name}" in ${name}: nothing computes it`);
    return { buffer, offset: 0 };
  };
  const dispatches: Dispatch[] = [];
  try {
    for (const v of graph.leaves.values()) {
      if (v.within) continue;
      if (v.role === "input") owned.push(await createBuffer(device, `${name} ${v.name}`, bytes(v)));
      leaves.set(v, v.role === "input" ? owned.at(-1)! : await resident(store, v.name, bytes(v)));
    }
    const uniforms = await createUniforms(device, name, kernels.map(({ kernel }) => kernel.uniform));
    owned.push(...uniforms.buffers);
    for (const [i, { node, kernel, where }] of kernels.entries()) {
      const pipeline = await pipelineFor(device, kernel.wgsl, where);
      const resources = storageBindings(kernel, locate, device.target, where);
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
  } catch (error) {
    free();
    throw error;
  }

  const mib = (n: number) => `${(n / 2 ** 20).toFixed(2)} MiB`;
  const sum = (list: readonly number[]) => list.reduce((a, b) => a + b, 0);
  const ownBytes = sum(owned.map((buffer) => buffer.size)), scratchBytes = sum(bufferBytes);
  const pipelines = new Set(dispatches.map(({ pipeline }) => pipeline)).size;
  const perLayer = dispatchesPerLayer(dispatches);
  const joined = graph.nodes.length - listed.nodes.length, again = listing.nodes.length - listed.nodes.length;
  const summary =
    `${listing.nodes.length} nodes (${joined} joined others${
      again > 0 ? `, ${again} computed again` : ""
    }), ${dispatches.length} dispatches ` +
    `(${perLayer.toFixed(1)} a layer), ${pipelines} pipelines; ` +
    `temporaries ${mib(scratchBytes)} in ${bufferBytes.filter((n) => n > 0).length} buffers (${mib(naiveBytes)} ` +
    `unshared, ${mib(lowerBytes)} at least); own ${mib(ownBytes)}`;
  if (debugLevel() >= 1) {
    const { bytes, buffers, peak } = device.memory;
    console.error(`${name}: ${summary}; device ${mib(bytes)} in ${buffers} buffers, peak ${mib(peak)}`);
  }
  if (debugLevel() >= 3) console.error(print(listing));
  let destroyed = false;
  return {
    device,
    store,
    graph,
    name,
    dispatches,
    locate,
    places: listing.places,
    kept: new Set(keep),
    bytes: ownBytes,
    scratchBytes,
    joined,
    perLayer,
    summary,
    get destroyed() {
      return destroyed;
    },
    destroy() {
      destroyed = true;
      free();
    },
  };
}

function dispatchesPerLayer(dispatches: readonly Dispatch[]): number {
  const layers = dispatches.map(({ node }) => layerOf(node.scope)).filter((layer) => layer !== undefined);
  return layers.length / (new Set(layers).size || 1);
}

interface Lowered {
  readonly node: AnyNode;
  readonly kernel: Kernel;
  /** Place in the model and kernel, for errors. */
  readonly where: string;
}

/** The kernels of all nodes, checked before anything is allocated. */
function lower(listing: Listing, target: Target): Lowered[] {
  for (const v of listing.values) {
    if (v.within || listing.places.has(v) || bytes(v) <= target.maxBuffer) continue;
    throw new OutOfMemoryError(
      "mem/buffer",
      `Cannot hold "${v.name}" [${v.shape}] as one buffer: it takes ${
        bytes(v)
      } bytes, the device allows ${target.maxBuffer}`,
      { hint: "Use a smaller batch or shorter sequences." },
    );
  }
  return listing.nodes.flatMap((node) => {
    const prefix = node.scope ? `${node.scope}: ` : "";
    let kernels: Kernel[];
    try {
      kernels = node.op.kernels(node, listing.target);
    } catch (cause) {
      if (!(cause instanceof RangeError)) throw cause;
      const message = `Cannot compile ${prefix}${node.op.name}: ${cause.message}`;
      throw new DeviceError("device/binding", message, { cause, hint: "Use a smaller batch or shorter sequences." });
    }
    return kernels.map((kernel) => {
      const where = `${prefix}${kernel.name}`;
      checkKernel(kernel, target, where);
      return { node, kernel, where };
    });
  });
}

/**
 * Write an input (or another leaf) of the program.
 *
 * @throws {DeviceError} `device/upload` if the number of elements or their kind is not the leaf's.
 */
export function write(executable: Executable, value: Value, data: Words): void {
  const floats = data instanceof Float32Array;
  if (data.length !== size(value.shape) || (value.role === "input" && floats !== (value.dtype === "f32"))) {
    throw new DeviceError(
      "device/upload",
      `Cannot write "${value.name}" ${value.dtype} [${value.shape}] with ${data.length} elements of ${data.constructor.name}`,
    );
  }
  assertAlive(executable, "write to");
  const { buffer, offset } = executable.locate(value);
  upload(executable.device, buffer, data, 4 * offset);
}

/**
 * Run the program once. Returns when the work is queued, not when it is done; what goes wrong on the device is thrown
 * by the next call.
 *
 * @throws {GraftError} what went wrong before; `device/destroyed` if the program was freed.
 */
export function run(executable: Executable): void {
  const { device: { gpu }, dispatches } = executable;
  begin(executable);
  queued(executable.device, `run ${executable.name}`, () => {
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
  });
}

/** Claim the arena for this program: whoever runs dispatches of it by other means calls this first. */
export function begin(executable: Executable): void {
  assertUsable(executable.device, `run ${executable.name}`);
  assertAlive(executable, "run");
  executable.store.last = executable;
}

function assertAlive({ name, destroyed }: Executable, verb: string): void {
  if (destroyed) throw new DeviceError("device/destroyed", `Cannot ${verb} ${name}: it was freed`);
}

/**
 * Read f32 values in one mapping: leaves, and temporaries that were kept.
 *
 * @throws {DeviceError} `device/value` for a temporary that was not kept, or that another program has since run over.
 */
export async function read(executable: Executable, values: Values): Promise<Float32Array<ArrayBuffer>[]> {
  const { device, store, places, name, kept, locate } = executable;
  assertUsable(device, `read from ${name}`);
  assertAlive(executable, "read from");
  for (const v of values) {
    if (v.role !== "temp" || places.has(v)) continue;
    const reason = !kept.has(v) ? "it is not in `keep`" : store.last !== executable ? "another program ran since" : "";
    if (reason) throw new DeviceError("device/value", `Cannot read "${v.name}" [${v.shape}] of ${name}: ${reason}`);
  }
  const requests = values.map((v) => ({ ...locate(v), length: size(v.shape) }));
  const parts = await readBack(device, values.map((v) => v.name).join(", "), requests);
  return parts.map((words) => new Float32Array(words.buffer));
}
