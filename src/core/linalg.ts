// Dense linear algebra on the processor, in f64, for what happens once: how an adapter starts, and how adapters combine.
//
//   W[rows, cols] = U·diag(s)·Vᵀ      the largest s only, from the eigenvectors of the smaller of W·Wᵀ and Wᵀ·W
//   W[rows, cols] = Q·R               Householder reflections; Q has orthonormal columns, R is upper triangular
//
// Squares halve the digits: singular values below 1e-8 of the largest are noise. Weights of f32 have fewer digits.
import { normal, type RandomKey } from "./random.ts";
import { symmetricEigen } from "./symmetric_eigen.ts";

/** A row-major matrix. */
export interface Matrix {
  readonly rows: number;
  readonly cols: number;
  readonly data: Float64Array;
}

/** A matrix of these numbers, or of zeros. */
export function matrix(rows: number, cols: number, data?: ArrayLike<number>): Matrix {
  return { rows, cols, data: data ? Float64Array.from(data) : new Float64Array(rows * cols) };
}

/** Mᵀ. */
export function transpose({ rows, cols, data }: Matrix): Matrix {
  const result = matrix(cols, rows);
  for (let i = 0; i < rows; i++) for (let j = 0; j < cols; j++) result.data[j * rows + i] = data[i * cols + j]!;
  return result;
}

/**
 * A·B.
 *
 * @throws {RangeError} if the sizes do not fit.
 */
export function multiply(a: Matrix, b: Matrix): Matrix {
  if (a.cols !== b.rows) throw new RangeError(`Cannot multiply [${a.rows}, ${a.cols}] by [${b.rows}, ${b.cols}]`);
  const result = matrix(a.rows, b.cols);
  for (let i = 0; i < a.rows; i++) {
    const row = result.data.subarray(i * b.cols, (i + 1) * b.cols);
    for (let k = 0; k < a.cols; k++) {
      const factor = a.data[i * a.cols + k]!;
      if (factor === 0) continue;
      const other = b.data.subarray(k * b.cols, (k + 1) * b.cols);
      for (let j = 0; j < row.length; j++) row[j] = row[j]! + factor * other[j]!;
    }
  }
  return result;
}

/** M·Mᵀ. */
function gram({ rows, cols, data }: Matrix): Matrix {
  const result = matrix(rows, rows);
  for (let i = 0; i < rows; i++) {
    const a = data.subarray(i * cols, (i + 1) * cols);
    for (let j = 0; j <= i; j++) {
      const b = data.subarray(j * cols, (j + 1) * cols);
      let sum = 0;
      for (let k = 0; k < cols; k++) sum += a[k]! * b[k]!;
      result.data[i * rows + j] = result.data[j * rows + i] = sum;
    }
  }
  return result;
}

/** The largest part of a singular value decomposition. */
export interface Svd {
  /** [rows, rank], orthonormal columns. */
  readonly u: Matrix;
  /** Largest first. */
  readonly s: Float64Array;
  /** [rank, cols], orthonormal rows. */
  readonly vt: Matrix;
}

/** The `rank` largest singular values of M, with their vectors; at most min(rows, cols). Vectors of zeros are zero. */
export function svd(m: Matrix, rank: number): Svd {
  if (m.rows > m.cols) {
    const { u, s, vt } = svd(transpose(m), rank);
    return { u: transpose(vt), s, vt: transpose(u) };
  }
  const R = Math.min(rank, m.rows);
  const { values, vectors } = symmetricEigen(gram(m));
  const order = [...values.keys()].sort((a, b) => values[b]! - values[a]!).slice(0, R);
  const u = matrix(m.rows, R);
  order.forEach((from, to) => {
    for (let i = 0; i < m.rows; i++) u.data[i * R + to] = vectors.data[i * m.rows + from]!;
  });
  const vt = multiply(transpose(u), m);
  const s = new Float64Array(R);
  for (let r = 0; r < R; r++) {
    const row = vt.data.subarray(r * m.cols, (r + 1) * m.cols);
    s[r] = Math.sqrt(row.reduce((sum, x) => sum + x * x, 0));
    for (let j = 0; j < row.length; j++) row[j] = s[r]! > 0 ? row[j]! / s[r]! : 0;
  }
  return { u, s, vt };
}

/** Columns drawn beyond those that are asked for, as torch.svd_lowrank's callers do. */
const OVERSAMPLED = 10;

/**
 * The same from a random sample of M's range, sharpened by `iterations` products with M·Mᵀ (arXiv:0909.4061, algorithm
 * 5.1): nearly the largest, in a fraction of the time.
 */
export function randomizedSvd(
  m: Matrix,
  rank: number,
  { iterations, key }: { readonly iterations: number; readonly key: RandomKey },
): Svd {
  const L = Math.min(rank + OVERSAMPLED, m.rows, m.cols);
  const mt = transpose(m);
  const sample = matrix(m.cols, L, Float64Array.from({ length: m.cols * L }, (_, i) => normal(key, i)));
  let q = qr(multiply(m, sample)).q;
  for (let i = 0; i < iterations; i++) q = qr(multiply(m, qr(multiply(mt, q)).q)).q;
  const small = svd(multiply(transpose(q), m), rank);
  return { ...small, u: multiply(q, small.u) };
}

/** Q[rows, k] and R[k, cols] with k = min(rows, cols). */
export interface Qr {
  readonly q: Matrix;
  readonly r: Matrix;
}

/** M = Q·R. */
export function qr(m: Matrix): Qr {
  const { rows, cols } = m;
  const K = Math.min(rows, cols);
  const r = transpose(m); //   columns of M as rows: reflections then run over neighbours
  const column = (j: number) => r.data.subarray(j * rows, (j + 1) * rows);
  const mirrors: Float64Array[] = [];
  for (let k = 0; k < K; k++) {
    const v = column(k).slice(k);
    const norm = Math.sqrt(v.reduce((sum, x) => sum + x * x, 0));
    v[0] = v[0]! + (v[0]! < 0 ? -norm : norm);
    const length = Math.sqrt(v.reduce((sum, x) => sum + x * x, 0));
    if (length > 0) { for (let i = 0; i < v.length; i++) v[i] = v[i]! / length; }
    mirrors.push(v);
    for (let j = k; j < cols; j++) reflect(v, column(j).subarray(k));
  }
  const q = matrix(K, rows); // transposed
  for (let k = 0; k < K; k++) {
    const row = q.data.subarray(k * rows, (k + 1) * rows);
    row[k] = 1;
    for (let i = K - 1; i >= 0; i--) reflect(mirrors[i]!, row.subarray(i));
  }
  const upper = matrix(K, cols);
  for (let j = 0; j < cols; j++) {
    for (let i = 0; i <= Math.min(j, K - 1); i++) upper.data[i * cols + j] = column(j)[i]!;
  }
  return { q: transpose(q), r: upper };
}

/** x -= 2·v·(v·x). */
function reflect(v: Float64Array, x: Float64Array): void {
  let dot = 0;
  for (let i = 0; i < v.length; i++) dot += v[i]! * x[i]!;
  for (let i = 0; i < v.length; i++) x[i] = x[i]! - 2 * dot * v[i]!;
}
