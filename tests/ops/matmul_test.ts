import { columnSum } from "../../src/ops/column_sum.ts";
import { loraLinear } from "../../src/ops/lora_linear.ts";
import { linear, matmul } from "../../src/ops/matmul.ts";
import { scale } from "../../src/ops/elementwise.ts";
import type { DeviceOptions } from "../../src/gpu/device.ts";
import { type Numbers, type OpCase, opTable } from "./harness.ts";

/** Rows, columns, and whether the matrix is stored transposed. */
function at(x: Numbers, columns: number, transposed: boolean, rows: number): (i: number, j: number) => number {
  return transposed ? (i, j) => x[j * rows + i]! : (i, j) => x[i * columns + j]!;
}

/** a[M, K] · b[K, N] in f64, as stored. */
function product(a: Numbers, b: Numbers, M: number, N: number, K: number, ta = false, tb = false): Numbers {
  const left = at(a, K, ta, M), right = at(b, N, tb, K);
  const c = new Float64Array(M * N);
  for (let m = 0; m < M; m++) {
    for (let n = 0; n < N; n++) {
      let sum = 0;
      for (let k = 0; k < K; k++) sum += left(m, k) * right(k, n);
      c[m * N + n] = sum;
    }
  }
  return c;
}

/** Every kernel class. */
const classes: readonly DeviceOptions[] = [{ kind: "software" }, { kind: "gpu" }, { kind: "default" }];

function label({ kind = "software", maxBinding }: DeviceOptions): string {
  return maxBinding ? `${kind}, bindings of ${maxBinding} bytes` : kind;
}

interface Sizes {
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

function matmulCase({ M, N, K }: Sizes, ta: boolean, tb: boolean, device: DeviceOptions, alpha = 1): OpCase {
  return {
    op: "matmul",
    name: `${ta ? "t" : "n"}${tb ? "t" : "n"} ${M}x${K}·${K}x${N}${alpha === 1 ? "" : ` times ${alpha}`}, ${
      label(device)
    }`,
    inputs: { a: { shape: ta ? [K, M] : [M, K] }, b: { shape: tb ? [N, K] : [K, N] } },
    wrt: ["a", "b"],
    build: ({ a, b }) => matmul(a!, b!, { ta, tb, alpha }),
    reference: ({ a, b }) => product(a!, b!, M, N, K, ta, tb).map((x) => alpha * x),
    device,
  };
}

const transposes = [[false, false], [false, true], [true, false], [true, true]] as const;
const cases: OpCase[] = [];
for (const device of classes) {
  for (const [ta, tb] of transposes) {
    // odd primes; multiples of four with partial tiles; skinny in every role
    cases.push(matmulCase({ M: 7, N: 13, K: 11 }, ta, tb, device, -0.3));
    cases.push(matmulCase({ M: 12, N: 20, K: 8 }, ta, tb, device));
    cases.push(matmulCase({ M: 36, N: 8, K: 40 }, ta, tb, device), matmulCase({ M: 8, N: 40, K: 36 }, ta, tb, device));
  }
  cases.push(
    matmulCase({ M: 1, N: 1, K: 1 }, false, false, device),
    matmulCase({ M: 8, N: 20, K: 256 }, true, false, device), // shares of K, then their sum
    matmulCase({ M: 9, N: 3, K: 192 }, false, true, device),
    matmulCase({ M: 67, N: 70, K: 9 }, false, false, device), // more tiles than one
  );
}

function linearCase(transposed: boolean, bias: boolean, sizes: Sizes, device: DeviceOptions): OpCase {
  const { M, N, K } = sizes;
  return {
    op: "linear",
    name: `${transposed ? "transposed " : ""}${bias ? "bias " : ""}${M}x${K}→${N}, ${label(device)}`,
    inputs: {
      x: { shape: [M, K] },
      w: { shape: transposed ? [K, N] : [N, K] },
      ...(bias ? { bias: { shape: [N] } } : {}),
    },
    wrt: ["x", "w", ...(bias && !device.maxBinding ? ["bias"] : [])], // 64 rows of dy must fit one binding
    build: ({ x, w, bias }) => linear(x!, w!, { transposed, ...(bias ? { bias } : {}) }),
    reference: ({ x, w, bias }) => product(x!, w!, M, N, K, false, !transposed).map((y, i) => y + (bias?.[i % N] ?? 0)),
    device,
  };
}

interface LoraCase extends Sizes {
  readonly R: number;
  readonly transposed: boolean;
  readonly bias: boolean;
  /** Whether the adapter sees another input (x behind dropout). */
  readonly dropout: boolean;
  readonly device: DeviceOptions;
}

function loraCase({ M, N, K, R, transposed, bias, dropout, device }: LoraCase): OpCase {
  return {
    op: "lora_linear",
    name: `${transposed ? "transposed " : ""}${bias ? "bias " : ""}${dropout ? "dropout " : ""}` +
      `${M}x${K}→${N} R=${R}, ${label(device)}`,
    inputs: {
      x: { shape: [M, K] },
      w: { shape: transposed ? [K, N] : [N, K] },
      a: { shape: [R, K] },
      b: { shape: [N, R] },
      ...(bias ? { bias: { shape: [N] } } : {}),
    },
    wrt: ["x", "w", "a", "b", ...(bias && !device.maxBinding ? ["bias"] : [])],
    build: ({ x, w, a, b, bias }) =>
      loraLinear(x!, dropout ? scale(x!, 0.5) : x!, w!, a!, b!, { transposed, scale: 1.5, ...(bias ? { bias } : {}) }),
    reference: ({ x, w, a, b, bias }) => {
      const base = product(x!, w!, M, N, K, false, !transposed);
      const h = product(x!.map((v) => dropout ? 0.5 * v : v), a!, M, R, K, false, true);
      const low = product(h, b!, M, N, R, false, true);
      return base.map((y, i) => y + 1.5 * low[i]! + (bias?.[i % N] ?? 0));
    },
    device,
  };
}

for (const device of classes) {
  for (const transposed of [false, true]) {
    cases.push(linearCase(transposed, true, { M: 9, N: 20, K: 12 }, device));
    cases.push(linearCase(transposed, true, { M: 5, N: 7, K: 3 }, device));
    const odd = { M: 7, N: 11, K: 5, R: 3 }, even = { M: 20, N: 36, K: 12, R: 8 };
    cases.push(loraCase({ ...odd, transposed, bias: true, dropout: !transposed, device }));
    cases.push(loraCase({ ...even, transposed, bias: false, dropout: transposed, device }));
  }
}
cases.push(linearCase(false, false, { M: 3, N: 4, K: 5 }, {}));

// Forced cuts: rows of a and c, rows of W (columns of c), K of dy·W and of dyᵀ·x.
for (const kind of ["software", "gpu", "default"] as const) {
  const device = { kind, maxBinding: 2048 };
  cases.push(
    matmulCase({ M: 37, N: 24, K: 40 }, false, false, device),
    matmulCase({ M: 21, N: 130, K: 12 }, false, true, device),
    linearCase(false, true, { M: 13, N: 131, K: 20 }, device),
    linearCase(true, true, { M: 13, N: 132, K: 20 }, device),
    loraCase({ M: 35, N: 60, K: 36, R: 8, transposed: false, bias: true, dropout: false, device }),
  );
}

// Shares of K whose sum finishes the result: bias, low product, and both with cuts between and inside of the shares.
for (const kind of ["software", "gpu"] as const) {
  const lora = { M: 20, N: 36, K: 256, R: 8, bias: true, dropout: false };
  cases.push(
    linearCase(false, true, { M: 20, N: 36, K: 256 }, { kind }),
    linearCase(true, true, { M: 13, N: 37, K: 192 }, { kind }),
    loraCase({ ...lora, transposed: false, device: { kind } }),
    loraCase({ ...lora, transposed: true, device: { kind, maxBinding: 8192 } }),
  );
}

// Few rows: kernels of their own, with whole and ragged tiles, and a second group of rows.
for (const device of classes) {
  for (const M of [1, 3, 4, 6, 16]) {
    cases.push(
      matmulCase({ M, N: 37, K: 36 }, false, true, device),
      matmulCase({ M, N: 36, K: 40 }, false, false, device),
    );
  }
  cases.push(
    matmulCase({ M: 1, N: 64, K: 1024 }, false, true, device),
    matmulCase({ M: 2, N: 64, K: 1024 }, false, false, device),
    matmulCase({ M: 1, N: 4, K: 4 }, false, false, device),
    matmulCase({ M: 1, N: 1, K: 4 }, false, true, device),
    matmulCase({ M: 1, N: 8200, K: 4 }, false, false, device), // wide enough for many columns side by side
  );
  for (const transposed of [false, true]) {
    cases.push(linearCase(transposed, true, { M: 1, N: 132, K: 20 }, { ...device, maxBinding: 2048 }));
    cases.push(loraCase({ M: 1, N: 36, K: 12, R: 8, transposed, bias: true, dropout: false, device }));
    cases.push(loraCase({ M: 2, N: 36, K: 12, R: 3, transposed, bias: false, dropout: false, device }));
  }
}

for (const shape of [[1, 1], [7, 5], [200, 12], [131, 67]] as const) {
  cases.push({
    op: "column_sum",
    name: `[${shape}]`,
    inputs: { x: { shape } },
    wrt: [],
    build: ({ x }) => columnSum(x!),
    reference: ({ x }) => columnSums(x!, shape[1]),
  });
}
cases.push({
  op: "column_sum",
  name: "[200, 12], bindings of 4096 bytes",
  inputs: { x: { shape: [200, 12] } },
  wrt: [],
  build: ({ x }) => columnSum(x!),
  reference: ({ x }) => columnSums(x!, 12),
  device: { maxBinding: 4096 },
});

function columnSums(x: Numbers, D: number): Numbers {
  const y = new Float64Array(D);
  x.forEach((v, i) => y[i % D]! += v);
  return y;
}

opTable("matmul", cases);
