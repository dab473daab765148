// The frequencies of rotary positions in a context that became longer, after Hugging Face's modeling_rope_utils.py.
import { ModelError, printable } from "../core/errors.ts";

/** `rope_scaling` (or `rope_parameters`) of a config.json. */
export interface RopeScaling {
  /** `"default"`, `"linear"`, `"dynamic"`, `"llama3"`, `"yarn"` or `"longrope"`. */
  readonly rope_type?: string;
  /** The older name of `rope_type`. */
  readonly type?: string;
  /** How much longer the context became. */
  readonly factor?: number;
  /** Llama3: wavelengths above original_max_position_embeddings / this are divided by `factor`. */
  readonly low_freq_factor?: number;
  /** Llama3: wavelengths below original_max_position_embeddings / this stay as they are. */
  readonly high_freq_factor?: number;
  /** Llama3, YaRN and longrope: positions that the model was first trained with. */
  readonly original_max_position_embeddings?: number;
  /** YaRN: waves that turn more often than this over the original context stay as they are (32). */
  readonly beta_fast?: number;
  /** YaRN: waves that turn less often than this are divided by `factor` (1). */
  readonly beta_slow?: number;
  /**
   * YaRN and longrope: factor on cos and sin, by default 0.1 · ln(factor) + 1 and √(1 + ln(factor) / ln(L)), L the
   * original positions.
   */
  readonly attention_factor?: number;
  /** YaRN, DeepSeek: numerator and denominator of that factor. */
  readonly mscale?: number;
  /** See {@linkcode RopeScaling.mscale}. */
  readonly mscale_all_dim?: number;
  /** YaRN: whether the borders of the blend are whole numbers (true). */
  readonly truncate?: boolean;
  /** Longrope: what each frequency is divided by, [E / 2], in texts of at most the original positions. */
  readonly short_factor?: readonly number[];
  /** Longrope: the same in longer texts. */
  readonly long_factor?: readonly number[];
}

/** What the tables are made of. */
export interface RopeFrequencies {
  /** Radians a position, [E / 2]. */
  readonly frequencies: Float64Array;
  /** Factor on cos and sin. */
  readonly amplitude: number;
}

/** Options of {@linkcode ropeFrequencies}. */
export interface RopeFrequencyOptions {
  /** Columns of a head. */
  readonly E: number;
  /** Base of the frequencies. */
  readonly theta: number;
  readonly scaling: RopeScaling;
  /** Positions of the text (1). */
  readonly length?: number;
}

type NumberKey = "factor" | "low_freq_factor" | "high_freq_factor" | "original_max_position_embeddings";

/** Every rule, with the numbers that it must have. */
const REQUIRED: Readonly<Record<string, readonly NumberKey[]>> = {
  default: [],
  linear: ["factor"],
  dynamic: ["factor"],
  llama3: ["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"],
  yarn: ["factor", "original_max_position_embeddings"],
  longrope: ["factor", "original_max_position_embeddings"],
};

/** Numbers that may be left out. */
const OPTIONAL = ["beta_fast", "beta_slow", "attention_factor", "mscale", "mscale_all_dim"] as const;

/**
 * The frequencies f[j] = theta^(−2j/E), scaled by the rule. `"dynamic"` leaves them as they are: it changes them only
 * beyond max_position_embeddings, where Graft takes no input.
 *
 * @throws {ModelError} `config/rope_scaling` if the rule is not supported or its numbers are wrong.
 */
export function ropeFrequencies({ E, theta, scaling, length = 1 }: RopeFrequencyOptions): RopeFrequencies {
  const type = scaling.rope_type ?? scaling.type ?? "default";
  check(type, scaling, E);
  const plain = Float64Array.from({ length: E / 2 }, (_, j) => theta ** (-2 * j / E));
  const { factor = 1 } = scaling;
  if (type === "linear") return { frequencies: plain.map((f) => f / factor), amplitude: 1 };
  if (type === "llama3") {
    return { frequencies: plain.map((f) => blend(f, factor, llama3Share(f, scaling))), amplitude: 1 };
  }
  if (type === "longrope") {
    const by = (longer(scaling, length) ? scaling.long_factor : scaling.short_factor)!;
    return { frequencies: plain.map((f, j) => f / by[j]!), amplitude: longAmplitude(scaling) };
  }
  if (type !== "yarn") return { frequencies: plain, amplitude: 1 };
  const share = yarnShare({ E, theta, scaling });
  return { frequencies: plain.map((f, j) => blend(f, factor, share(j))), amplitude: yarnAmplitude(scaling) };
}

/** Whether texts of so many positions turn by other angles than short ones do. */
export function longer(
  { rope_type, type, original_max_position_embeddings: L = 1 }: RopeScaling,
  length: number,
): boolean {
  return (rope_type ?? type) === "longrope" && length > L;
}

// LongRoPE (arXiv:2402.13753).
function longAmplitude({ factor = 1, attention_factor, original_max_position_embeddings: L = 1 }: RopeScaling): number {
  return attention_factor ?? (factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(L)));
}

/** `kept` of 1 leaves a frequency as it is, 0 divides it by the factor. */
function blend(f: number, factor: number, kept: number): number {
  return (1 - kept) * f / factor + kept * f;
}

function clamped(x: number): number {
  return Math.min(1, Math.max(0, x));
}

function llama3Share(f: number, scaling: RopeScaling): number {
  const { low_freq_factor: low = 1, high_freq_factor: high = 2, original_max_position_embeddings: L = 1 } = scaling;
  return clamped((L * f / (2 * Math.PI) - low) / (high - low));
}

// YaRN (arXiv:2309.00071): a blend over the columns, between those that turn beta_fast and beta_slow times.
function yarnShare({ E, theta, scaling }: RopeFrequencyOptions): (j: number) => number {
  const { beta_fast = 32, beta_slow = 1, truncate = true, original_max_position_embeddings: L = 1 } = scaling;
  const column = (turns: number) => E * Math.log(L / (turns * 2 * Math.PI)) / (2 * Math.log(theta));
  const whole = (x: number, round: (x: number) => number) => truncate ? round(x) : x;
  const low = Math.max(0, whole(column(beta_fast), Math.floor));
  const high = Math.min(E - 1, whole(column(beta_slow), Math.ceil));
  return (j) => 1 - clamped((j - low) / (high === low ? 0.001 : high - low));
}

function yarnAmplitude({ factor = 1, attention_factor, mscale, mscale_all_dim }: RopeScaling): number {
  const grown = (weight: number) => factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1;
  return attention_factor ?? (mscale && mscale_all_dim ? grown(mscale) / grown(mscale_all_dim) : grown(1));
}

function check(type: string, scaling: RopeScaling, E: number): void {
  const required = Object.hasOwn(REQUIRED, type) ? REQUIRED[type] : undefined;
  if (!required) {
    const known = Object.keys(REQUIRED).join(", ");
    throw new ModelError(
      "config/rope_scaling",
      `Cannot scale rotary positions as "${printable(String(type))}": supported are ${known}`,
      { hint: "Use a model with one of these, or its version with the original context length." },
    );
  }
  const positive = (key: keyof RopeScaling) => Number.isFinite(scaling[key]) && Number(scaling[key]) > 0;
  const given = OPTIONAL.filter((key) => (scaling[key] ?? null) !== null);
  const problems = [...required, ...given].filter((key) => !positive(key))
    .map((key) => `${key} must be a positive number: received ${printable(String(scaling[key]))}`);
  const ordered = (small: "low_freq_factor" | "beta_slow", large: "high_freq_factor" | "beta_fast") => {
    const [a, b] = [scaling[small], scaling[large]];
    if (a !== undefined && b !== undefined && !(b > a)) {
      problems.push(`${large} must be above ${small}: received ${b} and ${a}`);
    }
  };
  for (const key of type === "longrope" ? ["short_factor", "long_factor"] as const : []) {
    const list: unknown = scaling[key];
    if (Array.isArray(list) && list.length === E / 2 && list.every((x) => Number.isFinite(x) && x > 0)) continue;
    problems.push(`${key} must be ${E / 2} positive numbers: received ${printable(JSON.stringify(list) ?? "nothing")}`);
  }
  if (type === "llama3" && problems.length === 0) ordered("low_freq_factor", "high_freq_factor");
  if (type === "yarn" && problems.length === 0) ordered("beta_slow", "beta_fast");
  if (problems.length > 0) {
    throw new ModelError("config/rope_scaling", `Cannot scale rotary positions as "${type}": ${problems.join("; ")}`);
  }
}
