// T5 once more, in float64 and plain loops, written from transformers' modeling_t5.py: buckets by its formula, one pair of
// sequences at a time. x[T, D] is an array of rows.
import {
  ACTIVATIONS,
  crossEntropy,
  dot,
  linear,
  lookUp,
  plus,
  type ReferenceModel,
  rmsNorm,
  type Rows,
  softmax,
} from "./reference_maths.ts";

/** A source and what the decoder reads. */
export interface Pair {
  readonly source: readonly number[];
  readonly mask: readonly number[];
  readonly target: readonly number[];
}

/** Logits [T][V] of the decoder. */
export function t5Logits(model: ReferenceModel, { source, mask, target }: Pair): Rows {
  const { config: c, weights } = model;
  const seen = source.flatMap((_, s) => mask[s] === 1 ? [s] : []);
  const states = half(model, "encoder", source, { keys: () => seen });
  const last = half(model, "decoder", target, {
    keys: (t) => target.slice(0, t + 1).map((_, s) => s),
    cross: { states, seen },
  });
  const tied = c.tie_word_embeddings !== false, w = weights.get(tied ? "shared.weight" : "lm_head.weight")!;
  const D = c.d_model, factor = (c.scale_decoder_outputs ?? tied) ? D ** -0.5 : 1;
  return last.map((row) => Array.from({ length: w.length / D }, (_, v) => factor * dot(row, w, v * D)));
}

/** Mean loss over the labels; -100 counts for nothing, and the decoder reads padding in its place. */
export function t5Loss(
  model: ReferenceModel,
  rows: readonly (Omit<Pair, "target"> & { readonly labels: readonly number[] })[],
): number {
  const start = model.config.decoder_start_token_id ?? 0, pad = model.config.pad_token_id ?? 0;
  let sum = 0, count = 0;
  for (const { labels, ...row } of rows) {
    const target = [start, ...labels.slice(0, -1).map((label) => label === -100 ? pad : label)];
    const logits = t5Logits(model, { ...row, target });
    for (const [t, label] of labels.entries()) {
      if (label === -100) continue;
      sum += crossEntropy(logits[t]!, label);
      count++;
    }
  }
  return sum / count;
}

interface Sight {
  /** Keys that row t sees. */
  readonly keys: (t: number) => readonly number[];
  readonly cross?: { readonly states: Rows; readonly seen: readonly number[] };
}

function half(model: ReferenceModel, side: string, ids: readonly number[], { keys, cross }: Sight): Rows {
  const { config: c, weights } = model;
  const H = c.num_heads;
  const table = weights.get(`${side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight`)!;
  const bias = (h: number, t: number, s: number) => table[bucket(s - t, side === "encoder", c) * H + h]!;
  const layers = side === "encoder" ? c.num_layers : c.num_decoder_layers ?? c.num_layers;
  let x = ids.map(lookUp(weights.get("shared.weight")!, c.d_model));
  for (let i = 0; i < layers; i++) {
    const path = (n: number) => `${side}.block.${i}.layer.${n}`;
    const input = (n: number) => norm(model, x, `${path(n)}.layer_norm`);
    const self = input(0);
    x = plus(x, attention(model, `${path(0)}.SelfAttention`, { rows: self, states: self, keys, bias }));
    if (cross) {
      const sight = { rows: input(1), states: cross.states, keys: () => cross.seen, bias: () => 0 };
      x = plus(x, attention(model, `${path(1)}.EncDecAttention`, sight));
    }
    const n = cross ? 2 : 1;
    x = plus(x, feedForward(model, `${path(n)}.DenseReluDense`, input(n)));
  }
  return norm(model, x, `${side}.final_layer_norm`);
}

function attention(
  model: ReferenceModel,
  path: string,
  { rows, states, keys, bias }: {
    readonly rows: Rows;
    readonly states: Rows;
    readonly keys: Sight["keys"];
    readonly bias: (h: number, t: number, s: number) => number;
  },
): Rows {
  const { num_heads: H, d_kv: E } = model.config;
  const q = linear(model, `${path}.q`, rows), k = linear(model, `${path}.k`, states);
  const v = linear(model, `${path}.v`, states);
  const mixed = q.map((row, t) =>
    Array.from({ length: H }, (_, h) => {
      const seen = keys(t), one = row.slice(h * E, (h + 1) * E);
      const shares = softmax(seen.map((s) => dot(one, k[s]!, h * E) + bias(h, t, s)));
      return one.map((_, e) => seen.reduce((a, s, n) => a + shares[n]! * v[s]![h * E + e]!, 0));
    }).flat()
  );
  return linear(model, `${path}.o`, mixed);
}

function feedForward(model: ReferenceModel, path: string, x: Rows): Rows {
  const form: string = model.config.feed_forward_proj ?? "relu";
  const gated = form.startsWith("gated-");
  const bend = ACTIVATIONS[gated ? "gelu_new" : form]!;
  const h = linear(model, `${path}.${gated ? "wi_0" : "wi"}`, x).map((row) => row.map(bend));
  if (!gated) return linear(model, `${path}.wo`, h);
  const up = linear(model, `${path}.wi_1`, x);
  return linear(model, `${path}.wo`, h.map((row, t) => row.map((v, i) => v * up[t]![i]!)));
}

const norm = (model: ReferenceModel, x: Rows, name: string): Rows =>
  rmsNorm(model, x, name, { eps: model.config.layer_norm_epsilon });

/** `_relative_position_bucket` of transformers, in float64. */
// deno-lint-ignore no-explicit-any
function bucket(relative: number, both: boolean, c: any): number {
  const count = both ? Math.floor(c.relative_attention_num_buckets / 2) : c.relative_attention_num_buckets;
  const offset = both && relative > 0 ? count : 0;
  const distance = both ? Math.abs(relative) : Math.max(0, -relative);
  const exact = Math.floor(count / 2);
  if (distance < exact) return offset + distance;
  const share = Math.log(distance / exact) / Math.log(c.relative_attention_max_distance / exact);
  // The small number puts distances on a border where exact arithmetic has them.
  return offset + Math.min(count - 1, exact + Math.floor(share * (count - exact) + 1e-9));
}
