// What a compiler needs to know of the machine, as plain data: graphs and kernels are made and tested without a GPU.

/**
 * Kernels come in classes chosen from the adapter once.
 * `software`: llvmpipe with subgroups, where storage loads are dear and workgroup memory is dearer.
 * `gpu`: at least 32 KiB of workgroup memory and 256 invocations. `default`: WebGPU's guaranteed limits.
 */
export type TargetClass = "software" | "gpu" | "default";

/**
 * What products are computed in. `f16`: operands are rounded to f16, and sixteen products are added in f16 before their
 * sum goes to f32 (relative error 2e-3, like bf16's). Kernels of the software class ignore it: f16 is emulated there.
 */
export type Precision = "f32" | "f16";

/** Choices that were measured on the device: for each kernel and kind of shape the name of a candidate. */
export type Tuning = Readonly<Record<string, string>>;

/** Limits and class of the device that a graph is compiled for. */
export interface Target {
  /** Which kernels to choose. */
  readonly kind: TargetClass;
  /** Lanes of a subgroup; 0 where subgroup operations are not to be used. */
  readonly subgroup: number;
  /** Largest part of a buffer that one binding covers, in bytes. */
  readonly maxBinding: number;
  /** Largest buffer, in bytes. */
  readonly maxBuffer: number;
  /** Storage and uniform offsets are multiples of this many bytes. */
  readonly alignment: number;
  /** Workgroup memory, in bytes. */
  readonly workgroupBytes: number;
  /** Invocations of a workgroup. */
  readonly invocations: number;
  /** Storage buffers of a kernel. */
  readonly storageBuffers: number;
  /** f32 without. */
  readonly precision?: Precision;
  /** Replaces the defaults of the class. */
  readonly tuning?: Tuning;
}

/** WebGPU's guaranteed limits: what every device has. */
export const guaranteed: Target = {
  kind: "default",
  subgroup: 0,
  maxBinding: 128 * 2 ** 20,
  maxBuffer: 256 * 2 ** 20,
  alignment: 256,
  workgroupBytes: 16384,
  invocations: 256,
  storageBuffers: 8,
};

/** Workgroups of one dimension of a dispatch. */
export const MAX_WORKGROUPS = 65535;

/**
 * Loop iterations that one invocation may make in total. The software driver stops all loops of an
 * invocation after 65,535 without an error, so every kernel declares its worst case and stays below.
 */
export const LOOP_BUDGET = 65000;
