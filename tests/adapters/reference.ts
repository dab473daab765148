// Llama and GPT-2 in float64 and plain loops, with places where a method may act: what adapted programs are compared with.
// One row of tokens at a time; x[T, D] is an array of rows.
import {
  ACTIVATIONS,
  crossEntropy,
  dot,
  layerNorm,
  plus,
  rmsNorm,
  type Rows,
  softmax,
} from "../models/reference_maths.ts";

/** Tensors by name. */
export type Tensors = ReadonlyMap<string, ArrayLike<number>>;

/** A linear map without its method. */
export interface ReferenceMap {
  readonly path: string;
  readonly In: number;
  readonly Out: number;
  /** W[o, i], however it is stored. */
  readonly weight: (o: number, i: number) => number;
  readonly bias: ArrayLike<number> | undefined;
  /** x·Wᵀ, without the bias. */
  readonly product: (x: Rows) => Rows;
}

/** What a method does; a model without one has none of these. */
export interface Acts {
  /** x·Wᵀ + bias, adapted. */
  readonly map?: (map: ReferenceMap, x: Rows) => Rows;
  /** Token vectors, with those of positions in front. */
  readonly vectors?: (ids: readonly number[], row: (id: number) => number[]) => Rows;
  /** Rows in front that `vectors` gives. */
  readonly prompt?: number;
  /** Keys and values in front of a layer, and how many. */
  readonly prefix?: (layer: number) => { readonly k: Rows; readonly v: Rows };
  readonly prefixes?: number;
  /** What leaves a sublayer whose input was x and output h. */
  readonly branch?: (kind: "attention" | "mlp", path: string, h: Rows, x: Rows) => Rows;
  /** W[V, D] of the output, where it is not the base's. */
  readonly head?: (weight: ArrayLike<number>) => ArrayLike<number>;
}

/** A model with a method. */
export interface Adapted {
  // deno-lint-ignore no-explicit-any
  readonly config: any;
  readonly weights: Tensors;
  readonly acts: Acts;
}

/** Mean loss over the labels of rows without padding, each predicted by the position before. */
export function adaptedLoss(model: Adapted, ids: readonly number[][]): number {
  let sum = 0, count = 0;
  const P = model.acts.prompt ?? 0;
  for (const row of ids) {
    const logits = adaptedLogits(model, row);
    row.forEach((label, t) => {
      const scores = logits[P + t - 1];
      if (!scores) return;
      sum += crossEntropy(scores, label);
      count++;
    });
  }
  return sum / count;
}

/** Logits [P + T][V] of one row, those of a prompt first. */
export function adaptedLogits(model: Adapted, ids: readonly number[]): Rows {
  return model.config.model_type === "gpt2" ? gpt2(model, ids) : llama(model, ids);
}

function llama(model: Adapted, ids: readonly number[]): Rows {
  const { config: c, acts } = model;
  const D = c.hidden_size, H = c.num_attention_heads, K = c.num_key_value_heads, E = D / H;
  const norm = (x: Rows, name: string) => rmsNorm(model, x, name, { eps: c.rms_norm_eps });
  const shift = acts.prefixes ?? 0;
  let x = vectors(model, ids, "model.embed_tokens.weight", D);
  for (let i = 0; i < c.num_hidden_layers; i++) {
    const path = `model.layers.${i}`;
    const map = (name: string, u: Rows) => linear(model, `${path}.${name}`, u);
    const u = norm(x, `${path}.input_layernorm`);
    const [q, k] = ["q", "k"].map((name) => rotate(map(`self_attn.${name}_proj`, u), E, shift));
    const o = attention(model, i, { q: q!, k: k!, v: map("self_attn.v_proj", u) }, { H, K, E });
    x = plus(x, ends(model, "attention", `${path}.self_attn`, map("self_attn.o_proj", o), u));
    const w = norm(x, `${path}.post_attention_layernorm`);
    const gate = map("mlp.gate_proj", w), up = map("mlp.up_proj", w);
    const h = map("mlp.down_proj", gate.map((row, t) => row.map((g, j) => g / (1 + Math.exp(-g)) * up[t]![j]!)));
    x = plus(x, ends(model, "mlp", `${path}.mlp`, h, w));
  }
  return head(model, norm(x, "model.norm"), "model.embed_tokens.weight");
}

function gpt2(model: Adapted, ids: readonly number[]): Rows {
  const { config: c, weights, acts } = model;
  const D = c.n_embd, H = c.n_head, E = D / H;
  const norm = (x: Rows, name: string) => layerNorm(model, x, name, c.layer_norm_epsilon);
  const shift = acts.prefixes ?? 0, wpe = weights.get("transformer.wpe.weight")!;
  let x = vectors(model, ids, "transformer.wte.weight", D)
    .map((row, t) => row.map((v, i) => v + wpe[(t + shift) * D + i]!));
  for (let i = 0; i < c.n_layer; i++) {
    const path = `transformer.h.${i}`;
    const map = (name: string, u: Rows) => linear(model, `${path}.${name}`, u, true);
    const u = norm(x, `${path}.ln_1`);
    const qkv = map("attn.c_attn", u);
    const [q, k, v] = [0, 1, 2].map((n) => qkv.map((row) => row.slice(n * D, (n + 1) * D)));
    const o = attention(model, i, { q: q!, k: k!, v: v! }, { H, K: H, E });
    x = plus(x, ends(model, "attention", `${path}.attn`, map("attn.c_proj", o), u));
    const w = norm(x, `${path}.ln_2`);
    const h = map("mlp.c_proj", map("mlp.c_fc", w).map((row) => row.map(ACTIVATIONS.gelu_new!)));
    x = plus(x, ends(model, "mlp", `${path}.mlp`, h, w));
  }
  return head(model, norm(x, "transformer.ln_f"), "transformer.wte.weight");
}

function vectors({ weights, acts }: Adapted, ids: readonly number[], table: string, D: number): Rows {
  const row = (id: number) => Array.from({ length: D }, (_, i) => weights.get(table)![id * D + i]!);
  return acts.vectors?.(ids, row) ?? ids.map(row);
}

function ends({ acts }: Adapted, kind: "attention" | "mlp", path: string, h: Rows, x: Rows): Rows {
  return acts.branch?.(kind, path, h, x) ?? h;
}

function linear({ weights, acts }: Adapted, path: string, x: Rows, transposed = false): Rows {
  const w = weights.get(`${path}.weight`)!, bias = weights.get(`${path}.bias`);
  const In = x[0]!.length, Out = w.length / In;
  const weight = (o: number, i: number) => w[transposed ? i * Out + o : o * In + i]!;
  const product = (rows: Rows) => rows.map((row) => apply(weight, Out, row));
  return acts.map?.({ path, In, Out, weight, bias, product }, x) ?? plusBias(product(x), bias);
}

/** W·row. */
export function apply(weight: (o: number, i: number) => number, Out: number, row: readonly number[]): number[] {
  return Array.from({ length: Out }, (_, o) => row.reduce((sum, v, i) => sum + v * weight(o, i), 0));
}

/** x + bias. */
export const plusBias = (x: Rows, bias: ArrayLike<number> | undefined): Rows =>
  bias ? x.map((row) => row.map((v, i) => v + bias[i]!)) : x;

function head({ weights, acts }: Adapted, h: Rows, embedding: string): Rows {
  const own = weights.get("lm_head.weight") ?? weights.get(embedding)!;
  const w = acts.head?.(own) ?? own, D = h[0]!.length, V = w.length / D;
  const weight = (o: number, i: number) => w[o * D + i]!;
  const product = (x: Rows) => x.map((row) => apply(weight, V, row));
  return acts.map?.({ path: "lm_head", In: D, Out: V, weight, bias: undefined, product }, h) ?? product(h);
}

function attention(
  { acts }: Adapted,
  layer: number,
  { q, k, v }: Record<"q" | "k" | "v", Rows>,
  { H, K, E }: Record<"H" | "K" | "E", number>,
): Rows {
  const first = acts.prefix?.(layer) ?? { k: [], v: [] };
  const keys = [...first.k, ...k], values = [...first.v, ...v], P = first.k.length;
  return q.map((row, t) =>
    Array.from({ length: H }, (_, h) => {
      const at = Math.floor(h / (H / K)) * E;
      const seen = keys.slice(0, P + t + 1);
      const one = row.slice(h * E, (h + 1) * E);
      const shares = softmax(seen.map((key) => dot(one, key, at) / Math.sqrt(E)));
      return Array.from({ length: E }, (_, e) => shares.reduce((a, s, j) => a + s * values[j]![at + e]!, 0));
    }).flat()
  );
}

/** Rotary embedding by halves: pairs (e, e + E/2) of every head turn by (t + shift)·θ^(-2e/E). */
function rotate(x: Rows, E: number, shift: number): Rows {
  const half = E / 2;
  return x.map((row, t) =>
    row.map((v, i) => {
      const e = i % E, low = e < half;
      const angle = (t + shift) * 10000 ** (-2 * (low ? e : e - half) / E);
      return v * Math.cos(angle) + (low ? -row[i + half]! : row[i - half]!) * Math.sin(angle);
    })
  );
}
