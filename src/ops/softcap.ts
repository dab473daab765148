// Soft-capping: y = cap · tanh(x / cap), as Gemma 2 bounds its scores and its logits.
import { boundedTanh } from "../../shaders/activations.ts";
import type { Op, V1, Value } from "../graph/graph.ts";
import { curve } from "./activations.ts";

/**
 * Check a bound.
 *
 * @throws {RangeError} if `cap` is given and not positive.
 */
export function checkSoftcap(cap: number | undefined): void {
  if (cap === undefined || (Number.isFinite(cap) && cap > 0)) return;
  throw new RangeError(`Cannot use ${cap} as softcap: it must be a positive number`);
}

/** One op for each bound: whoever makes the input may do its work. */
const ops = new Map<number, Op<null, V1, V1>>();

function softcapOp(cap: number): Op<null, V1, V1> {
  const known = ops.get(cap);
  if (known) return known;
  const bound = `vec4f(${cap})`;
  const made = curve({
    name: "softcap",
    functions: boundedTanh(),
    forward: `bounded_tanh(x / ${bound}) * ${bound}`,
    gradient: `dy * (1.0 - (y / ${bound}) * (y / ${bound}))`,
    saved: "y",
  });
  ops.set(cap, made);
  return made;
}

/**
 * y = cap · tanh(x / cap).
 *
 * @throws {RangeError} if `cap` is not positive.
 */
export function softcap(x: Value, cap: number): Value {
  checkSoftcap(cap);
  return x.graph.add(softcapOp(cap), [x], null)[0];
}
