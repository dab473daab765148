// Buffers that several programs share: weights, trained tensors and states by name, and scratch memory in turns.
//
// Every program needs buffers for its temporaries, and one program runs at a time on a device's queue. So they all
// place them in one arena of few buffers, which grows by what a program lacks.
import { DeviceError } from "../core/errors.ts";
import { createBuffer, destroyBuffer, readBack, upload, type Words } from "./buffer.ts";
import { type GraftDevice, queued } from "./device.ts";

/** Buffers of one device. */
export interface Store {
  readonly device: GraftDevice;
  /** Resident buffers by name. */
  readonly buffers: Map<string, GPUBuffer>;
  /** Bytes asked for by name; buffers are padded. */
  readonly sizes: Map<string, number>;
  /** Scratch buffers, in the order of their creation. */
  readonly arena: GPUBuffer[];
  /** The program that ran last: the arena holds its temporaries. */
  last: object | undefined;
}

/** An empty store. */
export function createStore(device: GraftDevice): Store {
  return { device, buffers: new Map(), sizes: new Map(), arena: [], last: undefined };
}

/**
 * The scratch buffers of a plan over `arena`, where `sizes` are the bytes that it uses of each buffer: those of the
 * arena come first, the others are created and join it.
 *
 * @throws {OutOfMemoryError} if it does not fit.
 */
export async function borrow(
  store: Store,
  arena: readonly GPUBuffer[],
  sizes: readonly number[],
): Promise<GPUBuffer[]> {
  const scratch = [...arena];
  for (const bytes of sizes.slice(arena.length)) {
    const buffer = await createBuffer(store.device, `scratch ${store.arena.length}`, bytes);
    store.arena.push(buffer);
    scratch.push(buffer);
  }
  return scratch;
}

/**
 * The buffer called `name`, created and cleared when it does not exist.
 *
 * @throws {DeviceError} `device/store` if it exists with another size.
 */
export async function resident(store: Store, name: string, bytes: number): Promise<GPUBuffer> {
  const { device, buffers, sizes } = store;
  const known = buffers.get(name);
  if (known) {
    if (sizes.get(name) === bytes) return known;
    throw new DeviceError(
      "device/store",
      `Cannot use "${name}" as ${bytes} bytes: it exists with ${sizes.get(name)}`,
    );
  }
  const buffer = await createBuffer(device, name, bytes);
  if (buffers.has(name)) { // somebody else asked at the same time
    destroyBuffer(device, buffer);
    return resident(store, name, bytes);
  }
  buffers.set(name, buffer);
  sizes.set(name, bytes);
  return buffer;
}

/** Write a named buffer, creating it when it does not exist. */
export async function put(store: Store, name: string, data: Words): Promise<void> {
  upload(store.device, await resident(store, name, data.byteLength), data);
}

/**
 * Read `length` words of a named buffer from `offset` words.
 *
 * @throws {DeviceError} `device/store` if there is no such buffer, or it is shorter.
 */
export async function fetch(
  { device, buffers, sizes }: Store,
  name: string,
  { offset = 0, length }: { readonly offset?: number; readonly length: number },
): Promise<Float32Array<ArrayBuffer>> {
  const buffer = buffers.get(name);
  if (!buffer) throw new DeviceError("device/store", `Cannot read "${name}" as there is no such buffer`);
  const words = sizes.get(name)! / 4;
  if (!(offset >= 0 && length >= 0 && offset + length <= words)) {
    throw new DeviceError(
      "device/store",
      `Cannot read words ${offset} to ${offset + length} of "${name}": it has ${words}`,
    );
  }
  const [bits] = await readBack(device, name, [{ buffer, offset, length }]);
  return new Float32Array(bits!.buffer);
}

/** Free the named buffers, or everything: programs over the store cannot run afterwards. */
export function release({ device, buffers, sizes, arena }: Store, names?: Iterable<string>): void {
  for (const name of names ?? [...buffers.keys()]) {
    const buffer = buffers.get(name);
    if (!buffer) continue;
    destroyBuffer(device, buffer);
    buffers.delete(name);
    sizes.delete(name);
  }
  if (!names) arena.splice(0).forEach((buffer) => destroyBuffer(device, buffer));
}

/** Fill the named buffers with zeros, in the order of what is queued. */
export function clear({ device, buffers }: Store, names: Iterable<string>): void {
  queued(device, "clear", () => {
    const encoder = device.gpu.createCommandEncoder();
    for (const name of names) encoder.clearBuffer(buffers.get(name)!);
    device.gpu.queue.submit([encoder.finish()]);
  });
}
