// Sums of what several adapters learned, element by element, as PEFT's utils/merge_utils.py defines them.
//
//   linear            Σ wᵢ·tᵢ
//   magnitude_prune   Σ wᵢ·trim(tᵢ)                   trim keeps the largest share `density`
//   ties              Σ wᵢ·trim(tᵢ) of one sign, by the number of summands that have it    (arXiv:2306.01708)
//   dare_linear       Σ wᵢ·drop(tᵢ)                   drop keeps a random share, divided by it (arXiv:2311.03099)
//   dare_ties         the sum of ties over drop(tᵢ)
import { type RandomKey, uniform } from "../core/random.ts";

/** Kinds of sums. */
export const SUMS = ["linear", "ties", "dare_linear", "dare_ties", "magnitude_prune"] as const;

/** A kind of sum. */
export type SumKind = typeof SUMS[number];

/** Which sign is the one of an element: that of the sum, or that which more adapters have. */
export type MajoritySign = "total" | "frequency";

/** Options of {@linkcode weightedSum}. */
export interface SumOptions {
  readonly kind: SumKind;
  /** Share of the elements that are kept, for all kinds but linear. */
  readonly density: number;
  readonly majoritySign: MajoritySign;
  /** A stream for the random choices of each task. */
  readonly keys: readonly RandomKey[];
}

/** The sum of tensors of one length. */
export function weightedSum(
  tasks: readonly Float64Array[],
  weights: readonly number[],
  { kind, density, majoritySign, keys }: SumOptions,
): Float64Array {
  const kept = tasks.map((task, i) => {
    if (kind === "linear" || density >= 1) return task;
    return kind.startsWith("dare") ? dropped(task, density, keys[i]!) : trimmed(task, density);
  });
  const result = new Float64Array(tasks[0]!.length);
  const elects = kind === "ties" || kind === "dare_ties";
  for (let e = 0; e < result.length; e++) {
    const values = kept.map((task) => task[e]!);
    const votes = majoritySign === "total" ? values : values.map(Math.sign);
    const sign = votes.reduce((a, b) => a + b, 0) >= 0 ? 1 : -1;
    let sum = 0, count = 0;
    for (const [i, value] of values.entries()) {
      if (elects && Math.sign(value) !== sign) continue;
      sum += weights[i]! * value;
      count++;
    }
    result[e] = elects ? sum / Math.max(count, 1) : sum;
  }
  return result;
}

function trimmed(task: Float64Array, density: number): Float64Array {
  const kept = Math.floor(density * task.length);
  const order = task.keys().toArray().sort((a, b) => Math.abs(task[b]!) - Math.abs(task[a]!));
  const result = new Float64Array(task.length);
  for (const e of order.slice(0, kept)) result[e] = task[e]!;
  return result;
}

function dropped(task: Float64Array, density: number, key: RandomKey): Float64Array {
  return task.map((value, e) => uniform(key, e) < density ? value / density : 0);
}
