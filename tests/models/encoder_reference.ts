// BERT, RoBERTa and DistilBERT once more, in float64 and plain loops, written from transformers' sources, with the heads
// and losses of their tasks. One row at a time; x[T, D] is an array of rows. Weights of a trained head are looked up in
// the adapter first, as PEFT's modules_to_save.
import {
  ACTIVATIONS,
  dot,
  layerNorm,
  linear,
  lookUp,
  plus,
  type ReferenceModel,
  type Rows,
  softmax,
} from "./reference_maths.ts";

/** Names of one family. */
interface Names {
  readonly embeddings: string;
  readonly layer: (i: number) => string;
  readonly q: string;
  readonly k: string;
  readonly v: string;
  readonly o: string;
  readonly norm1: string;
  readonly up: string;
  readonly down: string;
  readonly norm2: string;
}

const bertNames = (root: string): Names => ({
  embeddings: `${root}.embeddings`,
  layer: (i) => `${root}.encoder.layer.${i}`,
  q: "attention.self.query",
  k: "attention.self.key",
  v: "attention.self.value",
  o: "attention.output.dense",
  norm1: "attention.output.LayerNorm",
  up: "intermediate.dense",
  down: "output.dense",
  norm2: "output.LayerNorm",
});

const distilNames: Names = {
  embeddings: "distilbert.embeddings",
  layer: (i) => `distilbert.transformer.layer.${i}`,
  q: "attention.q_lin",
  k: "attention.k_lin",
  v: "attention.v_lin",
  o: "attention.out_lin",
  norm1: "sa_layer_norm",
  up: "ffn.lin1",
  down: "ffn.lin2",
  norm2: "output_layer_norm",
};

/** One row of a batch. */
export interface EncoderRow {
  readonly ids: readonly number[];
  readonly mask?: readonly number[];
  readonly types?: readonly number[];
}

/** The model with the weights that its adapter trains in full in their places. */
function withTrained({ weights, adapter, ...rest }: ReferenceModel): ReferenceModel {
  const trained = [...adapter?.tensors ?? []].filter(([name]) => !name.includes("lora_"));
  const named = trained.map(([name, data]) => [name.replace(/^base_model\.(?:model\.)?/, ""), data] as const);
  return { ...rest, ...(adapter ? { adapter } : {}), weights: new Map([...weights, ...named]) };
}

function hidden(model: ReferenceModel, { ids, mask, types }: EncoderRow): Rows {
  const { config: c, weights } = model;
  const root = c.model_type;
  const distil = root === "distilbert";
  const names = distil ? distilNames : bertNames(root);
  const D = c.hidden_size ?? c.dim, H = c.num_attention_heads ?? c.n_heads, E = D / H;
  const eps = c.layer_norm_eps ?? 1e-12;
  const norm = (x: Rows, name: string) => layerNorm(model, x, name, eps);
  const table = (name: string) => lookUp(weights.get(`${names.embeddings}.${name}.weight`)!, D);
  const words = table("word_embeddings"), places = table("position_embeddings");
  // Keys and values of prefix tuning: [P, layers, key or value, D]. The tokens stand behind them.
  const prefix = model.adapter?.tensors.get("prompt_embeddings");
  const layers = c.num_hidden_layers ?? c.n_layers, P = prefix ? prefix.length / (2 * layers * D) : 0;
  const inFront = (i: number, part: 0 | 1): Rows =>
    Array.from(
      { length: P },
      (_, p) => Array.from({ length: D }, (_, d) => prefix![((p * layers + i) * 2 + part) * D + d]!),
    );
  let real = P;
  let x = ids.map((id, t) => {
    const at = root === "roberta" ? (id === c.pad_token_id ? id : c.pad_token_id + ++real) : P + t;
    return words(id).map((v, i) => v + places(at)[i]!);
  });
  if (!distil) {
    const sentence = table("token_type_embeddings");
    x = x.map((row, t) => row.map((v, i) => v + sentence(types?.[t] ?? 0)[i]!));
  }
  x = norm(x, `${names.embeddings}.LayerNorm`);
  const seen = [...Array(P).keys(), ...ids.flatMap((_, t) => (mask?.[t] ?? 1) === 1 ? [P + t] : [])];
  for (let i = 0; i < layers; i++) {
    const path = names.layer(i);
    const map = (name: string, u: Rows) => linear(model, `${path}.${name}`, u);
    const q = map(names.q, x);
    const k = [...inFront(i, 0), ...map(names.k, x)], v = [...inFront(i, 1), ...map(names.v, x)];
    const o = q.map((row) =>
      Array.from({ length: H }, (_, h) => {
        const one = row.slice(h * E, (h + 1) * E);
        const shares = softmax(seen.map((j) => dot(one, k[j]!, h * E) / Math.sqrt(E)));
        return one.map((_, e) => seen.reduce((a, j, n) => a + shares[n]! * v[j]![h * E + e]!, 0));
      }).flat()
    );
    const h = norm(plus(map(names.o, o), x), `${path}.${names.norm1}`);
    const u = map(names.up, h).map((row) => row.map(ACTIVATIONS.gelu!));
    x = norm(plus(map(names.down, u), h), `${path}.${names.norm2}`);
  }
  return x;
}

/** Logits [1][L] of the sequence. */
export function sequenceLogits(given: ReferenceModel, row: EncoderRow): Rows {
  const model = withTrained(given);
  const first = hidden(model, row).slice(0, 1);
  const map = (name: string, x: Rows) => linear(model, name, x);
  const bend = (x: Rows, f: (v: number) => number) => x.map((r) => r.map(f));
  switch (model.config.model_type) {
    case "bert":
      return map("classifier", bend(map("bert.pooler.dense", first), Math.tanh));
    case "roberta":
      return map("classifier.out_proj", bend(map("classifier.dense", first), Math.tanh));
    default:
      return map("classifier", bend(map("pre_classifier", first), (v) => Math.max(0, v)));
  }
}

/** Logits [T][L] of each token: `classifier`, or `qa_outputs`. */
export function tokenLogits(given: ReferenceModel, row: EncoderRow, head: string): Rows {
  const model = withTrained(given);
  return linear(model, head, hidden(model, row));
}

/** Logits [T][V] over the vocabulary, with the table of token vectors. */
export function vocabularyLogits(model: ReferenceModel, row: EncoderRow): Rows {
  const { config: { model_type: root, layer_norm_eps = 1e-12 }, weights } = model;
  const [dense, norm, bias] = {
    bert: ["cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.bias"],
    roberta: ["lm_head.dense", "lm_head.layer_norm", "lm_head.bias"],
    distilbert: ["vocab_transform", "vocab_layer_norm", "vocab_projector.bias"],
  }[root as "bert" | "roberta" | "distilbert"] as [string, string, string];
  const h = linear(model, dense, hidden(model, row)).map((r) => r.map(ACTIVATIONS.gelu!));
  const table = weights.get(`${root}.embeddings.word_embeddings.weight`)!, b = weights.get(bias)!;
  return layerNorm(model, h, norm, layer_norm_eps).map((r) =>
    Array.from(b, (value, v) => r.reduce((sum, x, i) => sum + x * table[v * r.length + i]!, value))
  );
}

/** Mean binary cross-entropy of logits and 0 or 1. */
export function binaryCrossEntropy(z: readonly number[], t: readonly number[]): number {
  return z.reduce(
    (sum, x, i) => sum - t[i]! * Math.log(1 / (1 + Math.exp(-x))) - (1 - t[i]!) * Math.log(1 / (1 + Math.exp(x))),
    0,
  ) / z.length;
}
