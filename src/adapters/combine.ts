// One LoRA adapter from several, as PEFT's add_weighted_adapter makes it; it has scale 1 (alpha = rank).
//
//   cat      A = [w₁s₁A₁; w₂s₂A₂; …], B = [B₁, B₂, …]: exactly the weighted sum of what they add, with the sum of the ranks
//   linear   A = Σ √(wᵢsᵢ)·Aᵢ, B = Σ √(wᵢsᵢ)·Bᵢ: cheap, with mixed terms BᵢAⱼ; so do ties, dare_linear, dare_ties and
//            magnitude_prune over A and over B. A weight below zero takes its sign to B.
//   …svd     the best B·A of a rank for the sum of wᵢsᵢBᵢAᵢ, or for that of the ties or DARE over them
//
// PEFT multiplies by sᵢ twice in the svd kinds (its delta weights hold the scale already); here it counts once.
import { type Matrix, matrix, multiply, qr, svd, transpose } from "../core/linalg.ts";
import { type RandomKey, randomKey } from "../core/random.ts";
import { type MajoritySign, type SumKind, SUMS, weightedSum } from "./task_arithmetic.ts";

/** Ways to combine. */
export const COMBINATIONS = [
  "cat",
  ...SUMS,
  "svd",
  "ties_svd",
  "dare_linear_svd",
  "dare_ties_svd",
  "magnitude_prune_svd",
] as const;

/** A way to combine. */
export type Combination = typeof COMBINATIONS[number];

/** Whether a combination keeps only a share of the elements, and so needs `density`. */
export function needsDensity(combination: Combination): boolean {
  return /^(ties|dare|magnitude)/.test(combination);
}

/** Whether a combination adds the factors of adapters, which then need the same rank. */
export function addsFactors(combination: Combination): boolean {
  return SUMS.some((kind) => kind === combination);
}

/** What one adapter adds at one module: scale·B·A. */
export interface LowRank {
  /** [R, In]. */
  readonly a: Matrix;
  /** [Out, R]. */
  readonly b: Matrix;
  readonly scale: number;
  readonly weight: number;
}

/** Options of {@linkcode combine}. */
export interface CombineOptions {
  readonly combination: Combination;
  readonly density: number;
  readonly majoritySign: MajoritySign;
  /** Rank of the svd kinds. */
  readonly rank: number;
  readonly seed: number;
  /** The module, for random choices of its own. */
  readonly path: string;
}

/** A and B of one module, with scale 1. */
export function combine(parts: readonly LowRank[], options: CombineOptions): Pick<LowRank, "a" | "b"> {
  const { combination, rank } = options;
  if (combination === "cat") return stacked(parts);
  const keys = (what: string) => parts.map((_, i) => randomKey(options.seed, "combine", options.path, what, i));
  if (addsFactors(combination)) {
    const kind = combination as SumKind;
    const roots = parts.map(({ weight, scale }) => Math.sqrt(Math.abs(weight * scale)));
    const signed = parts.map(({ weight, scale }, i) => Math.sign(weight * scale) * roots[i]!);
    return {
      a: sum(parts.map(({ a }) => a), roots, { ...options, kind, keys: keys("A") }),
      b: sum(parts.map(({ b }) => b), signed, { ...options, kind, keys: keys("B") }),
    };
  }
  if (combination === "svd") return truncated(stacked(parts), rank);
  const deltas = parts.map(({ a, b, scale }) => scaled(multiply(b, a), scale));
  const kind = combination.slice(0, -"_svd".length) as SumKind;
  const total = sum(deltas, parts.map(({ weight }) => weight), { ...options, kind, keys: keys("delta") });
  return halves(svd(total, rank), rank);
}

function stacked(parts: readonly LowRank[]): Pick<LowRank, "a" | "b"> {
  const rows = parts.flatMap(({ a, weight, scale }) => [...scaled(a, weight * scale).data]);
  const columns = parts.flatMap(({ b }) => [...transpose(b).data]);
  const R = parts.reduce((count, { a }) => count + a.rows, 0);
  return { a: matrix(R, parts[0]!.a.cols, rows), b: transpose(matrix(R, parts[0]!.b.rows, columns)) };
}

/** The best rank-`rank` product near B·A, without making B·A: from the small core of both QR decompositions. */
function truncated({ a, b }: Pick<LowRank, "a" | "b">, rank: number): Pick<LowRank, "a" | "b"> {
  const left = qr(b), right = qr(transpose(a));
  const core = svd(multiply(left.r, transpose(right.r)), rank);
  return halves({ u: multiply(left.q, core.u), s: core.s, vt: multiply(core.vt, transpose(right.q)) }, rank);
}

/** A = Vᵀ and B = U·diag(s), padded with zeros where there are fewer singular values. */
function halves({ u, s, vt }: ReturnType<typeof svd>, rank: number): Pick<LowRank, "a" | "b"> {
  const a = matrix(rank, vt.cols), b = matrix(u.rows, rank);
  a.data.set(vt.data);
  for (let i = 0; i < u.rows; i++) {
    for (let r = 0; r < s.length; r++) b.data[i * rank + r] = u.data[i * s.length + r]! * s[r]!;
  }
  return { a, b };
}

interface MatrixSum {
  readonly kind: SumKind;
  readonly density: number;
  readonly majoritySign: MajoritySign;
  readonly keys: readonly RandomKey[];
}

function sum(matrices: readonly Matrix[], weights: readonly number[], options: MatrixSum): Matrix {
  const { rows, cols } = matrices[0]!;
  return { rows, cols, data: weightedSum(matrices.map(({ data }) => data), weights, options) };
}

function scaled({ rows, cols, data }: Matrix, factor: number): Matrix {
  return { rows, cols, data: data.map((x) => x * factor) };
}
