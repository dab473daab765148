// The device: limits asked for explicitly, errors that never pass in silence, buffers that are counted.
//
// In Deno a validation error prints nothing and exits 0, five misuses of writeBuffer abort the process, a lost device
// swallows every error, and buffers are not freed without destroy(). Everything that creates, writes or submits goes
// through this file.
import { DeviceError, OutOfMemoryError } from "../core/errors.ts";
import type { Target, TargetClass } from "../graph/target.ts";

/** Options of {@linkcode openDevice}. */
export interface DeviceOptions {
  /** Refuse a software driver. */
  readonly requireGpu?: boolean;
  /** Treat bindings above this many bytes as too large, to test splitting. */
  readonly maxBinding?: number;
  /** Use the kernels of another class than the adapter's own, to test them. */
  readonly kind?: TargetClass;
}

/** An open WebGPU device and what it can do. */
export interface GraftDevice {
  readonly gpu: GPUDevice;
  /** Limits and kernel class. */
  readonly target: Target;
  /** The adapter as people know it, such as `"llvmpipe (LLVM 15.0.6, 256 bits)"`. */
  readonly name: string;
  /** Whether the adapter is a software driver. */
  readonly software: boolean;
  /** Whether kernels can be timed. */
  readonly timestamps: boolean;
  /** Bytes of buffers that exist now, their number, and the largest sum so far. */
  readonly memory: { bytes: number; buffers: number; peak: number };
  /** The first error that happened outside of a call that could throw it. */
  failure: DeviceError | undefined;
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
 * @throws {DeviceError} `device/none` if there is no adapter, `device/software` if a real GPU was required.
 *
 * @example Usage
 * ```ts
 * import { openDevice } from "@graft/graft";
 *
 * const device = await openDevice();
 * console.log(device.name, device.target.kind);
 * device.gpu.destroy();
 * ```
 */
export async function openDevice(options: DeviceOptions = {}): Promise<GraftDevice> {
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
  const wanted: GPUFeatureName[] = ["timestamp-query"];
  const requiredLimits: Record<string, number> = {};
  for (const limit of LIMITS) requiredLimits[limit] = adapter.limits[limit];
  const requiredFeatures = wanted.filter((f) => adapter.features.has(f));
  // Deno lists "subgroups" only when it is asked for: ask, and go without where it is refused.
  const subgroups = "subgroups" as GPUFeatureName;
  const gpu = await adapter.requestDevice({ requiredFeatures: [...requiredFeatures, subgroups], requiredLimits })
    .catch(() => adapter.requestDevice({ requiredFeatures, requiredLimits }));
  const device: GraftDevice = {
    gpu,
    target: targetOf(adapter, gpu, name, options),
    name,
    software,
    timestamps: gpu.features.has("timestamp-query"),
    memory: { bytes: 0, buffers: 0, peak: 0 },
    failure: undefined,
    pipelines: new Map(),
  };
  gpu.addEventListener("uncapturederror", (event) => {
    device.failure ??= new DeviceError(
      "device/validation",
      `Cannot go on: ${(event as GPUUncapturedErrorEvent).error.message}`,
    );
    throw device.failure;
  });
  gpu.lost.then(({ reason, message }) => {
    device.failure ??= new DeviceError("device/lost", `Cannot go on as the GPU was lost (${reason}): ${message}`);
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

/**
 * Throw what went wrong since the last look, on the device or in `what`.
 *
 * @throws {DeviceError} with the failure, named after `what`.
 */
export function assertUsable(device: GraftDevice, what: string): void {
  const { failure } = device;
  if (failure) throw new DeviceError(failure.code, `Cannot run ${what}: ${failure.message}`, { cause: failure });
}

/**
 * Run `body` inside error scopes and throw what WebGPU would have kept to itself.
 *
 * @throws {DeviceError} `device/validation`, {@linkcode OutOfMemoryError} `mem/device`.
 */
export async function checked<T>(device: GraftDevice, what: string, body: () => T | Promise<T>): Promise<T> {
  assertUsable(device, what);
  device.gpu.pushErrorScope("validation");
  device.gpu.pushErrorScope("out-of-memory");
  let result: T;
  let memory: GPUError | null, validation: GPUError | null;
  try {
    result = await body();
  } finally {
    memory = await device.gpu.popErrorScope();
    validation = await device.gpu.popErrorScope();
  }
  if (memory) {
    throw new OutOfMemoryError("mem/device", `Cannot ${what} as the GPU is out of memory: ${memory.message}`);
  }
  if (validation) throw new DeviceError("device/validation", `Cannot ${what}: ${validation.message}`);
  assertUsable(device, what);
  return result;
}

/** Release the device and everything on it. Using it afterwards throws. */
export function closeDevice(device: GraftDevice): void {
  device.failure ??= new DeviceError("device/closed", "Cannot use a device that is closed");
  device.gpu.destroy();
}
