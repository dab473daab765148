// One class a token, as transformers' *ForTokenClassification:
//
//   loss = scale · Σ −log softmax(z[n])[label[n]]      labels [B, T]; -100 where a token has none
import { checkBatch } from "../data/batch.ts";
import { crossEntropy } from "../ops/cross_entropy.ts";
import { arrangeTokens, countLabels, tokenLabels, words } from "./arrange.ts";
import { headOf, hiddenStates } from "./head.ts";
import type { Task } from "./task.ts";

/** A class for each token, such as the entity that it is a part of. */
export function tokenClassification({ classes: L }: { readonly classes: number }): Task {
  return {
    name: "token-classification",
    taskType: "TOKEN_CLS",
    trains: ["classifier", "score"],
    classes: L,
    arrange(batch, architecture, options) {
      const { V: vocabSize, positions, tokenTypes = 1 } = architecture;
      checkBatch(batch, { vocabSize, positions, tokenTypes, labels: { of: "tokens", classes: L } });
      const { B, T, inputs } = arrangeTokens(batch, architecture, options);
      const labels = tokenLabels(batch.labels, { B, T });
      return { B, T, inputs: { ...inputs, labels: words([B * T], labels) }, items: countLabels(labels) };
    },
    specimen: ({ B, T }) => ({ input_ids: Array.from({ length: B }, () => new Array(T).fill(0)) }),
    logits: (m, architecture, inputs) =>
      headOf(architecture, "token-classification").logits(m, hiddenStates(m, architecture, inputs), L),
    shape: ({ B, T }) => [B, T, L],
    criterion: (logits, { labels }, { scale, smoothing = 0 }) =>
      crossEntropy(logits, labels!, { smoothing, reduction: "sum", scaleBy: scale }),
  };
}
