// Decompositions: their factors have the promised form, and their product is the matrix.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { type Matrix, matrix, multiply, qr, randomizedSvd, svd, transpose } from "../../src/core/linalg.ts";
import { normal, randomKey } from "../../src/core/random.ts";

function random(rows: number, cols: number, seed = 1): Matrix {
  const key = randomKey(seed, "matrix", rows, cols);
  return matrix(rows, cols, Float64Array.from({ length: rows * cols }, (_, i) => normal(key, i)));
}

/** Σ largest k singular vectors. */
function product({ u, s, vt }: ReturnType<typeof svd>): Matrix {
  const scaled = matrix(u.rows, u.cols, u.data.map((x, i) => x * s[i % u.cols]!));
  return multiply(scaled, vt);
}

function worst(a: Matrix, b: Matrix): number {
  assertEquals([a.rows, a.cols], [b.rows, b.cols]);
  return a.data.reduce((most, x, i) => Math.max(most, Math.abs(x - b.data[i]!)), 0);
}

function identity(n: number): Matrix {
  return matrix(n, n, Float64Array.from({ length: n * n }, (_, i) => i % (n + 1) === 0 ? 1 : 0));
}

// Sums of at most 60 f64 products around 1, and the Gram matrix's halved digits for the smallest of them.
const TOLERANCE = 1e-12;

Deno.test("linalg: all singular vectors give the matrix back, wide, tall and square", () => {
  for (const [rows, cols] of [[1, 1], [7, 19], [19, 7], [24, 24], [60, 33]] as const) {
    const m = random(rows, cols);
    const found = svd(m, Math.min(rows, cols));
    assert(worst(product(found), m) < TOLERANCE);
    assert(worst(multiply(transpose(found.u), found.u), identity(found.u.cols)) < TOLERANCE);
    assert(worst(multiply(found.vt, transpose(found.vt)), identity(found.u.cols)) < 1e-9);
    assert(found.s.every((x, i) => i === 0 || x <= found.s[i - 1]!));
  }
});

Deno.test("linalg: singular values worked out by hand", () => {
  const { s, u, vt } = svd(matrix(2, 2, [3, 0, 4, 5]), 1); // MᵀM has the eigenvalues 45 and 5
  assert(Math.abs(s[0]! - Math.sqrt(45)) < TOLERANCE);
  const top = product({ s, u, vt }); // rank 1: 1.5·[[1, 1], [3, 3]]
  assert(worst(top, matrix(2, 2, [1.5, 1.5, 4.5, 4.5])) < TOLERANCE);
  assertEquals([...svd(matrix(3, 2), 2).s], [0, 0]);
  assertThrows(() => svd(matrix(2, 2, [1, NaN, 0, 1]), 1), RangeError, "not finite");
});

Deno.test("linalg: the largest singular vectors leave the least error of their rank", () => {
  const m = random(20, 12), { s } = svd(m, 12);
  const top = product(svd(m, 4));
  const error = top.data.reduce((sum, x, i) => sum + (x - m.data[i]!) ** 2, 0);
  const left = s.slice(4).reduce((sum, x) => sum + x * x, 0);
  assert(Math.abs(error - left) < 1e-10);
});

Deno.test("linalg: random samples find the largest singular values of a matrix with a falling spectrum", () => {
  const u = qr(random(40, 30, 2)).q, v = qr(random(35, 30, 3)).q;
  const m = product({ u, s: Float64Array.from({ length: 30 }, (_, i) => 0.7 ** i), vt: transpose(v) });
  const exact = svd(m, 5), found = randomizedSvd(m, 5, { iterations: 4, key: randomKey(1) });
  assert(worst(product(found), product(exact)) < 1e-9);
});

Deno.test("linalg: Q·R is the matrix, Q orthonormal, R upper triangular; wide, tall, and of lower rank", () => {
  for (const m of [random(9, 4), random(4, 9), random(6, 6), matrix(3, 3), multiply(random(8, 2), random(2, 5))]) {
    const { q, r } = qr(m);
    assert(worst(multiply(q, r), m) < TOLERANCE);
    assert(worst(multiply(transpose(q), q), identity(q.cols)) < TOLERANCE);
    for (let i = 0; i < r.rows; i++) {
      for (let j = 0; j < Math.min(i, r.cols); j++) assertEquals(r.data[i * r.cols + j], 0);
    }
  }
  assertThrows(() => multiply(random(2, 3), random(2, 3)), RangeError, "[2, 3] by [2, 3]");
});
