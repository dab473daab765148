// Llama, Qwen3 and GPT-2 once more, in float64 and plain loops, written from their papers and transformers' sources: what the
// programs are compared with. One row at a time; x[T, D] is an array of rows.

/** A model and, where it has one, its LoRA factors under PEFT's names. */
export interface ReferenceModel {
  // deno-lint-ignore no-explicit-any
  readonly config: any;
  readonly weights: ReadonlyMap<string, ArrayLike<number>>;
  readonly adapter?: { readonly tensors: ReadonlyMap<string, ArrayLike<number>>; readonly scale: number };
}

/** x[T, D]. */
export type Rows = number[][];

/** Logits [T][V] of one row of tokens; `mask` has a 0 where a token is padding. */
export function referenceLogits(model: ReferenceModel, ids: readonly number[], mask?: readonly number[]): Rows {
  const visible = mask ?? ids.map(() => 1);
  return model.config.model_type === "gpt2" ? gpt2(model, ids, visible) : llama(model, ids, visible);
}

/** Mean loss over the labels of a batch. */
export function referenceLoss(model: ReferenceModel, ids: readonly number[][], labels: readonly number[][]): number {
  let sum = 0, count = 0;
  ids.forEach((row, b) => {
    const logits = referenceLogits(model, row);
    for (let t = 1; t < row.length; t++) {
      const label = labels[b]![t]!;
      if (label === -100) continue;
      const scores = logits[t - 1]!;
      const most = Math.max(...scores);
      sum += most + Math.log(scores.reduce((a, x) => a + Math.exp(x - most), 0)) - scores[label]!;
      count++;
    }
  });
  return sum / count;
}

function llama(model: ReferenceModel, ids: readonly number[], visible: readonly number[]): Rows {
  const { config: c, weights } = model;
  const H = c.num_attention_heads, K = c.num_key_value_heads ?? H, E = c.head_dim ?? c.hidden_size / H;
  const rows = lookUp(weights.get("model.embed_tokens.weight")!, c.hidden_size);
  const norm = (x: Rows, name: string) =>
    x.map((row) => {
      const scale = 1 / Math.sqrt(row.reduce((a, v) => a + v * v, 0) / row.length + c.rms_norm_eps);
      return row.map((v, i) => v * scale * weights.get(`${name}.weight`)![i]!);
    });
  const byHeads = (x: Rows, name: string) =>
    x.map((row) => norm(Array.from({ length: row.length / E }, (_, h) => row.slice(h * E, (h + 1) * E)), name).flat());
  let x = ids.map(rows);
  for (let i = 0; i < c.num_hidden_layers; i++) {
    const path = `model.layers.${i}`;
    const map = (name: string, u: Rows) => linear(model, `${path}.${name}`, u);
    const u = norm(x, `${path}.input_layernorm`);
    const turned = (name: "q" | "k") => {
      const x = map(`self_attn.${name}_proj`, u);
      return rotate(c.model_type === "qwen3" ? byHeads(x, `${path}.self_attn.${name}_norm`) : x, E, c);
    };
    const q = turned("q"), k = turned("k");
    const o = attention({ q, k, v: map("self_attn.v_proj", u) }, { H, K, E, scale: 1 / Math.sqrt(E) }, visible);
    x = plus(x, map("self_attn.o_proj", o));
    const h = norm(x, `${path}.post_attention_layernorm`);
    const gate = map("mlp.gate_proj", h), up = map("mlp.up_proj", h);
    x = plus(x, map("mlp.down_proj", gate.map((row, t) => row.map((g, j) => g / (1 + Math.exp(-g)) * up[t]![j]!))));
  }
  return head(model, norm(x, "model.norm"), "model.embed_tokens.weight");
}

function gpt2(model: ReferenceModel, ids: readonly number[], visible: readonly number[]): Rows {
  const { config: c, weights } = model;
  const D = c.n_embd, E = D / c.n_head;
  const norm = (x: Rows, name: string) =>
    x.map((row) => {
      const mean = row.reduce((a, v) => a + v, 0) / D;
      const scale = 1 / Math.sqrt(row.reduce((a, v) => a + (v - mean) ** 2, 0) / D + c.layer_norm_epsilon);
      const w = weights.get(`${name}.weight`)!, b = weights.get(`${name}.bias`)!;
      return row.map((v, i) => (v - mean) * scale * w[i]! + b[i]!);
    });
  const act = c.activation_function === "relu"
    ? (v: number) => Math.max(0, v)
    : c.activation_function === "gelu"
    ? (v: number) => v / 2 * (1 + erf(v / Math.SQRT2))
    : (v: number) => v / 2 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3)));
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

/** Σ row[i]·table[start + i·stride]. */
export function dot(row: readonly number[], table: ArrayLike<number>, start = 0, stride = 1): number {
  let sum = 0;
  for (let i = 0, at = start; i < row.length; i++, at += stride) sum += row[i]! * table[at]!;
  return sum;
}

function head(model: ReferenceModel, h: Rows, embedding: string): Rows {
  const name = model.weights.has("lm_head.weight") ? "lm_head.weight" : embedding;
  const w = model.weights.get(name)!, D = h[0]!.length;
  return h.map((row) => Array.from({ length: w.length / D }, (_, o) => dot(row, w, o * D)));
}

interface Heads {
  readonly H: number;
  readonly K: number;
  readonly E: number;
  readonly scale: number;
}

/** Causal attention; a row that may look at nothing is zero. */
function attention({ q, k, v }: Record<"q" | "k" | "v", Rows>, s: Heads, visible: readonly number[]): Rows {
  return q.map((row, t) => {
    const seen = visible.flatMap((m, j) => m === 1 && j <= t ? [j] : []);
    return Array.from({ length: s.H }, (_, h) => {
      const at = Math.floor(h / (s.H / s.K)) * s.E;
      const one = row.slice(h * s.E, (h + 1) * s.E);
      const scores = seen.map((j) => s.scale * dot(one, k[j]!, at));
      const most = Math.max(...scores);
      const weights = scores.map((x) => Math.exp(x - most));
      const sum = weights.reduce((a, x) => a + x, 0);
      return one.map((_, e) => seen.reduce((a, j, n) => a + weights[n]! / sum * v[j]![at + e]!, 0));
    }).flat();
  });
}

/** Rotary embedding by halves: pairs (e, e + E/2) of every head turn by t·f[e]. */
// deno-lint-ignore no-explicit-any
function rotate(x: Rows, E: number, c: any): Rows {
  const half = E / 2, rule = c.rope_parameters ?? c.rope_scaling ?? {};
  const theta = rule.rope_theta ?? c.rope_theta ?? 10000;
  return x.map((row, t) =>
    row.map((v, i) => {
      const e = i % E, low = e < half;
      const angle = t * frequency(theta ** (-2 * (low ? e : e - half) / E), rule);
      return v * Math.cos(angle) + (low ? -row[i + half]! : row[i - half]!) * Math.sin(angle);
    })
  );
}

// deno-lint-ignore no-explicit-any
function frequency(f: number, rule: any): number {
  if (rule.rope_type === "linear") return f / rule.factor;
  if (rule.rope_type !== "llama3") return f;
  const wave = 2 * Math.PI / f, L = rule.original_max_position_embeddings;
  if (wave < L / rule.high_freq_factor) return f;
  if (wave > L / rule.low_freq_factor) return f / rule.factor;
  const smooth = (L / wave - rule.low_freq_factor) / (rule.high_freq_factor - rule.low_freq_factor);
  return (1 - smooth) * f / rule.factor + smooth * f;
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
