// Buffers: the only callers of createBuffer, writeBuffer and mapAsync.
import { DeviceError, OutOfMemoryError } from "../core/errors.ts";
import { checked, type GraftDevice, queued } from "./device.ts";

/** Typed arrays that can be uploaded: whole four-byte words. */
export type Words = Float32Array | Uint32Array | Int32Array;

/** `bytes` rounded up to whole vectors: kernels read and write four words at a time. */
export function padded(bytes: number): number {
  return Math.ceil(Math.max(bytes, 16) / 16) * 16;
}

/**
 * A storage buffer of at least `bytes`, cleared to zero.
 *
 * @throws {OutOfMemoryError} `mem/buffer` if one buffer cannot be that large, `mem/device` if memory is full.
 */
export function createBuffer(device: GraftDevice, label: string, bytes: number): Promise<GPUBuffer> {
  const { STORAGE, COPY_SRC, COPY_DST } = GPUBufferUsage;
  return create(device, label, padded(bytes), STORAGE | COPY_SRC | COPY_DST);
}

/** A uniform buffer that holds `words`. */
export async function createUniform(device: GraftDevice, label: string, words: Uint32Array): Promise<GPUBuffer> {
  const buffer = await create(
    device,
    label,
    padded(words.byteLength),
    GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
  );
  upload(device, buffer, words);
  return buffer;
}

/** A buffer that a query set of `count` timestamps is resolved into. */
export function createQueryBuffer(device: GraftDevice, count: number): Promise<GPUBuffer> {
  return create(device, "timestamps", padded(8 * count), GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC);
}

async function create(device: GraftDevice, label: string, size: number, usage: number): Promise<GPUBuffer> {
  if (!Number.isSafeInteger(size) || size > device.target.maxBuffer) {
    throw new OutOfMemoryError(
      "mem/buffer",
      `Cannot create "${label}" of ${size} bytes as one buffer: the device allows ${device.target.maxBuffer}`,
      { hint: "Use a smaller batch or shorter sequences." },
    );
  }
  const what = `create "${label}" of ${size} bytes`;
  const buffer = await checked(device, what, () => device.gpu.createBuffer({ label, size, usage }));
  const { memory } = device;
  memory.bytes += size;
  memory.buffers++;
  memory.created++;
  memory.peak = Math.max(memory.peak, memory.bytes);
  return buffer;
}

/** Free a buffer; Deno never does by itself. */
export function destroyBuffer(device: GraftDevice, buffer: GPUBuffer): void {
  device.memory.bytes -= buffer.size;
  device.memory.buffers--;
  buffer.destroy();
}

/** Bytes written at once, and between submits: the queue keeps a copy of what it is given until one comes. */
const CHUNK = 16 * 2 ** 20;

/**
 * Write `data` into `buffer` at `offset` bytes.
 *
 * @throws {DeviceError} `device/upload` for what would abort the process: nothing, detached or too much data.
 */
export function upload(device: GraftDevice, buffer: GPUBuffer, data: Words, offset = 0): void {
  const { byteLength } = data;
  if (byteLength === 0) {
    throw new DeviceError("device/upload", `Cannot upload to "${buffer.label}" as the data is empty or detached`);
  }
  const misplaced = !Number.isSafeInteger(offset) || offset < 0 || offset % 4 !== 0 || byteLength % 4 !== 0;
  if (misplaced || offset + byteLength > buffer.size) {
    throw new DeviceError(
      "device/upload",
      `Cannot upload ${byteLength} bytes to "${buffer.label}" at ${offset}: it has ${buffer.size} bytes, in words of 4`,
    );
  }
  const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, byteLength);
  const { memory, gpu: { queue } } = device;
  queued(device, `upload to "${buffer.label}"`, () => {
    for (let at = 0; at < byteLength; at += CHUNK) {
      const part = bytes.subarray(at, Math.min(at + CHUNK, byteLength));
      queue.writeBuffer(buffer, offset + at, part);
      memory.staged += part.byteLength;
      if (memory.staged < CHUNK) continue;
      queue.submit([]);
      memory.staged = 0;
    }
  });
}

/** A part of a buffer to read, in words. */
export interface ReadRequest {
  readonly buffer: GPUBuffer;
  readonly offset: number;
  readonly length: number;
}

/**
 * Read parts of buffers in one mapping; every wait for the GPU costs at least 10 ms, however many parts there are.
 *
 * @throws {DeviceError} if the device failed since the last look, or a part lies outside of its buffer.
 */
export async function readBack(
  device: GraftDevice,
  what: string,
  requests: readonly ReadRequest[],
): Promise<Uint32Array<ArrayBuffer>[]> {
  const words = requests.reduce((sum, { length }) => sum + length, 0);
  const size = padded(4 * words);
  const staging = await create(device, `read ${what}`, size, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST);
  try {
    return await checked(device, `read ${what}`, async () => {
      const encoder = device.gpu.createCommandEncoder();
      let at = 0;
      for (const { buffer, offset, length } of requests) {
        encoder.copyBufferToBuffer(buffer, 4 * offset, staging, at, 4 * length);
        at += 4 * length;
      }
      device.gpu.queue.submit([encoder.finish()]);
      await staging.mapAsync(GPUMapMode.READ);
      const all = new Uint32Array(staging.getMappedRange());
      let start = 0;
      const parts = requests.map(({ length }) => all.slice(start, start += length));
      staging.unmap();
      return parts;
    });
  } finally {
    destroyBuffer(device, staging);
  }
}
