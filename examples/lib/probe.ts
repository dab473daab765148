// What a frozen encoder knows: a ridge regression from its sentence vectors to two classes.
import { collate, type Dataset, type Model } from "@graft/graft";

/** Added to the diagonal of XᵀX, as a share of the number of rows. */
const RIDGE = 1e-3;

/** Vectors of examples [rows][D + 1], the last entry one, and their classes. */
async function vectorsOf(model: Model, { examples }: Pick<Dataset, "examples">): Promise<[number[][], number[]]> {
  const vectors: number[][] = [], classes: number[] = [];
  const sorted = examples.toSorted((a, b) => a.ids.length - b.ids.length);
  for (let at = 0; at < sorted.length; at += 50) {
    const part = sorted.slice(at, at + 50);
    const { input_ids, attention_mask } = collate(part, { padId: 0, lengthMultiple: 16, maxLength: 128 });
    const { logits: { shape: [rows, D], data } } = await model.forward({ input_ids, attention_mask: attention_mask! });
    for (let b = 0; b < rows!; b++) vectors.push([...data.subarray(b * D!, (b + 1) * D!), 1]);
    classes.push(...part.map(({ label }) => label as number));
  }
  return [vectors, classes];
}

/** Solve A·x = b for a symmetric positive A, in place (Cholesky). */
function solve(A: Float64Array[], b: Float64Array): Float64Array {
  const n = b.length;
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = A[i]![j]!;
      for (let k = 0; k < j; k++) sum -= A[i]![k]! * A[j]![k]!;
      A[i]![j] = i === j ? Math.sqrt(sum) : sum / A[j]![j]!;
    }
  }
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) b[i]! -= A[i]![k]! * b[k]!;
    b[i]! /= A[i]![i]!;
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) b[i]! -= A[k]![i]! * b[k]!;
    b[i]! /= A[i]![i]!;
  }
  return b;
}

/** The accuracy on `held` of a regression that is fitted to `data`, with two classes. */
export async function probe(
  encoder: Model,
  data: Pick<Dataset, "examples">,
  held: Pick<Dataset, "examples">,
): Promise<number> {
  const [X, y] = await vectorsOf(encoder, data);
  const n = X[0]!.length;
  const A = Array.from({ length: n }, () => new Float64Array(n));
  const b = new Float64Array(n);
  for (const [r, x] of X.entries()) {
    for (let i = 0; i < n; i++) {
      const row = A[i]!, xi = x[i]!;
      for (let j = 0; j <= i; j++) row[j]! += xi * x[j]!;
      b[i]! += xi * (y[r] === 1 ? 1 : -1);
    }
  }
  for (let i = 0; i < n; i++) A[i]![i]! += RIDGE * X.length;
  const w = solve(A, b);
  const [H, actual] = await vectorsOf(encoder, held);
  const right = H.filter((x, r) => (x.reduce((sum, xi, i) => sum + xi * w[i]!, 0) > 0) === (actual[r] === 1)).length;
  return right / H.length;
}
