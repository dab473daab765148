// The device: limits asked for explicitly, errors that never pass in silence, buffers that are counted.
//
// In Deno a validation error prints nothing and exits 0, five misuses of writeBuffer abort the process, a lost device
// swallows every error, and buffers are not freed without destroy(). Everything that creates, writes or submits goes
// through this file.
import { preferVulkan } from "../core/env.ts";
import { DeviceError, GraftError, OutOfMemoryError } from "../core/errors.ts";
import type { Precision, Target, TargetClass, Tuning } from "../graph/target.ts";
import { readTuning, tuningKey } from "./tuning_cache.ts";

/** Options of {@linkcode openDevice}. */
export interface DeviceOptions {
  /** Refuse a software driver. */
  readonly requireGpu?: boolean;
  /** Treat bindings above this many bytes as too large, to test splitting. */
  readonly maxBinding?: number;
  /** Use the kernels of another class than the adapter's own, to test them. */
  readonly kind?: TargetClass;
  /**
   * Choices of kernels: by default those that `deno task tune` kept for this adapter, where the cache may be read;
   * `false` leaves the defaults of the class.
   */
  readonly tuning?: Tuning | false;
  /** What products are computed in; f16 where the adapter has it and GPU kernels run. */
  readonly precision?: Precision;
}

/** Buffers of a device; those destroyed are `created - buffers`. */
export interface Memory {
  /** Bytes of the buffers that exist. */
  bytes: number;
  /** Largest sum of bytes so far. */
  peak: number;
  /** Buffers that exist. */
  buffers: number;
  /** Buffers ever created. */
  created: number;
  /** Bytes written since the last submit: the queue holds a copy of them until then. */
  staged: number;
}

/** An open WebGPU device and what it can do. */
export interface GraftDevice {
  /** The device of WebGPU. */
  readonly gpu: GPUDevice;
  /** Limits and kernel class. */
  readonly target: Target;
  /** The adapter as people know it, such as `"llvmpipe (LLVM 15.0.6, 256 bits)"`. */
  readonly name: string;
  /** What measured choices of kernels are kept under: adapter and driver. */
  readonly tuningKey: string;
  /** Whether the adapter is a software driver. */
  readonly software: boolean;
  /** Whether kernels can be timed. */
  readonly timestamps: boolean;
  /** What exists now, and what ever did. */
  readonly memory: Memory;
  /** The first error that happened outside of a call that could throw it; every later call throws it. */
  failure: GraftError | undefined;
  /** Pipelines by WGSL text: their number does not depend on the depth of a model. */
  readonly pipelines: Map<string, GPUComputePipeline>;
}

const LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxStorageBuffersPerShaderStage",
] as const;

/**
 * Open the GPU, or the software driver where there is none.
 *
 * @throws {DeviceError} `device/none` if there is no adapter, `device/software` if a real GPU was required, `device/f16`
 * if it cannot compute in f16.
 *
 * @example Usage
 * ```ts
 * import { closeDevice, openDevice } from "@graft/graft";
 *
 * const device = await openDevice();
 * console.log(device.name, device.target.kind);
 * closeDevice(device);
 * ```
 */
export async function openDevice(options: DeviceOptions = {}): Promise<GraftDevice> {
  preferVulkan();
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) {
    throw new DeviceError("device/none", "Cannot open a GPU: no WebGPU adapter was found", {
      hint: "Install a Vulkan driver (on Debian: sh setup.sh, or apt-get install mesa-vulkan-drivers libvulkan1).",
    });
  }
  const { info } = adapter;
  const name = info.description || info.device || info.vendor || "unknown adapter";
  const software = info.isFallbackAdapter === true || /llvmpipe|lavapipe|swiftshader/i.test(name);
  if (software && options.requireGpu) {
    throw new DeviceError("device/software", `Cannot use "${name}" as a GPU: it is a software driver`, {
      hint: "Install the GPU's Vulkan driver, or leave out --require-gpu.",
    });
  }
  const half = options.precision === "f16";
  if (half && !adapter.features.has("shader-f16")) {
    throw new DeviceError("device/f16", `Cannot compute in f16 on "${name}": it has no "shader-f16"`, {
      hint: "Leave out the precision (--precision f32).",
    });
  }
  const wanted: GPUFeatureName[] = ["timestamp-query", ...(half ? ["shader-f16" as const] : [])];
  const requiredLimits: Record<string, number> = {};
  for (const limit of LIMITS) requiredLimits[limit] = adapter.limits[limit];
  const requiredFeatures = wanted.filter((f) => adapter.features.has(f));
  // Deno lists "subgroups" only when it is asked for: ask, and go without where it is refused.
  const subgroups = "subgroups" as GPUFeatureName;
  const gpu = await adapter.requestDevice({ requiredFeatures: [...requiredFeatures, subgroups], requiredLimits })
    .catch(() => adapter.requestDevice({ requiredFeatures, requiredLimits }))
    .catch((cause) => {
      throw new DeviceError("device/open", `Cannot open "${name}": ${cause.message}`, { cause });
    });
  // Tests of another class, and of narrow bindings, are about the defaults.
  const own = options.kind === undefined && options.maxBinding === undefined;
  const tuning = options.tuning ?? (own ? await readTuning(tuningKey(info)) : undefined);
  const device: GraftDevice = {
    gpu,
    target: {
      ...targetOf(adapter, gpu, name, options),
      ...(tuning ? { tuning } : {}),
      ...(half ? { precision: "f16" } : {}),
    },
    name,
    tuningKey: tuningKey(info),
    software,
    timestamps: gpu.features.has("timestamp-query"),
    memory: { bytes: 0, peak: 0, buffers: 0, created: 0, staged: 0 },
    failure: undefined,
    pipelines: new Map(),
  };
  gpu.addEventListener("uncapturederror", (event) => {
    throw device.failure ??= errorOf("go on", (event as GPUUncapturedErrorEvent).error);
  });
  gpu.lost.then(({ reason, message }) => {
    device.failure ??= new DeviceError("device/lost", `Cannot go on as the GPU was lost (${reason}): ${message}`);
  });
  globalThis.addEventListener("unload", () => {
    if (!unseen.has(device)) return;
    console.error(`error: ${device.failure?.message}`);
    Deno.exitCode = 1;
  });
  return device;
}

function targetOf(adapter: GPUAdapter, gpu: GPUDevice, name: string, options: DeviceOptions): Target {
  const { limits } = gpu;
  const granted = gpu.features.has("subgroups" as GPUFeatureName);
  const llvmpipe = /llvmpipe/i.test(name) && granted;
  const large = limits.maxComputeWorkgroupStorageSize >= 32768 && limits.maxComputeInvocationsPerWorkgroup >= 256;
  const kind = options.kind ?? (llvmpipe ? "software" : large ? "gpu" : "default");
  return {
    kind,
    subgroup: granted && kind === "software" ? adapter.info.subgroupMinSize ?? 0 : 0,
    maxBinding: Math.min(limits.maxStorageBufferBindingSize, options.maxBinding ?? Infinity),
    maxBuffer: limits.maxBufferSize,
    alignment: Math.max(limits.minStorageBufferOffsetAlignment, limits.minUniformBufferOffsetAlignment),
    workgroupBytes: limits.maxComputeWorkgroupStorageSize,
    invocations: limits.maxComputeInvocationsPerWorkgroup,
    storageBuffers: limits.maxStorageBuffersPerShaderStage,
  };
}

/** Devices whose failure nobody has been told of yet: the process must not end as if all were well. */
const unseen = new WeakSet<GraftDevice>();

const FILTERS = ["internal", "validation", "out-of-memory"] as const;

function errorOf(what: string, error: GPUError): GraftError {
  if (error instanceof GPUOutOfMemoryError) {
    return new OutOfMemoryError("mem/device", `Cannot ${what} as the GPU is out of memory: ${error.message}`);
  }
  const code = error instanceof GPUValidationError ? "device/validation" : "device/internal";
  return new DeviceError(code, `Cannot ${what}: ${error.message}`);
}

/**
 * Throw what went wrong since the last look.
 *
 * @throws {GraftError} the failure of the device, named after `what`.
 */
export function assertUsable(device: GraftDevice, what: string): void {
  const { failure } = device;
  if (!failure) return;
  unseen.delete(device);
  const Kind = failure instanceof OutOfMemoryError ? OutOfMemoryError : DeviceError;
  throw new Kind(failure.code, `Cannot ${what}: ${failure.message}`, { cause: failure });
}

/**
 * Run `body` inside error scopes and throw what WebGPU would have kept to itself. The scopes cover `body` up to its
 * first `await` and close there, so that calls which overlap in time cannot pop each other's.
 *
 * @throws {GraftError} `device/validation`, `device/internal`, `device/lost`, or {@linkcode OutOfMemoryError} `mem/device`.
 */
export async function checked<T>(device: GraftDevice, what: string, body: () => T | Promise<T>): Promise<T> {
  assertUsable(device, what);
  for (const filter of FILTERS) device.gpu.pushErrorScope(filter);
  const work = (async () => await body())();
  const scopes = FILTERS.map(() => device.gpu.popErrorScope());
  const [done, ...errors] = await Promise.allSettled([work, ...scopes]);
  for (const error of errors) {
    if (error.status === "fulfilled" && error.value) throw errorOf(what, error.value);
  }
  if (done.status === "fulfilled") {
    assertUsable(device, what);
    return done.value;
  }
  // A mapping on a lost device fails some time before the loss itself is reported.
  await new Promise((resolve) => setTimeout(resolve, 0));
  assertUsable(device, what);
  if (done.reason instanceof GraftError) throw done.reason;
  throw new DeviceError("device/internal", `Cannot ${what}: ${done.reason?.message}`, { cause: done.reason });
}

/**
 * Run `body`, which queues work, inside error scopes without waiting. What went wrong is thrown by the next call that
 * looks; if there is none, the process says so when it ends, with exit code 1.
 *
 * @throws {GraftError} what went wrong before.
 */
export function queued(device: GraftDevice, what: string, body: () => void): void {
  assertUsable(device, what);
  for (const filter of FILTERS) device.gpu.pushErrorScope(filter);
  try {
    body();
  } finally {
    Promise.all(FILTERS.map(() => device.gpu.popErrorScope())).then((errors) => {
      const error = errors.find((e) => e !== null);
      if (!error || device.failure) return;
      device.failure = errorOf(what, error);
      unseen.add(device);
    });
  }
}

/** Release the device and everything on it. Using it afterwards throws. */
export function closeDevice(device: GraftDevice): void {
  device.failure ??= new DeviceError("device/closed", "Cannot use a device that is closed");
  device.gpu.destroy();
}
