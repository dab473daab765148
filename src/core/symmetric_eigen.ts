// Eigenvalues and eigenvectors of a symmetric matrix: Householder's reduction to three diagonals, then implicit QL steps
// (EISPACK's tred2 and tql2, as in Wilkinson & Reinsch, Handbook for Automatic Computation II, 1971). About 4·n³ steps.
import type { Matrix } from "./linalg.ts";

/** Eigenvalues in no order; the eigenvector of value j is column j. */
export interface Eigen {
  readonly values: Float64Array;
  readonly vectors: Matrix;
}

/**
 * The eigenvectors of a symmetric matrix.
 *
 * @throws {RangeError} if the numbers are not finite.
 */
export function symmetricEigen({ rows: n, data }: Matrix): Eigen {
  if (!data.every(Number.isFinite)) throw new RangeError("Cannot find eigenvectors of numbers that are not finite");
  const v = data.slice(), d = new Float64Array(n), e = new Float64Array(n);
  tridiagonalize(v, d, e, n);
  // Rotations run over pairs of columns: as rows of the transpose they are neighbours in memory.
  const t = transposed(v, n);
  diagonalize(t, d, e, n);
  return { values: d, vectors: { rows: n, cols: n, data: transposed(t, n) } };
}

function transposed(v: Float64Array, n: number): Float64Array {
  const t = new Float64Array(n * n);
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) t[j * n + i] = v[i * n + j]!;
  return t;
}

/** v becomes orthogonal, d the diagonal, e the diagonal below it. */
function tridiagonalize(v: Float64Array, d: Float64Array, e: Float64Array, n: number): void {
  const at = (i: number, j: number) => v[i * n + j]!;
  for (let j = 0; j < n; j++) d[j] = at(n - 1, j);
  for (let i = n - 1; i > 0; i--) {
    let scale = 0, h = 0;
    for (let k = 0; k < i; k++) scale += Math.abs(d[k]!);
    if (scale === 0) {
      e[i] = d[i - 1]!;
      for (let j = 0; j < i; j++) {
        d[j] = at(i - 1, j);
        v[i * n + j] = v[j * n + i] = 0;
      }
    } else {
      for (let k = 0; k < i; k++) {
        d[k] = d[k]! / scale;
        h += d[k]! * d[k]!;
      }
      const f = d[i - 1]!;
      const g = f > 0 ? -Math.sqrt(h) : Math.sqrt(h);
      e[i] = scale * g;
      h -= f * g;
      d[i - 1] = f - g;
      for (let j = 0; j < i; j++) e[j] = 0;
      for (let j = 0; j < i; j++) {
        const dj = d[j]!;
        v[j * n + i] = dj;
        let sum = e[j]! + at(j, j) * dj;
        for (let k = j + 1; k <= i - 1; k++) {
          sum += at(k, j) * d[k]!;
          e[k] = e[k]! + at(k, j) * dj;
        }
        e[j] = sum;
      }
      let product = 0;
      for (let j = 0; j < i; j++) {
        e[j] = e[j]! / h;
        product += e[j]! * d[j]!;
      }
      const hh = product / (h + h);
      for (let j = 0; j < i; j++) e[j] = e[j]! - hh * d[j]!;
      for (let j = 0; j < i; j++) {
        for (let k = j; k <= i - 1; k++) v[k * n + j] = at(k, j) - (d[j]! * e[k]! + e[j]! * d[k]!);
        d[j] = at(i - 1, j);
        v[i * n + j] = 0;
      }
    }
    d[i] = h;
  }
  for (let i = 0; i < n - 1; i++) {
    v[(n - 1) * n + i] = at(i, i);
    v[i * n + i] = 1;
    const h = d[i + 1]!;
    if (h !== 0) {
      for (let k = 0; k <= i; k++) d[k] = at(k, i + 1) / h;
      for (let j = 0; j <= i; j++) {
        let g = 0;
        for (let k = 0; k <= i; k++) g += at(k, i + 1) * at(k, j);
        for (let k = 0; k <= i; k++) v[k * n + j] = at(k, j) - g * d[k]!;
      }
    }
    for (let k = 0; k <= i; k++) v[k * n + i + 1] = 0;
  }
  for (let j = 0; j < n; j++) {
    d[j] = at(n - 1, j);
    v[(n - 1) * n + j] = 0;
  }
  v[n * n - 1] = 1;
  e[0] = 0;
}

/** d becomes the eigenvalues; the rows of t are turned along. */
function diagonalize(t: Float64Array, d: Float64Array, e: Float64Array, n: number): void {
  for (let i = 1; i < n; i++) e[i - 1] = e[i]!;
  e[n - 1] = 0;
  let shift = 0, size = 0;
  for (let l = 0; l < n; l++) {
    size = Math.max(size, Math.abs(d[l]!) + Math.abs(e[l]!));
    let m = l;
    while (m < n - 1 && Math.abs(e[m]!) > Number.EPSILON * size) m++;
    while (m > l && Math.abs(e[l]!) > Number.EPSILON * size) {
      let g = d[l]!, p = (d[l + 1]! - g) / (2 * e[l]!);
      let r = p < 0 ? -Math.hypot(p, 1) : Math.hypot(p, 1);
      d[l] = e[l]! / (p + r);
      d[l + 1] = e[l]! * (p + r);
      const below = d[l + 1]!;
      let h = g - d[l]!;
      for (let i = l + 2; i < n; i++) d[i] = d[i]! - h;
      shift += h;
      p = d[m]!;
      let c = 1, c2 = 1, c3 = 1, s = 0, s2 = 0;
      const next = e[l + 1]!;
      for (let i = m - 1; i >= l; i--) {
        [c3, c2, s2] = [c2, c, s];
        g = c * e[i]!;
        h = c * p;
        r = Math.hypot(p, e[i]!);
        e[i + 1] = s * r;
        s = e[i]! / r;
        c = p / r;
        p = c * d[i]! - s * g;
        d[i + 1] = h + s * (c * g + s * d[i]!);
        const a = i * n, b = a + n;
        for (let k = 0; k < n; k++) {
          const x = t[b + k]!, y = t[a + k]!;
          t[b + k] = s * y + c * x;
          t[a + k] = c * y - s * x;
        }
      }
      p = -s * s2 * c3 * next * e[l]! / below;
      e[l] = s * p;
      d[l] = c * p;
    }
    d[l] = d[l]! + shift;
    e[l] = 0;
  }
}
