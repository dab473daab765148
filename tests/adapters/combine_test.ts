// Combinations of adapters: PEFT's rules worked out by hand, and products of factors in f64.
import { assert, assertEquals } from "@std/assert";
import { type Combination, COMBINATIONS, combine, type LowRank } from "../../src/adapters/combine.ts";
import { type MajoritySign, type SumKind, weightedSum } from "../../src/adapters/task_arithmetic.ts";
import { type Matrix, matrix, multiply, svd } from "../../src/core/linalg.ts";
import { normal, randomKey } from "../../src/core/random.ts";

const TASKS = [[3, -1, 2, 0.5], [-4, -2, 1, 0.25], [2, 1, -6, 0]];
const WEIGHTS = [1, 0.5, 2];

function sumOf(kind: SumKind, density: number, majoritySign: MajoritySign = "total"): number[] {
  const keys = TASKS.map((_, i) => randomKey(7, i));
  const tasks = TASKS.map((task) => Float64Array.from(task));
  return [...weightedSum(tasks, WEIGHTS, { kind, density, majoritySign, keys })];
}

Deno.test("sums: every kind, worked out by hand", () => {
  assertEquals(sumOf("linear", 1), [3 - 2 + 4, -1 - 1 + 2, 2 + 0.5 - 12, 0.5 + 0.125 + 0]);
  // Half of the elements: [3, 0, 2, 0], [-4, -2, 0, 0], [2, 0, -6, 0].
  assertEquals(sumOf("magnitude_prune", 0.5), [3 - 2 + 4, -1, 2 - 12, 0]);
  // Signs of the sums 1, -2, -4, 0: the first and third task, the second, the third, none.
  assertEquals(sumOf("ties", 0.5), [(3 + 4) / 2, -1, -12, 0]);
  // Without a cut the sums are 1, -2, -3, 0.75; two of three have these signs, but for the third element.
  assertEquals(sumOf("ties", 1), [(3 + 4) / 2, (-1 - 1) / 2, -12, (0.5 + 0.125) / 2]);
  assertEquals(sumOf("ties", 1, "frequency"), [(3 + 4) / 2, (-1 - 1) / 2, (2 + 0.5) / 2, (0.5 + 0.125) / 2]);
  assertEquals(sumOf("magnitude_prune", 0.3), [3 - 2, 0, -12, 0]); // floor(1.2) elements
  assertEquals(sumOf("dare_linear", 1), sumOf("linear", 1));
  assertEquals(sumOf("dare_ties", 1), sumOf("ties", 1));
});

Deno.test("sums: DARE keeps a random share, scaled so that the mean stays", () => {
  const length = 4000, density = 0.25;
  const options = { kind: "dare_linear", density, majoritySign: "total", keys: [randomKey(1), randomKey(2)] } as const;
  const ones = Float64Array.from({ length }, () => 1);
  const values = weightedSum([ones, ones], [1, 0.001], options);
  const mean = values.reduce((a, b) => a + b, 0) / length;
  assert(Math.abs(mean - 1.001) < 4 * Math.sqrt(3 / length)); // four standard errors of 4·Bernoulli(1/4)
  assertEquals([...new Set(values)].sort(), [0, 0.004, 4, 4.004]); // the two draw apart
  assertEquals(weightedSum([ones, ones], [1, 0.001], options), values);
});

function random(rows: number, cols: number, seed: number): Matrix {
  const key = randomKey(seed, rows, cols);
  return matrix(rows, cols, Float64Array.from({ length: rows * cols }, (_, i) => normal(key, i)));
}

const PARTS: readonly LowRank[] = [
  { a: random(2, 7, 1), b: random(5, 2, 2), scale: 2, weight: 0.7 },
  { a: random(2, 7, 3), b: random(5, 2, 4), scale: 0.5, weight: -0.3 },
];
const OPTIONS = { density: 0.6, majoritySign: "total", rank: 4, seed: 1, path: "q" } as const;

function delta(combination: Combination, parts = PARTS, rank = 4): Matrix {
  const { a, b } = combine(parts, { ...OPTIONS, combination, rank });
  return multiply(b, a);
}

function exact(parts = PARTS): Matrix {
  const list = parts.map(({ a, b, scale, weight }) => multiply(b, a).data.map((x) => x * scale * weight));
  return matrix(5, 7, list.reduce((x, y) => x.map((value, i) => value + y[i]!)));
}

function worst(x: Matrix, y: Matrix): number {
  assertEquals([x.rows, x.cols], [y.rows, y.cols]);
  return x.data.reduce((most, value, i) => Math.max(most, Math.abs(value - y.data[i]!)), 0);
}

Deno.test("combine: cat, and svd of full rank, are the weighted sum of what the adapters add", () => {
  const cat = combine(PARTS, { ...OPTIONS, combination: "cat" });
  assertEquals([cat.a.rows, cat.b.cols], [4, 4]);
  assert(worst(delta("cat"), exact()) < 1e-14);
  assert(worst(delta("svd"), exact()) < 1e-12);
});

Deno.test("combine: svd is the nearest product of its rank, and fills up with zeros", () => {
  const { u, s, vt } = svd(exact(), 1);
  const nearest = matrix(5, 7, multiply(matrix(5, 1, u.data.map((x) => x * s[0]!)), vt).data);
  assert(worst(delta("svd", PARTS, 1), nearest) < 1e-12);
  const { a, b } = combine(PARTS, { ...OPTIONS, combination: "svd", rank: 6 });
  assertEquals([a.rows, b.cols], [6, 6]);
  assert(worst(multiply(b, a), exact()) < 1e-12);
});

Deno.test("combine: linear adds factors by the roots of weight and scale, a sign below zero goes to B", () => {
  const [p, q] = [Math.sqrt(0.7 * 2), Math.sqrt(0.3 * 0.5)];
  const { a, b } = combine(PARTS, { ...OPTIONS, combination: "linear" });
  const sum = (x: Matrix, f: number, y: Matrix, g: number) => x.data.map((v, i) => f * v + g * y.data[i]!);
  assert(worst(a, matrix(2, 7, sum(PARTS[0]!.a, p, PARTS[1]!.a, q))) < 1e-15);
  assert(worst(b, matrix(5, 2, sum(PARTS[0]!.b, p, PARTS[1]!.b, -q))) < 1e-15);
});

Deno.test("combine: one adapter alone is itself by every combination that keeps all of it", () => {
  const [one] = PARTS;
  for (const combination of COMBINATIONS) {
    const { a, b } = combine([one!], { ...OPTIONS, density: 1, combination, rank: 2 });
    assert(worst(multiply(b, a), exact([one!])) < 1e-12, combination);
  }
});

Deno.test("combine: svd over ties is the best product for the elected sum of what the adapters add", () => {
  const deltas = PARTS.map(({ a, b, scale }) => multiply(b, a).data.map((x) => x * scale));
  const options = { kind: "ties", density: 0.6, majoritySign: "total", keys: [] } as const;
  const elected = matrix(5, 7, weightedSum(deltas, [0.7, -0.3], options));
  assert(worst(delta("ties_svd", PARTS, 5), elected) < 1e-12);
});
