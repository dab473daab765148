// One prediction a sequence, as transformers' *ForSequenceClassification with its rules for `problem_type`:
//
//   single label   loss = scale · Σ −log softmax(z)[label]            labels [B]
//   several        loss = scale · Σ binary cross-entropy(z, t)        labels [B, L] of 0 and 1
//   regression     loss = scale · Σ (z − t)²                          labels [B] or [B, L] of numbers
import { type Batch, checkBatch, type LabelRule } from "../data/batch.ts";
import type { ProblemType } from "../data/label_names.ts";
import { IGNORE } from "../data/labels.ts";
import { bceWithLogits } from "../ops/bce.ts";
import { crossEntropy } from "../ops/cross_entropy.ts";
import { mse } from "../ops/mse.ts";
import { scaleByWord } from "../ops/scale_by.ts";
import { arrangeTokens, countLabels, numbers, words } from "./arrange.ts";
import { headOf } from "./head.ts";
import { arrangeSequences, representation } from "./represent.ts";
import { refuseSmoothing } from "./smoothing.ts";
import type { ArrayInput, Task } from "./task.ts";

/** Settings of {@linkcode sequenceClassification}. */
export interface SequenceClassificationOptions {
  /** Labels, L. */
  readonly classes: number;
  /** Found from the labels of each batch where it is absent: lists are several labels, one class is a regression. */
  readonly problem?: ProblemType | undefined;
  /** Id of the padding token: the last token of a causal model is the right-most one that is none. */
  readonly padId?: number | undefined;
}

/** A class, several classes, or numbers for each sequence. */
export function sequenceClassification({ classes: L, problem, padId }: SequenceClassificationOptions): Task {
  return {
    name: "sequence-classification",
    taskType: "SEQ_CLS",
    trains: ["classifier", "score"],
    classes: L,
    arrange(batch, architecture, options) {
      const { V: vocabSize, positions, tokenTypes = 1 } = architecture;
      const kind = problem ?? problemOf(batch, L);
      const labels: LabelRule = kind === "single_label_classification"
        ? { of: "rows", classes: L }
        : { of: "numbers", width: L };
      checkBatch(batch, { vocabSize, positions, tokenTypes, labels });
      const { B, T, inputs } = arrangeTokens(batch, architecture, options);
      const sequences = arrangeSequences(batch, architecture, {
        head: "sequence-classification",
        T,
        padId,
        prefix: options?.prefix,
      });
      const targets = arrangeLabels(batch.labels, { B, L, kind });
      return { B, T, inputs: { ...inputs, ...sequences, ...targets.inputs }, items: targets.items };
    },
    specimen: ({ B, T }) => ({
      input_ids: Array.from({ length: B }, () => new Array(T).fill(0)),
      labels: new Array(B).fill(problem === undefined || problem === "single_label_classification" ? 0 : L1(L)),
    }),
    logits(m, architecture, inputs) {
      const { logits } = headOf(architecture, "sequence-classification");
      return logits(m, representation(m, architecture, inputs), L);
    },
    shape: ({ B }) => [B, L],
    criterion(logits, { labels, values, memberships }, { scale, smoothing = 0 }) {
      if (labels) return crossEntropy(logits, labels, { smoothing, reduction: "sum", scaleBy: scale });
      refuseSmoothing(smoothing, values ? "a regression" : "several labels a row");
      const sum = values ? mse(logits, values, { reduction: "sum" }) : bceWithLogits(logits, memberships!);
      return scaleByWord(sum, scale);
    },
  };
}

const L1 = (L: number): number | number[] => L === 1 ? 0 : new Array(L).fill(0);

/** transformers' rule: one class is a regression, lists of numbers are several labels, numbers are classes. */
function problemOf({ labels }: Batch, L: number): ProblemType {
  if (L === 1) return "regression";
  return typeof labels?.[0] === "object" ? "multi_label_classification" : "single_label_classification";
}

function arrangeLabels(
  labels: Batch["labels"],
  { B, L, kind }: { readonly B: number; readonly L: number; readonly kind: ProblemType },
): { readonly inputs: Readonly<Record<string, ArrayInput>>; readonly items: number } {
  if (kind === "single_label_classification") {
    const data = Int32Array.from({ length: B }, (_, b) => labels ? labels[b] as number : IGNORE);
    return { inputs: { labels: words([B], data) }, items: countLabels(data) };
  }
  const input = numbers([B, L], Float32Array.from(labels ? labels.flat() : new Array(B * L).fill(0)));
  const name = kind === "regression" ? "values" : "memberships";
  return { inputs: { [name]: input }, items: labels ? B * L : 0 };
}
