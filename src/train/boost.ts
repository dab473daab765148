// Products in f16 lose gradients: those of a mean over thousands of tokens lie below its smallest numbers. There the loss
// is multiplied by a power of two before the backward pass, and loss and gradients are divided by it afterwards, which
// is exact (arXiv:1710.03740, section 3.2).
import type { Value } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import { scale } from "../ops/elementwise.ts";

/** Ten bits: a label's share of the loss is still below one, and sums over a batch stay far below f16's 65,504. */
const BOOST = 1024;

/** Factor on the scale of the loss. */
export function lossBoost({ precision, kind }: Target): number {
  return precision === "f16" && kind !== "software" ? BOOST : 1;
}

/** The loss, or a gradient, as it would be without the boost. */
export function unboosted(value: Value): Value {
  const boost = lossBoost(value.graph.target);
  return boost === 1 ? value : scale(value, 1 / boost);
}
