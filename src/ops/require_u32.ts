// Labels, tokens and counters are whole numbers; f32 values in their place would be read as bits, in silence.
import type { Value } from "../graph/graph.ts";

/**
 * Check that every value holds u32 words.
 *
 * @throws {TypeError} naming the first that does not.
 */
export function requireU32(op: string, values: Readonly<Record<string, Value>>): void {
  for (const [name, { dtype, shape }] of Object.entries(values)) {
    if (dtype === "u32") continue;
    throw new TypeError(`Cannot apply ${op} as ${name} must be u32: received ${dtype} [${shape.join(", ")}]`);
  }
}
