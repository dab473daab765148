// Cross-entropy: of given logits (bounded by memory), and fused with the projection onto a frozen vocabulary, loss and
// gradient together (two products).
import { crossEntropy, linearCrossEntropy } from "../src/ops/mod.ts";
import { type Arrays, type Context, type KernelCase, measureAll } from "./kernel.ts";
import { spread } from "./random.ts";
import { softmax64 } from "./norm.ts";
import type { Row } from "./row.ts";

/** Measure the losses. */
export function benchLoss(context: Context): Promise<Row[]> {
  const { quick, device: { software } } = context;
  const fused = quick ? [[64, 64, 500]] : software ? [[1024, 128, 1024], [128, 768, 8192]] : [[4096, 768, 50257]];
  const given = quick ? [[32, 500]] : software ? [[32, 50257], [1024, 1024]] : [[1024, 50257]];
  return measureAll(context, "loss", [
    ...given.map(([N, V]) => logitsCase(N!, V!)),
    ...fused.map(([N, D, V]) => fusedCase(N!, D!, V!)),
  ]);
}

// Loss and gradient: the logits are read twice and the gradient is written.
function logitsCase(N: number, V: number): KernelCase {
  return {
    name: "cross-entropy, dlogits",
    shape: `${N}x${V}`,
    operands: { logits: { shape: [N, V] }, labels: { shape: [N], below: V } },
    wrt: ["logits"],
    both: true,
    build: (v) => crossEntropy(v.logits!, v.labels!, { reduction: "mean" }),
    expected: ({ logits, labels, dy }) =>
      spread(N, 4).map((n) => {
        const p = softmax64(Float64Array.from(logits!.subarray(n * V, (n + 1) * V)));
        p[labels![n]!]! -= 1;
        return { of: "logits", at: p.map((_, i) => n * V + i), values: p.map((x) => dy![0]! * x / N) };
      }),
    work: { bytes: 12 * N * V },
  };
}

function fusedCase(N: number, D: number, V: number): KernelCase {
  return {
    name: "linear cross-entropy, dhidden",
    shape: `${N}x${D}·${V}`,
    operands: {
      hidden: { shape: [N, D] },
      weight: { shape: [V, D], scale: 1 / Math.sqrt(D) },
      labels: { shape: [N], below: V },
    },
    wrt: ["hidden"],
    both: true,
    build: (v) => linearCrossEntropy({ hidden: v.hidden!, weight: v.weight!, labels: v.labels! }),
    expected: (arrays) => [hiddenGradient(arrays, { N, D, V })],
    work: { flops: 4 * N * D * V },
  };
}

interface Sizes {
  readonly N: number;
  readonly D: number;
  readonly V: number;
}

// dh = (softmax(h·Wᵀ) − onehot) · W / N
function hiddenGradient({ hidden, weight, labels, dy }: Arrays, { N, D, V }: Sizes): {
  readonly of: string;
  readonly at: number[];
  readonly values: number[];
} {
  const at: number[] = [], values: number[] = [];
  for (const n of spread(N, 3)) {
    const logits = Float64Array.from({ length: V }, (_, v) => {
      let sum = 0;
      for (let d = 0; d < D; d++) sum += hidden![n * D + d]! * weight![v * D + d]!;
      return sum;
    });
    const p = softmax64(logits);
    p[labels![n]!]! -= 1;
    for (let d = 0; d < D; d++) {
      at.push(n * D + d);
      values.push(dy![0]! / N * p.reduce((sum, x, v) => sum + x * weight![v * D + d]!, 0));
    }
  }
  return { of: "hidden", at, values };
}
