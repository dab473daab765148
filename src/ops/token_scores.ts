// Losses and hits of single tokens, collected on the GPU: many batches are scored before anything is read back.
import { tokenScores as shader, tokenScoresTrips } from "../../shaders/token_scores.ts";
import { dims } from "../core/dims.ts";
import { ScalarWord } from "../core/scalars.ts";
import { defineOp, type V0, type V4, type Value } from "../graph/graph.ts";
import { parts, rowRange } from "./parts.ts";
import { requireU32 } from "./require_u32.ts";
import { sampleGroup } from "./sample.ts";

const sizes = ([logits, labels, , scores]: V4) =>
  dims("token_scores", { logits: "N V", labels: "N", scores: "slots rows two" }, { logits, labels, scores });

const tokenScoresOp = defineOp<{ readonly place: number }, V4, V0>({
  name: "token_scores",
  infer(inputs) {
    sizes(inputs);
    return [];
  },
  kernels({ inputs, attrs: { place } }, target) {
    const [logits, labels, scalars, scores] = inputs;
    const { N, V, rows } = sizes(inputs);
    const options = { V, group: sampleGroup(target, V) };
    return parts(N, V, target).map((part) => ({
      name: "token scores",
      wgsl: shader(options),
      read: [rowRange(logits, N, part), labels, scalars],
      write: [scores],
      uniform: [part.hi - part.lo, part.lo, place, rows, ScalarWord.SLOT],
      workgroups: part.hi - part.lo,
      trips: tokenScoresTrips(options),
    }));
  },
});

/** What {@linkcode recordTokenScores} works on. */
export interface TokenScoreInputs {
  /** f32 [N, V]. */
  readonly logits: Value;
  /** u32 [N], each below V. */
  readonly labels: Value;
  /** The scalars of a run, whose word SLOT says where the scores go. */
  readonly scalars: Value;
  /** A state [slots, rows, 2]. */
  readonly scores: Value;
}

/**
 * scores[SLOT, place + n] = the loss of row n in nats, and 1 where its label has the largest logit, else 0. Rows whose
 * label is above the vocabulary count as its last token: leave them out.
 *
 * @throws {ShapeError} if a shape does not fit.
 * @throws {TypeError} if the labels or scalars are not u32, or `scores` is not a state.
 */
export function recordTokenScores(
  { logits, labels, scalars, scores }: TokenScoreInputs,
  { place }: { readonly place: number },
): void {
  requireU32("token_scores", { labels, scalars });
  if (scores.role !== "state") throw new TypeError(`Cannot record in "${scores.name}": it is no state`);
  scores.graph.add(tokenScoresOp, [logits, labels, scalars, scores], { place });
}
