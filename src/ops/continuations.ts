// The best next tokens of each row of logits, for searches that follow several. Nothing here is differentiated.
import { continuations as shader, continuationTrips } from "../../shaders/continuations.ts";
import { dims } from "../core/dims.ts";
import { defineOp, type V1, type V2, type Value } from "../graph/graph.ts";
import { parts, rowRange } from "./parts.ts";
import { MAX_CLASSES, sampleGroup } from "./sample.ts";

const continuationsOp = defineOp<{ readonly K: number }, V1, V2>({
  name: "continuations",
  infer([logits], { K }) {
    const { S } = dims("continuations", { logits: "S V" }, { logits });
    return [{ shape: [S, K], dtype: "f32" }, { shape: [S, K], dtype: "u32" }];
  },
  kernels({ inputs: [logits], outputs: [scores, tokens], attrs: { K } }, target) {
    const [S, V] = logits.shape as [number, number];
    const options = { V, K, group: sampleGroup(target, V) };
    return parts(S, V, target).map((part) => ({
      name: "continuations",
      wgsl: shader(options),
      read: [rowRange(logits, S, part)],
      write: [scores, tokens],
      uniform: [part.hi - part.lo, part.lo],
      workgroups: part.hi - part.lo,
      trips: continuationTrips(options),
    }));
  },
  stops: true,
});

/** What {@linkcode continuations} returns. */
export interface Continuations {
  /** f32 [S, K], falling. */
  readonly scores: Value;
  /** u32 [S, K]. */
  readonly tokens: Value;
}

/**
 * The K largest of each row of logits[S, V] and their places; of equal ones the lowest first.
 *
 * @throws {RangeError} if K is not in [1, V].
 */
export function continuations(logits: Value, K: number): Continuations {
  const { V } = dims("continuations", { logits: "S V" }, { logits });
  if (V > MAX_CLASSES) {
    throw new RangeError(`Cannot apply continuations to ${V} classes: at most ${MAX_CLASSES} are told apart`);
  }
  if (!(Number.isInteger(K) && K >= 1 && K <= V)) throw new RangeError(`Cannot keep ${K} of ${V} logits`);
  const [scores, tokens] = logits.graph.add(continuationsOp, [logits], { K });
  return { scores, tokens };
}
