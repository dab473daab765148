// Elementwise over a matrix with smaller operands: the dispatches that biases, positions and factors share.
import {
  broadcast as shader,
  BROADCAST_LANES,
  type BroadcastOptions,
  broadcastStep,
  type OperandKind,
} from "../../shaders/broadcast.ts";
import { size } from "../core/dims.ts";
import { floatBits, type Kernel, type Value } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import { parts, rowRange } from "./parts.ts";

/** What {@linkcode broadcastKernels} needs. */
export interface BroadcastCall extends Omit<BroadcastOptions, "operands"> {
  readonly name: string;
  /** Values and kinds by the names that the expression uses. */
  readonly operands: Readonly<Record<string, readonly [OperandKind, Value]>>;
  readonly output: Value;
  /** Rows after which a `cycle` operand repeats, or which word of a `word` operand is meant. */
  readonly T?: number;
  /** p.x of the expression. */
  readonly x?: number;
}

/** The dispatches of a broadcast shader, cut by rows (or elements) where an operand exceeds one binding. */
export function broadcastKernels(call: BroadcastCall, target: Target): Kernel[] {
  const { name, D, operands, expression, output, T = 1, x = 0 } = call;
  const entries = Object.entries(operands);
  const width = D ?? 1;
  const N = size(output.shape) / width;
  const wgsl = shader({
    ...(D === undefined ? {} : { D }),
    operands: Object.fromEntries(entries.map(([key, [kind]]) => [key, kind])),
    expression,
  });
  return parts(N, width, target).map((part) => {
    const count = (part.hi - part.lo) * width;
    return {
      name,
      wgsl,
      read: entries.map(([, [kind, v]]) => kind === "matrix" || kind === "rows" ? rowRange(v, N, part) : v),
      write: [rowRange(output, N, part)],
      uniform: [count, part.lo, T, floatBits(x)],
      workgroups: Math.ceil(count / (broadcastStep(D) * BROADCAST_LANES)),
      trips: 0,
    };
  });
}
