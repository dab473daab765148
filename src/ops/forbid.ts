// Tokens that may not come before a text has a length: those that would end it.
import { FORBID_LANES, forbidTokens as shader } from "../../shaders/forbid.ts";
import { dims } from "../core/dims.ts";
import { defineOp, type V1, type V3, type Value } from "../graph/graph.ts";
import { parts, rowRange } from "./parts.ts";
import { requireU32 } from "./require_u32.ts";

const sizes = ([logits, position, until]: V3) =>
  dims("forbid_tokens", { logits: "S V", position: "S", until: "S" }, { logits, position, until });

const forbidOp = defineOp<{ readonly ids: readonly number[] }, V3, V1>({
  name: "forbid_tokens",
  infer(inputs) {
    sizes(inputs);
    return [inputs[0]];
  },
  kernels({ inputs, outputs: [y], attrs: { ids } }, target) {
    const [logits, position, until] = inputs;
    const { S, V } = sizes(inputs);
    const wgsl = shader(ids);
    return parts(S, V, target).map((part) => ({
      name: "forbid tokens",
      wgsl,
      read: [rowRange(logits, S, part), position, until],
      write: [rowRange(y, S, part)],
      uniform: [part.hi - part.lo, part.lo, V],
      workgroups: Math.ceil((part.hi - part.lo) * V / FORBID_LANES),
      trips: 0,
    }));
  },
  stops: true,
});

/** Where sequences are and how long they must be: u32 [S]. */
export interface TextLengths {
  /** Position of the last token. */
  readonly position: Value;
  /** Tokens that the text must have before one of the ids may follow. */
  readonly until: Value;
}

/**
 * logits[S, V] in which no token of `ids` can be chosen while its sequence is shorter than `until`: they are -1e30 then.
 *
 * @throws {ShapeError} if a shape does not fit.
 * @throws {TypeError} if the lengths are not u32.
 */
export function forbidTokens(logits: Value, { position, until }: TextLengths, ids: readonly number[]): Value {
  requireU32("forbid_tokens", { position, until });
  return ids.length === 0 ? logits : logits.graph.add(forbidOp, [logits, position, until], { ids })[0];
}
