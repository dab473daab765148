// Masked language modelling, as transformers' *ForMaskedLM: the loss of the tokens that were hidden.
//
//   loss = scale · Σ −log softmax(z[n])[label[n]]      labels [B, T]; -100 where nothing was hidden
//
// Training computes the logits of labelled positions only: a seventh of [N, V].
import { checkBatch } from "../data/batch.ts";
import { IGNORE } from "../data/labels.ts";
import { crossEntropy } from "../ops/cross_entropy.ts";
import { gatherRows } from "../ops/embedding.ts";
import { arrangeTokens, countLabels, packLabelled, tokenLabels, words } from "./arrange.ts";
import { headOf, hiddenStates } from "./head.ts";
import type { Task } from "./task.ts";

/** Predicting hidden tokens from both sides. */
export function maskedLm({ vocabSize: V }: { readonly vocabSize: number }): Task {
  return {
    name: "masked-lm",
    taskType: null,
    trains: [],
    classes: V,
    arrange(batch, architecture, options) {
      const { positions, tokenTypes = 1 } = architecture;
      checkBatch(batch, { vocabSize: architecture.V, positions, tokenTypes });
      const { B, T, inputs } = arrangeTokens(batch, architecture, options);
      const labels = tokenLabels(batch.labels, { B, T });
      const items = countLabels(labels);
      const labelled = packLabelled(labels, items);
      return {
        ...{ B, T, items },
        inputs: {
          ...inputs,
          labels: words([B * T], labels),
          labelled: words([labelled.rows.length], labelled.rows),
          labelled_labels: words([labelled.rows.length], labelled.labels),
        },
      };
    },
    // A specimen stands for batches of which a seventh is hidden.
    specimen({ B, T }) {
      const row = Array.from({ length: T }, (_, t) => t % 7 === 0 ? 0 : IGNORE);
      return { input_ids: Array.from({ length: B }, () => new Array(T).fill(0)), labels: new Array(B).fill(row) };
    },
    logits: (m, architecture, inputs) =>
      headOf(architecture, "masked-lm").logits(m, hiddenStates(m, architecture, inputs), V),
    shape: ({ B, T }) => [B, T, V],
    criterion: (logits, { labels }, { scale, smoothing = 0 }) =>
      crossEntropy(logits, labels!, { smoothing, reduction: "sum", scaleBy: scale }),
    tokens: {
      hidden: hiddenStates,
      logits: (m, architecture, hidden) => headOf(architecture, "masked-lm").logits(m, hidden, V),
    },
    loss(m, architecture, inputs, { scale, smoothing = 0 }) {
      const hidden = gatherRows(hiddenStates(m, architecture, inputs), inputs.labelled!);
      const logits = headOf(architecture, "masked-lm").logits(m, hidden, V);
      return crossEntropy(logits, inputs.labelled_labels!, { smoothing, reduction: "sum", scaleBy: scale });
    },
  };
}
