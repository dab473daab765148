// Attention in f64, as plain loops: one row, one head and one key at a time.
import type { AttentionOptions } from "../../src/ops/attention.ts";
import type { Numbers } from "./harness.ts";

/** o[N, H·E] of q[N, H·E], k[B·S, K·E], v[B·S, K·E], a mask [B, S] and a bias [H, T, S]. */
export function attentionReference(
  { q, k, v, mask, bias }: {
    readonly q: Numbers;
    readonly k: Numbers;
    readonly v: Numbers;
    readonly mask?: ArrayLike<number>;
    readonly bias?: Numbers | undefined;
  },
  { B, T, S = T, H, K, E, scale = 1 / Math.sqrt(E), causal, window = Infinity, softcap }: AttentionOptions,
): Numbers {
  const o = new Float64Array(B * T * H * E);
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < H; h++) {
      const shared = Math.floor(h / (H / K));
      for (let t = 0; t < T; t++) {
        const row = ((b * T + t) * H + h) * E;
        const key = (j: number) => ((b * S + j) * K + shared) * E;
        const seen = Array.from({ length: S }, (_, j) => j)
          .filter((j) => (!causal || j <= t) && t - j < window && (mask?.[b * S + j] ?? 1) !== 0);
        const scores = seen.map((j) => {
          let sum = 0;
          for (let e = 0; e < E; e++) sum += q[row + e]! * k[key(j) + e]!;
          const score = softcap === undefined ? scale * sum : softcap * Math.tanh(scale * sum / softcap);
          return score + (bias?.[(h * T + t) * S + j] ?? 0);
        });
        const highest = Math.max(...scores);
        const weights = scores.map((s) => Math.exp(s - highest));
        const total = weights.reduce((x, y) => x + y, 0);
        seen.forEach((j, i) => {
          for (let e = 0; e < E; e++) o[row + e]! += weights[i]! / total * v[key(j) + e]!;
        });
      }
    }
  }
  return o;
}
