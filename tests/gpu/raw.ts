// Raw kernels as ops, and errors by their codes, to misuse the device through the API that ops use.
import { assertEquals, assertInstanceOf, assertStringIncludes } from "@std/assert";
import { DeviceError, type GraftError, OutOfMemoryError } from "../../src/core/errors.ts";
import { defineOp, type Graph, type Kernel, type Value, type Values } from "../../src/graph/graph.ts";
import type { Shape } from "../../src/core/dims.ts";

/** What a test wants to vary. */
export type RawKernel = Partial<Omit<Kernel, "read" | "write">> & {
  readonly read?: (inputs: Values, outputs: Values) => Kernel["read"];
  readonly write?: (inputs: Values, outputs: Values) => Kernel["write"];
};

/** A kernel that writes one word of its output and reads nothing. */
export const ONE_WORD = `@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(1) fn main() { y[0] = 1.0; }`;

/** A kernel that copies the first word. */
export const COPY_WORD = `@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(1) fn main() { y[0] = x[0]; }`;

/** Apply an op of one kernel and one output. */
export function raw(graph: Graph, inputs: Values, shape: Shape, kernel: RawKernel): Value {
  const { read = (i: Values) => i, write = (_: Values, o: Values) => o, ...rest } = kernel;
  const op = defineOp<null, Values, readonly [Value]>({
    name: "raw",
    infer: () => [{ shape, dtype: "f32" }],
    kernels: ({ inputs, outputs }) => [{
      name: "raw kernel",
      wgsl: inputs.length > 0 ? COPY_WORD : ONE_WORD,
      workgroups: 1,
      trips: 0,
      ...rest,
      read: read(inputs, outputs),
      write: write(inputs, outputs),
    }],
  });
  return graph.add(op, inputs, null)[0];
}

/** Check the class, code and words of an error. */
export function assertCode(error: Error, code: string, ...words: string[]): void {
  const Kind = code.startsWith("mem/") ? OutOfMemoryError : DeviceError;
  assertInstanceOf(error, Kind, `${error}`);
  assertEquals((error as GraftError).code, code, error.message);
  for (const word of words) assertStringIncludes(error.message, word);
}
