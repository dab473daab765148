// Cross-entropy in f64, straight from PyTorch's documentation: the sum over classes, not the rearranged form of the shader.

/** What a reference loss counts. */
export interface LossReference {
  readonly V: number;
  readonly smoothing?: number;
  readonly reduction?: "sum" | "mean";
  readonly weights?: ArrayLike<number>;
}

/** Loss, losses of the rows (not divided) and gradient of the loss. */
export function referenceLoss(
  logits: ArrayLike<number>,
  labels: ArrayLike<number>,
  { V, smoothing = 0, reduction = "mean", weights }: LossReference,
): { readonly loss: number; readonly rows: number[]; readonly gradient: Float64Array } {
  const gradient = new Float64Array(logits.length);
  const rows: number[] = [];
  let divisor = 0;
  for (let n = 0; n < labels.length; n++) {
    const label = labels[n]!;
    if ((label | 0) === -100) {
      rows.push(0);
      continue;
    }
    let high = -Infinity, sum = 0, row = 0;
    for (let c = 0; c < V; c++) high = Math.max(high, logits[n * V + c]!);
    for (let c = 0; c < V; c++) sum += Math.exp(logits[n * V + c]! - high);
    const all = high + Math.log(sum);
    const targets = Array.from(
      { length: V },
      (_, c) => (weights?.[c] ?? 1) * ((c === label ? 1 - smoothing : 0) + smoothing / V),
    );
    const mass = targets.reduce((a, b) => a + b, 0);
    for (let c = 0; c < V; c++) {
      const x = logits[n * V + c]!;
      row += targets[c]! * (all - x);
      gradient[n * V + c] = mass * Math.exp(x - all) - targets[c]!;
    }
    rows.push(row);
    divisor += weights?.[label] ?? 1;
  }
  const scale = reduction === "sum" ? 1 : divisor === 0 ? 0 : 1 / divisor;
  return { loss: scale * rows.reduce((a, b) => a + b, 0), rows, gradient: gradient.map((g) => g * scale) };
}

/** Labels that visit all classes; every third row is ignored. */
export function labelsFor(N: number, V: number): number[] {
  return Array.from({ length: N }, (_, n) => n % 3 === 2 ? -100 : (n * 5 + V - 1) % V);
}
