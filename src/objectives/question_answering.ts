// The first and the last token of an answer, as transformers' *ForQuestionAnswering:
//
//   loss = ½·(mean −log softmax over t(z[b, t, 0])[start[b]] + mean −log softmax over t(z[b, t, 1])[end[b]])
//
// Answers at T or behind do not count. A batch counts as its rows, so that a window of batches is a mean over them.
import { checkBatch } from "../data/batch.ts";
import { IGNORE } from "../data/labels.ts";
import { columnAsRows } from "../ops/columns.ts";
import { crossEntropy } from "../ops/cross_entropy.ts";
import { add, scale as times } from "../ops/elementwise.ts";
import { arrangeTokens, words } from "./arrange.ts";
import { headOf, hiddenStates } from "./head.ts";
import { refuseSmoothing } from "./smoothing.ts";
import type { Task } from "./task.ts";

/** Where in a text the answer of a question stands. */
export function questionAnswering(): Task {
  return {
    name: "question-answering",
    taskType: "QUESTION_ANS",
    trains: ["qa_outputs"],
    classes: 2,
    arrange(batch, architecture, options) {
      const { V: vocabSize, positions, tokenTypes = 1 } = architecture;
      checkBatch(batch, { vocabSize, positions, tokenTypes, labels: { of: "spans" } });
      const { B, T, columns, inputs } = arrangeTokens(batch, architecture, options);
      const places = (given: readonly number[] | undefined) =>
        Int32Array.from({ length: B }, (_, b) => given && given[b]! < columns ? given[b]! : IGNORE);
      const start = places(batch.start_positions), end = places(batch.end_positions);
      const spans = {
        start_positions: words([B], start),
        end_positions: words([B], end),
        columns: words([2], Uint32Array.of(options?.prefix ?? 0, columns)),
      };
      const none = start.every((at) => at === IGNORE) && end.every((at) => at === IGNORE);
      return { B, T, inputs: { ...inputs, ...spans }, items: none ? 0 : B };
    },
    specimen: ({ B, T }) => ({ input_ids: Array.from({ length: B }, () => new Array(T).fill(0)) }),
    logits: (m, architecture, inputs) =>
      headOf(architecture, "question-answering").logits(m, hiddenStates(m, architecture, inputs), 2),
    shape: ({ B, T }) => [B, T, 2],
    criterion(logits, { start_positions, end_positions, columns }, { scale, smoothing = 0 }) {
      refuseSmoothing(smoothing, "answers");
      const [B] = start_positions!.shape, T = logits.shape[0]! / B!;
      const half = (column: number, places: typeof start_positions) => {
        const rows = columnAsRows(logits, columns!, { column, T });
        return times(crossEntropy(rows, places!, { reduction: "mean", scaleBy: scale }), B! / 2);
      };
      return add(half(0, start_positions), half(1, end_positions));
    },
  };
}
