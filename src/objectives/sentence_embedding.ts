// A vector for each sequence; trained, where it is, to equal given vectors (distillation):
//
//   loss = scale · Σ (z − t)²        labels [B, D] of numbers
import { checkBatch } from "../data/batch.ts";
import { mse } from "../ops/mse.ts";
import { scaleByWord } from "../ops/scale_by.ts";
import { arrangeTokens, numbers } from "./arrange.ts";
import { headOf } from "./head.ts";
import { arrangeSequences, representation } from "./represent.ts";
import { refuseSmoothing } from "./smoothing.ts";
import type { Task } from "./task.ts";

/** A vector of the model's width for each sequence. */
export function sentenceEmbedding({ width: D }: { readonly width: number }): Task {
  return {
    name: "sentence-embedding",
    taskType: "FEATURE_EXTRACTION",
    trains: [],
    classes: D,
    arrange(batch, architecture, options) {
      const { V: vocabSize, positions, tokenTypes = 1 } = architecture;
      checkBatch(batch, { vocabSize, positions, tokenTypes, labels: { of: "numbers", width: D } });
      const { B, T, inputs } = arrangeTokens(batch, architecture, options);
      const sequences = arrangeSequences(batch, architecture, {
        head: "sentence-embedding",
        T,
        prefix: options?.prefix,
      });
      const values = Float32Array.from(batch.labels ? batch.labels.flat() : new Array(B * D).fill(0));
      return {
        inputs: { ...inputs, ...sequences, values: numbers([B, D], values) },
        ...{ B, T, items: batch.labels ? B * D : 0 },
      };
    },
    specimen: ({ B, T }) => ({ input_ids: Array.from({ length: B }, () => new Array(T).fill(0)) }),
    logits: (m, architecture, inputs) =>
      headOf(architecture, "sentence-embedding").logits(m, representation(m, architecture, inputs), D),
    shape: ({ B }) => [B, D],
    criterion(logits, { values }, { scale, smoothing = 0 }) {
      refuseSmoothing(smoothing, "vectors");
      return scaleByWord(mse(logits, values!, { reduction: "sum" }), scale);
    },
  };
}
