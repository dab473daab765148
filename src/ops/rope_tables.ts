// Tables of cos and sin for rotary positions.
//
//   angle[t, j] = t · f[j]        f[j] = theta^(−2j/E), j < E/2, then scaled (see rope_scaling.ts)
//
// Computed in float64: a GPU's sin of large arguments is off by 6e-4.
import { ModelError } from "../core/errors.ts";
import { ropeFrequencies, type RopeScaling } from "./rope_scaling.ts";

/** Options of {@linkcode ropeTables}. */
export interface RopeTableOptions {
  /** Rows of the tables. */
  readonly positions: number;
  /** Columns of a head, even. */
  readonly E: number;
  /** Base of the frequencies, `rope_theta`. */
  readonly theta?: number;
  /** Positions of the longest text: rules may turn longer ones by other angles; `positions` by default. */
  readonly length?: number;
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
export function ropeTables({ positions, E, theta = 10000, scaling, length = positions }: RopeTableOptions): RopeTables {
  if (E % 2 !== 0) {
    throw new ModelError(
      "config/head_dim",
      `Cannot rotate heads as pairs of columns: received head_dim ${E}, an odd one`,
    );
  }
  const half = E / 2;
  const { frequencies, amplitude } = ropeFrequencies({ E, theta, scaling: scaling ?? {}, length });
  const cos = new Float32Array(positions * half);
  const sin = new Float32Array(positions * half);
  for (let t = 0; t < positions; t++) {
    for (let j = 0; j < half; j++) {
      cos[t * half + j] = amplitude * Math.cos(t * frequencies[j]!);
      sin[t * half + j] = amplitude * Math.sin(t * frequencies[j]!);
    }
  }
  return { cos, sin };
}
