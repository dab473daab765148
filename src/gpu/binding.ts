// What a dispatch binds: aligned parts of buffers, no buffer both read and written, and all uniforms in one buffer.
import { bytes } from "../core/dims.ts";
import { DeviceError } from "../core/errors.ts";
import type { Kernel, Range, Value } from "../graph/graph.ts";
import { valueOf } from "../graph/kernels.ts";
import type { Target } from "../graph/target.ts";
import { createUniform, padded } from "./buffer.ts";
import type { GraftDevice } from "./device.ts";

/** Where a value is: its buffer and its first word. */
export type Locate = (value: Value) => { readonly buffer: GPUBuffer; readonly offset: number };

/**
 * The storage bindings of a kernel: its reads, then its writes.
 *
 * @throws {DeviceError} `device/binding`, `device/alignment`, or `device/alias` where a buffer is read and written, or
 * two writes overlap: WebGPU would drop the whole submit, or races would decide.
 */
export function storageBindings(kernel: Kernel, locate: Locate, target: Target, where: string): GPUBufferBinding[] {
  const reads = kernel.read.map((b) => bindingOf(b, locate, target, where));
  const writes = kernel.write.map((b) => bindingOf(b, locate, target, where));
  for (const [i, w] of writes.entries()) {
    const name = valueOf(kernel.write[i]!).name;
    const read = reads.findIndex((r) => r.buffer === w.buffer);
    if (read >= 0) {
      throw new DeviceError(
        "device/alias",
        `Cannot bind "${name}" in ${where} as written: "${
          valueOf(kernel.read[read]!).name
        }" is read from the same buffer`,
        { hint: "List it once, under write, and declare it read_write; or copy it first." },
      );
    }
    const other = writes.findIndex((v, j) =>
      j < i && v.buffer === w.buffer && v.offset < w.offset + w.size && w.offset < v.offset + v.size
    );
    if (other >= 0) {
      throw new DeviceError(
        "device/alias",
        `Cannot bind "${name}" in ${where} as written: it overlaps "${valueOf(kernel.write[other]!).name}"`,
      );
    }
  }
  return [...reads, ...writes];
}

function bindingOf(binding: Value | Range, locate: Locate, target: Target, where: string): Required<GPUBufferBinding> {
  const value = valueOf(binding);
  const words = bytes(value) / 4;
  const [first, length] = "value" in binding ? [binding.offset, binding.length] : [0, words];
  if (!(Number.isInteger(first) && first >= 0 && length > 0 && first + length <= words)) {
    throw new DeviceError(
      "device/binding",
      `Cannot bind words ${first} to ${first + length} of "${value.name}" [${value.shape}] in ${where}`,
    );
  }
  const { buffer, offset } = locate(value);
  const start = 4 * (offset + first);
  const count = padded(4 * length);
  if (start % target.alignment !== 0) {
    throw new DeviceError(
      "device/alignment",
      `Cannot bind "${value.name}" in ${where}: byte ${start} is not a multiple of ${target.alignment}`,
    );
  }
  if (count > target.maxBinding) {
    throw new DeviceError(
      "device/binding",
      `Cannot bind "${value.name}" [${value.shape}] in ${where}: it takes ${count} bytes, a binding at most ${target.maxBinding}`,
      { hint: "Use a smaller batch or shorter sequences." },
    );
  }
  return { buffer, offset: start, size: count };
}

/** All uniforms of a program in one buffer; kernels with the same words share them. */
export async function createUniforms(
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
