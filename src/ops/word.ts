// One number inside a value, where an op needs no whole tensor.
import type { Value } from "../graph/graph.ts";

/** One word of a value, such as a number of the step's scalars. */
export interface Word {
  readonly value: Value;
  /** Which word; the first by default. */
  readonly word?: number;
}
