// The maths that references of models share: float64 and plain loops, one row of tokens at a time.

/** A model and, where it has one, its LoRA factors under PEFT's names. */
export interface ReferenceModel {
  // deno-lint-ignore no-explicit-any
  readonly config: any;
  readonly weights: ReadonlyMap<string, ArrayLike<number>>;
  readonly adapter?: { readonly tensors: ReadonlyMap<string, ArrayLike<number>>; readonly scale: number };
}

/** x[T, D]. */
export type Rows = number[][];

/** Row `id` of a table. */
export const lookUp = (table: ArrayLike<number>, D: number) => (id: number) =>
  Array.from({ length: D }, (_, i) => table[id * D + i]!);

/** x + y. */
export const plus = (x: Rows, y: Rows): Rows => x.map((row, t) => row.map((v, i) => v + y[t]![i]!));

/** x[T, In]·Wᵀ + bias + scale·(x·Aᵀ)·Bᵀ; W is [Out, In], or [In, Out] when transposed. */
export function linear({ weights, adapter }: ReferenceModel, path: string, x: Rows, transposed = false): Rows {
  const w = weights.get(`${path}.weight`)!, bias = weights.get(`${path}.bias`);
  const In = x[0]!.length, Out = w.length / In;
  const a = adapter?.tensors.get(`base_model.model.${path}.lora_A.weight`);
  const b = adapter?.tensors.get(`base_model.model.${path}.lora_B.weight`);
  const R = a ? a.length / In : 0;
  return x.map((row) => {
    const low = Array.from({ length: R }, (_, r) => dot(row, a!, r * In));
    return Array.from({ length: Out }, (_, o) => {
      const base = (transposed ? dot(row, w, o, Out) : dot(row, w, o * In)) + (bias?.[o] ?? 0);
      return R > 0 ? base + adapter!.scale * dot(low, b!, o * R) : base;
    });
  });
}

/** Softmax of a row of scores. */
export function softmax(scores: readonly number[]): number[] {
  const most = Math.max(...scores), terms = scores.map((x) => Math.exp(x - most));
  const sum = terms.reduce((a, x) => a + x, 0);
  return terms.map((term) => term / sum);
}

/** −log softmax(z)[label]. */
export function crossEntropy(z: readonly number[], label: number): number {
  const most = Math.max(...z);
  return most + Math.log(z.reduce((a, x) => a + Math.exp(x - most), 0)) - z[label]!;
}

/** Layer norm of every row with the weights `name`. */
export function layerNorm({ weights }: Pick<ReferenceModel, "weights">, x: Rows, name: string, eps: number): Rows {
  const w = weights.get(`${name}.weight`)!, b = weights.get(`${name}.bias`)!;
  return x.map((row) => {
    const mean = row.reduce((a, v) => a + v, 0) / row.length;
    const scale = 1 / Math.sqrt(row.reduce((a, v) => a + (v - mean) ** 2, 0) / row.length + eps);
    return row.map((v, i) => (v - mean) * scale * w[i]! + b[i]!);
  });
}

/** Root-mean-square norm of every row with the weight `name`, which Gemma stores as an `offset` from one. */
export function rmsNorm(
  { weights }: Pick<ReferenceModel, "weights">,
  x: Rows,
  name: string,
  { eps, offset = false }: { readonly eps: number; readonly offset?: boolean },
): Rows {
  const w = weights.get(`${name}.weight`)!;
  return x.map((row) => {
    const scale = 1 / Math.sqrt(row.reduce((a, v) => a + v * v, 0) / row.length + eps);
    return row.map((v, i) => v * scale * (offset ? 1 + w[i]! : w[i]!));
  });
}

/** Σ row[i]·table[start + i·stride]. */
export function dot(row: readonly number[], table: ArrayLike<number>, start = 0, stride = 1): number {
  let sum = 0;
  for (let i = 0, at = start; i < row.length; i++, at += stride) sum += row[i]! * table[at]!;
  return sum;
}

/** The logits: h·Wᵀ, W the embedding where there is no other. */
export function head(model: ReferenceModel, h: Rows, embedding: string): Rows {
  if (model.weights.has("lm_head.weight")) return linear(model, "lm_head", h);
  const w = model.weights.get(embedding)!, D = h[0]!.length;
  return h.map((row) => Array.from({ length: w.length / D }, (_, o) => dot(row, w, o * D)));
}

/** Heads of an attention, and what bends and bounds their scores. */
export interface Heads {
  readonly H: number;
  readonly K: number;
  readonly E: number;
  readonly scale: number;
  /** A row sees so many positions, its own included. */
  readonly window?: number | null;
  readonly softcap?: number | null;
}

/** Causal attention; a row that may look at nothing is zero. */
export function attention({ q, k, v }: Record<"q" | "k" | "v", Rows>, s: Heads, visible: readonly number[]): Rows {
  return q.map((row, t) => {
    const seen = visible.flatMap((m, j) => m === 1 && j <= t && j > t - (s.window ?? Infinity) ? [j] : []);
    return Array.from({ length: s.H }, (_, h) => {
      const at = Math.floor(h / (s.H / s.K)) * s.E;
      const one = row.slice(h * s.E, (h + 1) * s.E);
      const shares = softmax(seen.map((j) => bent(s.scale * dot(one, k[j]!, at), s.softcap)));
      return one.map((_, e) => seen.reduce((a, j, n) => a + shares[n]! * v[j]![at + e]!, 0));
    }).flat();
  });
}

/** erf by its Taylor series below 3 and its continued fraction above. */
export function erf(x: number): number {
  if (x < 0) return -erf(-x);
  if (x > 3) {
    let fraction = 0;
    for (let n = 60; n > 0; n--) fraction = n / 2 / (x + fraction);
    return 1 - Math.exp(-x * x) / Math.sqrt(Math.PI) / (x + fraction);
  }
  let term = x, sum = x;
  for (let n = 1; n < 80; n++) {
    term *= -x * x / n;
    sum += term / (2 * n + 1);
  }
  return 2 / Math.sqrt(Math.PI) * sum;
}

/** cap · tanh(x / cap), or x without a cap. */
export const bent = (x: number, cap?: number | null): number => cap ? cap * Math.tanh(x / cap) : x;

/** Activations by transformers' names. */
export const ACTIVATIONS: Readonly<Record<string, (x: number) => number>> = {
  relu: (x) => Math.max(0, x),
  silu: (x) => x / (1 + Math.exp(-x)),
  gelu: (x) => x / 2 * (1 + erf(x / Math.SQRT2)),
  gelu_pytorch_tanh: (x) => x / 2 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  gelu_new: (x) => x / 2 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
};
