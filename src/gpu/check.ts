// What wgpu does not check, or checks in silence: one place, before any dispatch exists.
import { DeviceError } from "../core/errors.ts";
import type { Kernel } from "../graph/graph.ts";
import { LOOP_BUDGET, MAX_WORKGROUPS, type Target } from "../graph/target.ts";

/** Counts of workgroups in each dimension; a plain number is folded into two where it is too large for one. */
export function grid({ name, workgroups }: Kernel): [number, number, number] {
  let counts: [number, number, number];
  if (typeof workgroups === "number") {
    const y = Math.ceil(workgroups / MAX_WORKGROUPS);
    counts = [Number.isInteger(workgroups) ? Math.ceil(workgroups / y) : workgroups, y, 1];
  } else {
    counts = [workgroups[0], workgroups[1] ?? 1, workgroups[2] ?? 1];
  }
  if (counts.some((n) => !Number.isInteger(n) || n < 1 || n > MAX_WORKGROUPS)) {
    throw new DeviceError(
      "device/workgroups",
      `Cannot dispatch ${name} as [${counts}] workgroups: each count must be in [1, ${MAX_WORKGROUPS}]`,
    );
  }
  return counts;
}

/**
 * Check a kernel against the limits of the device: loop budget, workgroup memory and size, number of buffers.
 *
 * @param where What errors call the kernel.
 * @throws {DeviceError} `device/limit` listing all that is too much.
 */
export function checkKernel(kernel: Kernel, target: Target, where: string = kernel.name): void {
  const { trips, read, write, uniform = [] } = kernel;
  const wgsl = kernel.wgsl.replace(/\/\/.*|\/\*[^]*?\*\//g, "");
  const problems: string[] = [];
  if (!(trips >= 0 && trips < LOOP_BUDGET)) {
    problems.push(`an invocation loops ${trips} times, the software driver stops it silently at ${LOOP_BUDGET}`);
  }
  const memory = workgroupBytes(wgsl);
  if (memory > target.workgroupBytes) {
    problems.push(`it needs ${memory} bytes of workgroup memory, the device has ${target.workgroupBytes}`);
  }
  const lanes = workgroupSize(wgsl);
  if (lanes > target.invocations) {
    problems.push(`it has ${lanes} invocations a workgroup, the device allows ${target.invocations}`);
  }
  if (read.length + write.length > target.storageBuffers) {
    problems.push(`it binds ${read.length + write.length} buffers, the device allows ${target.storageBuffers}`);
  }
  const odd = uniform.findIndex((word) => !Number.isInteger(word) || word < -(2 ** 31) || word >= 2 ** 32);
  if (odd >= 0) problems.push(`word ${odd} of its uniform is ${uniform[odd]}, not 32 bits`);
  if (problems.length > 0) throw new DeviceError("device/limit", `Cannot dispatch ${where}: ${problems.join("; ")}`);
  grid(kernel);
}

/** Bytes of workgroup memory that a shader declares; sizes are literals or constants of the shader. */
export function workgroupBytes(wgsl: string): number {
  const constants = constantsOf(wgsl);
  let sum = 0;
  for (const match of wgsl.matchAll(/var<workgroup>\s*\w+\s*:\s*([^;]+);/g)) sum += sizeOf(match[1]!, constants);
  return sum;
}

/** Bytes of a type, as arrays of it are laid out. */
function sizeOf(type: string, constants: ReadonlyMap<string, number>): number {
  const text = type.trim();
  const array = /^array\s*<(.*),([^,]+),?\s*>$/s.exec(text);
  if (array) return sizeOf(array[1]!, constants) * product(array[2]!, constants);
  const matrix = /^mat([234])x([234])(?:<\s*f(?:32|16)\s*>|[fh])$/.exec(text);
  if (matrix) return Number(matrix[1]) * (matrix[2] === "2" ? 8 : 16);
  const vector = /^vec([234])(?:<\s*\w+\s*>|([fuih]))$/.exec(text);
  if (vector) return (vector[1] === "2" ? 8 : 16) / (vector[2] === "h" ? 2 : 1);
  if (/^(?:[fui]32|f16|bool|atomic\s*<\s*[ui]32\s*>)$/.test(text)) return 4;
  throw new DeviceError("device/limit", `Cannot read the type "${text}" of workgroup memory in a shader`);
}

/** Invocations of a workgroup. */
export function workgroupSize(wgsl: string): number {
  const match = /@workgroup_size\(([^)]*)\)/.exec(wgsl);
  const constants = constantsOf(wgsl);
  const sizes = (match?.[1] ?? "1").split(",").filter((part) => part.trim() !== "");
  return sizes.reduce((n, part) => n * product(part, constants), 1);
}

function constantsOf(wgsl: string): Map<string, number> {
  const matches = wgsl.matchAll(/const\s+(\w+)(?:\s*:\s*\w+)?\s*=\s*(\d+)[ui]?\s*;/g);
  return new Map([...matches].map((m) => [m[1]!, Number(m[2])]));
}

function product(expression: string, constants: ReadonlyMap<string, number>): number {
  return expression.split("*").reduce((n, factor) => {
    const word = factor.trim().replace(/^(\d+)[ui]$/, "$1");
    const value = constants.get(word) ?? (word === "" ? NaN : Number(word));
    if (!Number.isFinite(value)) {
      throw new DeviceError("device/limit", `Cannot read the size "${expression.trim()}" in a shader`);
    }
    return n * value;
  }, 1);
}
