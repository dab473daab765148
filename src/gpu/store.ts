// Resident buffers by name: weights, trained tensors and states that several programs share.
import { DeviceError } from "../core/errors.ts";
import { createBuffer, destroyBuffer, padded, readBack, upload, type Words } from "./buffer.ts";
import type { GraftDevice } from "./device.ts";

/** Named buffers of one device. */
export interface Store {
  readonly device: GraftDevice;
  readonly buffers: Map<string, GPUBuffer>;
}

/** An empty store. */
export function createStore(device: GraftDevice): Store {
  return { device, buffers: new Map() };
}

/**
 * The buffer called `name`, created and cleared when it does not exist.
 *
 * @throws {DeviceError} `device/store` if it exists with another size.
 */
export async function resident({ device, buffers }: Store, name: string, bytes: number): Promise<GPUBuffer> {
  const known = buffers.get(name);
  if (known) {
    if (known.size === padded(bytes)) return known;
    throw new DeviceError("device/store", `Cannot use "${name}" as ${bytes} bytes: it exists with ${known.size}`);
  }
  const buffer = await createBuffer(device, name, bytes);
  buffers.set(name, buffer);
  return buffer;
}

/** Write a named buffer, creating it when it does not exist. */
export async function put(store: Store, name: string, data: Words): Promise<void> {
  upload(store.device, await resident(store, name, data.byteLength), data);
}

/** Read `length` words of a named buffer from `offset` words. */
export async function fetch(
  { device, buffers }: Store,
  name: string,
  { offset = 0, length }: { readonly offset?: number; readonly length: number },
): Promise<Float32Array<ArrayBuffer>> {
  const buffer = buffers.get(name);
  if (!buffer) throw new DeviceError("device/store", `Cannot read "${name}" as there is no such buffer`);
  const [words] = await readBack(device, name, [{ buffer, offset, length }]);
  return new Float32Array(words!.buffer);
}

/** Free the named buffers, or all. */
export function release({ device, buffers }: Store, names: Iterable<string> = [...buffers.keys()]): void {
  for (const name of names) {
    const buffer = buffers.get(name);
    if (!buffer) continue;
    destroyBuffer(device, buffer);
    buffers.delete(name);
  }
}
