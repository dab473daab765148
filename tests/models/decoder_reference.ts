// Decoders of Llama's kin once more, in float64 and plain loops, after transformers' modeling_<type>.py; what a
// configuration leaves out is what configuration_<type>.py assumes.
import {
  ACTIVATIONS,
  attention,
  bent,
  head,
  linear,
  lookUp,
  plus,
  type ReferenceModel,
  rmsNorm,
  type Rows,
} from "./reference_maths.ts";

// deno-lint-ignore no-explicit-any
type Config = any;

const LLAMA = { rms_norm_eps: 1e-6, attention_bias: false, mlp_bias: false, hidden_act: "silu" };
const QWEN = { ...LLAMA, use_sliding_window: false, sliding_window: 4096, max_window_layers: 28 };
const GEMMA = { rms_norm_eps: 1e-6, head_dim: 256, attention_bias: false };

/** Fields that configurations leave out. */
const DEFAULTS: Readonly<Record<string, Config>> = {
  llama: LLAMA,
  mistral: { ...LLAMA, num_key_value_heads: 8, sliding_window: 4096 },
  qwen2: { ...QWEN, num_key_value_heads: 32 },
  qwen3: { ...QWEN, num_key_value_heads: 32, head_dim: 128 },
  gemma: { ...GEMMA, num_key_value_heads: 16, hidden_activation: null },
  gemma2: {
    ...{ ...GEMMA, num_key_value_heads: 4, query_pre_attn_scalar: 256, sliding_window: 4096 },
    ...{ hidden_activation: "gelu_pytorch_tanh", final_logit_softcapping: 30, attn_logit_softcapping: 50 },
  },
  phi3: { ...LLAMA, rms_norm_eps: 1e-5, max_position_embeddings: 4096, original_max_position_embeddings: 4096 },
};

/** The window of layer i, or null. */
function windowOf(c: Config, i: number): number | null {
  const typed = c.layer_types?.[i];
  if (c.model_type === "mistral" || c.model_type === "phi3") return c.sliding_window ?? null;
  if (c.model_type === "gemma2") {
    return (typed ?? ((i + 1) % 2 ? "sliding_attention" : "full_attention")) === "sliding_attention"
      ? c.sliding_window
      : null;
  }
  if (!c.use_sliding_window) return null;
  return (typed === undefined ? i >= c.max_window_layers : typed === "sliding_attention") ? c.sliding_window : null;
}

/** Logits [T][V] of one row of tokens. */
export function decoderLogits(model: ReferenceModel, ids: readonly number[], visible: readonly number[]): Rows {
  const c: Config = { ...DEFAULTS[model.config.model_type], ...model.config };
  const { weights } = model, gemma = c.model_type.startsWith("gemma"), D = c.hidden_size;
  const H = c.num_attention_heads, K = c.num_key_value_heads ?? H, E = c.head_dim ?? D / H;
  const scale = c.model_type === "gemma2" ? c.query_pre_attn_scalar ** -0.5 : E ** -0.5;
  const act = ACTIVATIONS[gemma ? c.hidden_activation ?? "gelu_pytorch_tanh" : c.hidden_act]!;
  const norm = (x: Rows, name: string) => rmsNorm(model, x, name, { eps: c.rms_norm_eps, offset: gemma });
  const cut = (x: Rows, from: number, to: number) => x.map((row) => row.slice(from, to));
  const byHeads = (x: Rows, name: string) =>
    x.map((row) => norm(Array.from({ length: row.length / E }, (_, h) => row.slice(h * E, (h + 1) * E)), name).flat());

  const attend = (path: string, u: Rows, i: number) => {
    const map = (name: string) => linear(model, `${path}.${name}`, u);
    const qkv = c.model_type === "phi3" ? map("qkv_proj") : undefined;
    const q = qkv ? cut(qkv, 0, H * E) : map("q_proj");
    const k = qkv ? cut(qkv, H * E, (H + K) * E) : map("k_proj");
    const v = qkv ? cut(qkv, (H + K) * E, (H + 2 * K) * E) : map("v_proj");
    const normed = (name: string, x: Rows) => c.model_type === "qwen3" ? byHeads(x, `${path}.${name}`) : x;
    const turned = { q: rotate(normed("q_norm", q), E, c), k: rotate(normed("k_norm", k), E, c), v };
    const softcap = c.model_type === "gemma2" ? c.attn_logit_softcapping : null;
    const o = attention(turned, { H, K, E, scale, window: windowOf(c, i), softcap }, visible);
    return linear(model, `${path}.o_proj`, o);
  };
  const feed = (path: string, u: Rows) => {
    const both = c.model_type === "phi3" ? linear(model, `${path}.gate_up_proj`, u) : undefined;
    const F = c.intermediate_size;
    const gate = both ? cut(both, 0, F) : linear(model, `${path}.gate_proj`, u);
    const up = both ? cut(both, F, 2 * F) : linear(model, `${path}.up_proj`, u);
    return linear(model, `${path}.down_proj`, gate.map((row, t) => row.map((g, j) => act(g) * up[t]![j]!)));
  };

  const vectors = ids.map(lookUp(weights.get("model.embed_tokens.weight")!, D));
  let x = gemma ? vectors.map((row) => row.map((v) => v * Math.sqrt(D))) : vectors;
  for (let i = 0; i < c.num_hidden_layers; i++) {
    const path = `model.layers.${i}`, at = (name: string) => `${path}.${name}`;
    const attended = attend(at("self_attn"), norm(x, at("input_layernorm")), i);
    if (c.model_type === "gemma2") {
      x = plus(x, norm(attended, at("post_attention_layernorm")));
      const fed = feed(at("mlp"), norm(x, at("pre_feedforward_layernorm")));
      x = plus(x, norm(fed, at("post_feedforward_layernorm")));
    } else {
      x = plus(x, attended);
      x = plus(x, feed(at("mlp"), norm(x, at("post_attention_layernorm"))));
    }
  }
  const logits = head(model, norm(x, "model.norm"), "model.embed_tokens.weight");
  const cap = c.model_type === "gemma2" ? c.final_logit_softcapping : null;
  return logits.map((row) => row.map((v) => bent(v, cap)));
}

/** Rotary embedding by halves: pairs (e, e + n/2) of the first n columns of every head turn by t·f[e]. */
function rotate(x: Rows, E: number, c: Config): Rows {
  const rule = c.rope_parameters ?? c.rope_scaling ?? {};
  const theta = rule.rope_theta ?? c.rope_theta ?? 10000;
  const n = Math.trunc(E * (rule.partial_rotary_factor ?? c.partial_rotary_factor ?? 1)), half = n / 2;
  const loud = amplitude(rule, c);
  return x.map((row, t) =>
    row.map((v, i) => {
      const e = i % E, low = e < half, j = low ? e : e - half;
      if (e >= n) return v;
      const angle = t * frequency(theta ** (-2 * j / n), { rule, c, j, T: x.length });
      return loud * (v * Math.cos(angle) + (low ? -row[i + half]! : row[i - half]!) * Math.sin(angle));
    })
  );
}

const isLong = (rule: Config, c: Config) =>
  ["longrope", ...c.model_type === "phi3" ? ["su", "yarn"] : []].includes(rule.rope_type ?? rule.type);

/** What longrope multiplies cos and sin by. */
function amplitude(rule: Config, c: Config): number {
  if (!isLong(rule, c)) return 1;
  const L = c.original_max_position_embeddings, factor = c.max_position_embeddings / L;
  return rule.attention_factor ?? (factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(L)));
}

interface Place {
  readonly rule: Config;
  readonly c: Config;
  readonly j: number;
  readonly T: number;
}

function frequency(f: number, { rule, c, j, T }: Place): number {
  if (isLong(rule, c)) return f / (T > c.original_max_position_embeddings ? rule.long_factor : rule.short_factor)[j];
  if (rule.rope_type === "linear") return f / rule.factor;
  if (rule.rope_type !== "llama3") return f;
  const wave = 2 * Math.PI / f, L = rule.original_max_position_embeddings;
  if (wave < L / rule.high_freq_factor) return f;
  if (wave > L / rule.low_freq_factor) return f / rule.factor;
  const smooth = (L / wave - rule.low_freq_factor) / (rule.high_freq_factor - rule.low_freq_factor);
  return (1 - smooth) * f / rule.factor + smooth * f;
}
