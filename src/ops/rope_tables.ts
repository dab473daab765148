// Tables of cos and sin for rotary positions, with the frequency scalings of Hugging Face's modeling_rope_utils.py.
//
//   angle[t, j] = t · f[j]        f[j] = theta^(−2j/E), j < E/2, then scaled
//
// Computed in float64: a GPU's sin of large arguments is off by 6e-4.
import { ModelError, printable } from "../core/errors.ts";

/** `rope_scaling` (or `rope_parameters`) of a config.json. */
export interface RopeScaling {
  /** `"default"`, `"linear"` or `"llama3"`. */
  readonly rope_type?: string;
  /** The older name of `rope_type`. */
  readonly type?: string;
  /** Linear and llama3: how much longer the context became. */
  readonly factor?: number;
  /** Llama3: wavelengths above original_max_position_embeddings / this are divided by `factor`. */
  readonly low_freq_factor?: number;
  /** Llama3: wavelengths below original_max_position_embeddings / this stay as they are. */
  readonly high_freq_factor?: number;
  /** Llama3: positions that the model was first trained with. */
  readonly original_max_position_embeddings?: number;
}

/** Options of {@linkcode ropeTables}. */
export interface RopeTableOptions {
  /** Rows of the tables. */
  readonly positions: number;
  /** Columns of a head, even. */
  readonly E: number;
  /** Base of the frequencies, `rope_theta`. */
  readonly theta?: number;
  /** How the frequencies of a longer context differ. */
  readonly scaling?: RopeScaling | null;
}

/** Tables for {@linkcode rope}, row-major [positions, E/2]. */
export interface RopeTables {
  /** Cosines. */
  readonly cos: Float32Array<ArrayBuffer>;
  /** Sines. */
  readonly sin: Float32Array<ArrayBuffer>;
}

/**
 * The cos and sin tables [positions, E/2] of rotary positions.
 *
 * @throws {ModelError} `config/rope_scaling` if the scaling is not supported or lacks numbers, `config/head_dim` if E is odd.
 *
 * @example Usage
 * ```ts
 * import { ropeTables } from "@graft/graft/ops";
 *
 * const { cos } = ropeTables({ positions: 512, E: 64, theta: 10000 });
 * console.log(cos.length); // 512 · 32
 * ```
 */
export function ropeTables({ positions, E, theta = 10000, scaling }: RopeTableOptions): RopeTables {
  if (E % 2 !== 0) {
    throw new ModelError(
      "config/head_dim",
      `Cannot rotate heads as pairs of columns: received head_dim ${E}, an odd one`,
    );
  }
  const half = E / 2;
  const scale = scalingOf(scaling ?? {});
  const frequencies = Float64Array.from({ length: half }, (_, j) => scale(theta ** (-2 * j / E)));
  const cos = new Float32Array(positions * half);
  const sin = new Float32Array(positions * half);
  for (let t = 0; t < positions; t++) {
    for (let j = 0; j < half; j++) {
      cos[t * half + j] = Math.cos(t * frequencies[j]!);
      sin[t * half + j] = Math.sin(t * frequencies[j]!);
    }
  }
  return { cos, sin };
}

const REQUIRED: Readonly<Record<string, readonly Exclude<keyof RopeScaling, "rope_type" | "type">[]>> = {
  default: [],
  linear: ["factor"],
  llama3: ["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"],
};

/** How a frequency is scaled. */
function scalingOf(scaling: RopeScaling): (frequency: number) => number {
  const type = scaling.rope_type ?? scaling.type ?? "default";
  const required = Object.hasOwn(REQUIRED, type) ? REQUIRED[type] : undefined;
  if (!required) {
    throw new ModelError(
      "config/rope_scaling",
      `Cannot scale rotary positions as "${printable(String(type))}": supported are ${
        Object.keys(REQUIRED).join(", ")
      }`,
      { hint: "Use a model with one of these, or its version with the original context length." },
    );
  }
  const problems = required.filter((key) => !(Number.isFinite(scaling[key]) && scaling[key]! > 0))
    .map((key) => `${key} must be a positive number: received ${printable(String(scaling[key]))}`);
  const { factor = 1, low_freq_factor: low = 1, high_freq_factor: high = 2, original_max_position_embeddings = 1 } =
    scaling;
  if (type === "llama3" && problems.length === 0 && high <= low) {
    problems.push(`high_freq_factor must be above low_freq_factor: received ${high} and ${low}`);
  }
  if (problems.length > 0) {
    throw new ModelError("config/rope_scaling", `Cannot scale rotary positions as "${type}": ${problems.join("; ")}`);
  }
  if (type === "default") return (f) => f;
  if (type === "linear") return (f) => f / factor;
  return (f) => {
    const turns = original_max_position_embeddings * f / (2 * Math.PI); // over the original context
    // 0: a long wave, divided by the factor; 1: a short one, kept; a blend between the two.
    const kept = Math.min(1, Math.max(0, (turns - low) / (high - low)));
    return (1 - kept) * f / factor + kept * f;
  };
}
