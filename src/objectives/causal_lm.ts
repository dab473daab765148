// Causal language modelling: the loss of predicting every next token, as transformers' ForCausalLMLoss.
//
//   loss = scale · Σ −log p(label[n] | tokens up to n)      labels are shifted by one on the CPU
import { checkBatch } from "../data/batch.ts";
import type { Value } from "../graph/graph.ts";
import type { Architecture, OutputHead } from "../models/architecture.ts";
import { applySite } from "../nn/linear.ts";
import type { ModelScope } from "../nn/scope.ts";
import { crossEntropy } from "../ops/cross_entropy.ts";
import { linearCrossEntropy } from "../ops/linear_cross_entropy.ts";
import { softcap as bounded } from "../ops/softcap.ts";
import { arrangeTokens, countLabels, tokenLabels, words } from "./arrange.ts";
import type { Inputs, LossOptions, Task } from "./task.ts";

/** Predicting the next token. */
export function causalLm({ vocabSize: V }: { readonly vocabSize: number }): Task {
  return {
    name: "causal-lm",
    taskType: "CAUSAL_LM",
    trains: [],
    classes: V,
    arrange(batch, architecture, options) {
      checkBatch(batch, { vocabSize: architecture.V, positions: architecture.positions });
      const { B, T, inputs } = arrangeTokens(batch, architecture, options);
      const labels = tokenLabels(batch.labels, { B, T, shift: 1 });
      return { B, T, inputs: { ...inputs, labels: words([B * T], labels) }, items: countLabels(labels) };
    },
    specimen: ({ B, T }) => ({ input_ids: Array.from({ length: B }, () => new Array(T).fill(0)) }),
    logits: (m, architecture, { input_ids }) => causalLmLogits(m, architecture, input_ids),
    shape: ({ B, T }) => [B, T, V],
    criterion: (logits, { labels }, { scale, smoothing = 0 }) =>
      crossEntropy(logits, labels!, { smoothing, reduction: "sum", scaleBy: scale }),
    loss: causalLmLoss,
    tokens: { hidden: (m, architecture, { input_ids }) => architecture.hidden(m, input_ids), logits: hiddenLogits },
  };
}

/** The loss [1] of a batch. The logits are never materialized unless an adapter changes the output projection. */
export function causalLmLoss(
  m: ModelScope,
  architecture: Architecture,
  { input_ids, labels }: Inputs,
  { scale, smoothing = 0 }: LossOptions,
): Value {
  const hidden = architecture.hidden(m, input_ids);
  const head = architecture.head!(m);
  const { info, weight, softcap } = head;
  const options = { smoothing, reduction: "sum" } as const;
  if (m.adapter?.linear && m.adapter.adapts(info)) {
    const logits = project(m, head, hidden);
    return m.graph.scope(info.path, () => crossEntropy(logits, labels!, { ...options, scaleBy: scale }));
  }
  m.leaves.site?.(info);
  return m.graph.scope(
    info.path,
    () => linearCrossEntropy({ hidden, weight, labels: labels!, scale }, { ...options, softcap }),
  );
}

/** The logits [N, V] of a batch. */
export function causalLmLogits(m: ModelScope, architecture: Architecture, tokens: Value): Value {
  const hidden = architecture.hidden(m, tokens);
  return hiddenLogits(m, architecture, hidden);
}

/** The logits [N, V] of hidden states h[N, D]. */
export function hiddenLogits(m: ModelScope, architecture: Architecture, hidden: Value): Value {
  return project(m, architecture.head!(m), hidden);
}

function project(m: ModelScope, { info, weight, softcap }: OutputHead, hidden: Value): Value {
  return m.graph.scope(info.path, () => {
    const logits = applySite(m, info, hidden, weight);
    return softcap === undefined ? logits : bounded(logits, softcap);
  });
}
