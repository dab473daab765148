// Heads that several families share: linear maps from hidden states to classes, by transformers' names.
import type { Value } from "../graph/graph.ts";
import { linear } from "../nn/linear.ts";
import { type ModelScope, weight, within } from "../nn/scope.ts";
import { bias } from "../ops/bias.ts";
import { detach } from "../ops/detach.ts";
import type { Head } from "./architecture.ts";

/** A linear map called `name` and which tokens it reads. */
export interface LinearHead extends Pick<Head, "reads"> {
  readonly name: string;
  readonly bias: boolean;
}

/** A head that is one linear map. */
export function linearHead({ name, bias, reads }: LinearHead): Head {
  return { modules: [name], reads, logits: (m, hidden, classes) => classify(m, name, hidden, { classes, bias }) };
}

/** x[N, D] → [N, classes] with the linear map called `name`. */
export function classify(
  m: ModelScope,
  name: string,
  x: Value,
  { classes, bias = true }: { readonly classes: number; readonly bias?: boolean },
): Value {
  return linear(m, name, x, { In: x.shape[1]!, Out: classes, bias });
}

/** Token classification and question answering of encoders and of GPT-2. */
export const TOKEN_HEADS: { readonly [K in "token-classification" | "question-answering"]: Head } = {
  "token-classification": linearHead({ name: "classifier", bias: true, reads: "each" }),
  "question-answering": { modules: ["qa_outputs"], reads: "each", logits: answerLogits },
};

/**
 * x[N, D] → [N, 2]: how well each token begins and ends the answer. A softmax over the tokens does not change when all of
 * them get the same bias: its gradient is zero, and rounding must not be taken for one (Adam would follow it).
 */
function answerLogits(m: ModelScope, x: Value, classes: number): Value {
  const z = classify(m, "qa_outputs", x, { classes, bias: false });
  return within(m, "qa_outputs", () => bias(z, detach(weight(m, "bias", [classes], { kind: "zeros" }))));
}
