// Causal language models once more, in float64 and plain loops, written from their papers and transformers' sources: what
// the programs are compared with. One row at a time; x[T, D] is an array of rows.
import { decoderLogits } from "./decoder_reference.ts";
import {
  ACTIVATIONS,
  attention,
  crossEntropy,
  head,
  layerNorm,
  linear,
  lookUp,
  plus,
  type ReferenceModel,
  type Rows,
} from "./reference_maths.ts";

export type { ReferenceModel } from "./reference_maths.ts";

/** Logits [T][V] of one row of tokens; `mask` has a 0 where a token is padding. */
export function referenceLogits(model: ReferenceModel, ids: readonly number[], mask?: readonly number[]): Rows {
  const visible = mask ?? ids.map(() => 1);
  return model.config.model_type === "gpt2" ? gpt2(model, ids, visible) : decoderLogits(model, ids, visible);
}

/** Mean loss over the labels of a batch. */
export function referenceLoss(model: ReferenceModel, ids: readonly number[][], labels: readonly number[][]): number {
  let sum = 0, count = 0;
  ids.forEach((row, b) => {
    const logits = referenceLogits(model, row);
    for (let t = 1; t < row.length; t++) {
      const label = labels[b]![t]!;
      if (label === -100) continue;
      sum += crossEntropy(logits[t - 1]!, label);
      count++;
    }
  });
  return sum / count;
}

function gpt2(model: ReferenceModel, ids: readonly number[], visible: readonly number[]): Rows {
  const { config: c, weights } = model;
  const D = c.n_embd, E = D / c.n_head;
  const norm = (x: Rows, name: string) => layerNorm(model, x, name, c.layer_norm_epsilon);
  const act = ACTIVATIONS[c.activation_function]!;
  const tokens = lookUp(weights.get("transformer.wte.weight")!, D);
  const positions = lookUp(weights.get("transformer.wpe.weight")!, D);
  let x = ids.map((id, t) => tokens(id).map((v, i) => v + positions(t)[i]!));
  for (let i = 0; i < c.n_layer; i++) {
    const path = `transformer.h.${i}`;
    const map = (name: string, u: Rows) => linear(model, `${path}.${name}`, u, true);
    const qkv = map("attn.c_attn", norm(x, `${path}.ln_1`));
    const part = (n: number) => qkv.map((row) => row.slice(n * D, (n + 1) * D));
    const scale = (c.scale_attn_weights === false ? 1 : 1 / Math.sqrt(E)) /
      (c.scale_attn_by_inverse_layer_idx ? i + 1 : 1);
    const heads = { H: c.n_head, K: c.n_head, E, scale };
    x = plus(x, map("attn.c_proj", attention({ q: part(0), k: part(1), v: part(2) }, heads, visible)));
    x = plus(x, map("mlp.c_proj", map("mlp.c_fc", norm(x, `${path}.ln_2`)).map((row) => row.map(act))));
  }
  return head(model, norm(x, "transformer.ln_f"), "transformer.wte.weight");
}
