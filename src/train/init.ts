// Fresh tensors: counter-based numbers keyed by (seed, tensor name), so that the order of creation does not matter.
import { size } from "../core/dims.ts";
import { normal, randomKey, uniform } from "../core/random.ts";
import type { AdapterInit } from "../nn/scope.ts";
import type { TensorSpec } from "./leaves.ts";

/** The first values of a tensor. */
export function initialValues(
  { name, shape, init }: Omit<TensorSpec, "init"> & { readonly init: Exclude<AdapterInit, { kind: "base" }> },
  seed: number,
): Float32Array<ArrayBuffer> {
  const values = new Float32Array(size(shape));
  const key = randomKey(seed, "init", name);
  switch (init.kind) {
    case "zeros":
      return values;
    case "ones":
      return values.fill(1);
    case "constant":
      return values.fill(init.value);
    case "uniform":
      return values.map((_, i) => init.bound * (2 * uniform(key, i) - 1));
    case "normal":
      return values.map((_, i) => init.std * normal(key, i));
  }
}
