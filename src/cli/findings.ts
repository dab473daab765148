// What `inspect` found out about a file or folder. A broken one is a result, not an exception.
import { ConfigError, GraftError } from "../core/errors.ts";
import type { TensorInfo } from "../io/safetensors.ts";
import { bytes, digits, plural } from "./format.ts";

/** A tensor as the header has it. */
export type TensorEntry = Pick<TensorInfo, "dtype" | "shape"> & { readonly name: string };

/** The result. */
export interface Findings {
  readonly kind: "safetensors" | "model" | "adapter" | "unknown";
  /** Name and value. */
  readonly facts: readonly (readonly [name: string, value: string])[];
  readonly tensors: readonly TensorEntry[];
  /** What is wrong, one sentence each. */
  readonly problems: readonly string[];
  /** What is odd but usable. */
  readonly warnings: readonly string[];
}

/**
 * The result of `body`, or undefined where it failed and `problems` got the reason.
 *
 * @throws whatever is no problem of the file.
 */
export async function attempt<T>(problems: string[], body: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await body();
  } catch (error) {
    if (!(error instanceof GraftError)) throw error;
    const { code, message } = error;
    if (error instanceof ConfigError) problems.push(...error.problems.map((problem) => `${code}: ${problem}`));
    else problems.push(`${code}: ${message.split("\n")[0]}`);
    return undefined;
  }
}

/** Facts about the tensors of a file. */
export function tensorFacts(tensors: readonly TensorEntry[], size: number): (readonly [string, string])[] {
  const counts = new Map<string, number>();
  for (const { dtype, shape } of tensors) counts.set(dtype, (counts.get(dtype) ?? 0) + elements(shape));
  const types = [...counts].map(([dtype, count]) => `${digits(count)} ${dtype}`).join(", ");
  return [["tensors", `${plural(tensors.length, "tensor")}, ${types || "empty"}, ${bytes(size)}`]];
}

/** Elements of a shape. */
export function elements(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

/** Tensors in the order of their names, where the numbers in them count as numbers. */
export function sortTensors(tensors: Iterable<TensorEntry>): TensorEntry[] {
  return [...tensors].sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
}
