// Writing one text from another, as transformers' T5ForConditionalGeneration: the encoder reads, the decoder predicts
// every token of the labels from the ones before it.
//
//   loss = scale · Σ −log p(label[t] | source, labels before t)      decoder_input_ids[t] = label[t − 1], pad for -100
import { type Batch, checkBatch } from "../data/batch.ts";
import { IGNORE } from "../data/labels.ts";
import type { Architecture, Encoder } from "../models/architecture.ts";
import { fullSequence } from "../nn/full_sequence.ts";
import type { ModelScope } from "../nn/scope.ts";
import { fullSource } from "../nn/source.ts";
import { crossEntropy } from "../ops/cross_entropy.ts";
import { arrangeTokens, countLabels, tokenLabels, words } from "./arrange.ts";
import { causalLmLogits, causalLmLoss, hiddenLogits } from "./causal_lm.ts";
import type { Inputs, Task } from "./task.ts";

/** Writing one text from another. */
export function seq2seqLm({ vocabSize: V }: { readonly vocabSize: number }): Task {
  return {
    name: "seq2seq-lm",
    taskType: "SEQ_2_SEQ_LM",
    trains: [],
    classes: V,
    arrange(batch, architecture, options = {}) {
      const { positions, encoder } = architecture;
      checkBatch(batch, { vocabSize: V, positions, labels: { of: "targets", classes: V, positions } });
      const { B, inputs } = arrangeTokens(batch, { ...architecture, causal: false }, options);
      const columns = targetLength(batch), { multiple = 1 } = options;
      const T = Math.max(columns, Math.min(Math.ceil(columns / multiple) * multiple, positions));
      const labels = tokenLabels(batch.labels, { B, T });
      return {
        ...{ B, T },
        inputs: {
          ...inputs,
          decoder_input_ids: words([B * T], shiftedRight(labels, T, encoder!)),
          labels: words([B * T], labels),
        },
        items: countLabels(labels),
      };
    },
    specimen({ B, T }) {
      const rows = Array.from({ length: B }, () => new Array(T).fill(0));
      return { input_ids: rows, labels: rows };
    },
    sequence: (_architecture, _inputs, { B, T }) => fullSequence({ B, T }),
    logits: (m, architecture, inputs) =>
      causalLmLogits(decoderScope(m, architecture, inputs), architecture, inputs.decoder_input_ids!),
    shape: ({ B, T }) => [B, T, V],
    criterion: (logits, { labels }, { scale, smoothing = 0 }) =>
      crossEntropy(logits, labels!, { smoothing, reduction: "sum", scaleBy: scale }),
    tokens: {
      hidden: (m, architecture, inputs) =>
        architecture.hidden(decoderScope(m, architecture, inputs), inputs.decoder_input_ids!),
      logits: hiddenLogits,
    },
    loss(m, architecture, inputs, options) {
      const given = { ...inputs, input_ids: inputs.decoder_input_ids! };
      return causalLmLoss(decoderScope(m, architecture, inputs), architecture, given, options);
    },
  };
}

/** The scope of the decoder, with what the encoder makes of the inputs in sight. */
function decoderScope(
  m: ModelScope,
  { encoder }: Architecture,
  { input_ids, attention_mask: mask }: Inputs,
): ModelScope {
  const { N, length: T } = m.sequence;
  const B = N / T, reading = fullSequence({ B, T: input_ids.shape[0]! / B, mask, causal: false });
  const states = encoder!.states({ ...m, sequence: reading }, input_ids);
  return { ...m, sequence: { ...m.sequence, source: fullSource({ states, B, T, mask }) } };
}

/** Columns of the labels; one, for the start token, where there are none. */
function targetLength({ labels }: Batch): number {
  const first = labels?.[0];
  return typeof first === "object" ? Math.max(1, first.length) : 1;
}

/** What the decoder reads to predict labels i32[B·T]. */
function shiftedRight(labels: Int32Array, T: number, { startId, padId }: Encoder): Uint32Array<ArrayBuffer> {
  return Uint32Array.from(labels, (_, n) => {
    if (n % T === 0) return startId;
    return labels[n - 1] === IGNORE ? padId : labels[n - 1]!;
  });
}
