// How LoRA's factors start, by `init_lora_weights` of PEFT.
//
//   true        A ~ U(±1/√In), B = 0;   "gaussian"  A ~ N(0, 1/R²), B = 0;   false  both uniform
//   orthogonal  A and B random with B·A = 0: rows of one random rotation, the odd ones for A, the even ones for B
//   pissa       B·A = the R largest singular vectors of W by s (arXiv:2404.02948): A = √(S/s)·Vᵀ, B = U·√(S/s);
//               pissa_niter_N: nearly so, from a random sample sharpened N times
//   olora       W = Q·R: A = R[:R], B = Q[:, :R] (arXiv:2406.01775)
//
// PiSSA and OLoRA start as the base: what they add at first is taken away again. PEFT takes it from the base's weights;
// here a frozen copy A₀, B₀ of the start is subtracted beside them, s·(B·A − B₀·A₀), so that the base stays what it is,
// for other adapters and bit for bit when this one is off. Saved, both are one plain LoRA of rank 2R for that base.
import { type Matrix, matrix, multiply, qr, randomizedSvd, svd, transpose } from "../core/linalg.ts";
import { UsageError } from "../core/errors.ts";
import { normal, randomKey } from "../core/random.ts";
import type { AdapterInit, Init, MadeFrom } from "../nn/scope.ts";

/** Values of `init_lora_weights` that Graft starts adapters with. */
export type LoraInit = boolean | "gaussian" | "orthogonal" | "pissa" | `pissa_niter_${number}` | "olora";

/** Whether a value is one of them. */
export function isLoraInit(value: unknown): value is LoraInit {
  return typeof value === "boolean" ||
    typeof value === "string" && /^(gaussian|orthogonal|olora|pissa|pissa_niter_\d{1,4})$/.test(value);
}

/** Whether the adapter starts with a part of the base's weights. */
export function isPrincipal(init: LoraInit): boolean {
  return typeof init === "string" && /^(pissa|olora)/.test(init);
}

/** A linear map whose factors start. */
export interface InitSite {
  readonly path: string;
  readonly In: number;
  readonly Out: number;
  readonly R: number;
  readonly scale: number;
  readonly transposed: boolean;
  /** Name of W in the checkpoint. */
  readonly weight: string;
}

/** How A and B start, where that does not depend on the base. */
export function factorInits(init: LoraInit, site: InitSite): { readonly a: AdapterInit; readonly b: AdapterInit } {
  const { In, R } = site;
  const kaiming = (fan: number): Init => ({ kind: "uniform", bound: 1 / Math.sqrt(fan) });
  if (init === "gaussian") return { a: { kind: "normal", std: 1 / R }, b: { kind: "zeros" } };
  if (init === "orthogonal") {
    return {
      a: { kind: "base", weight: site.weight, make: (_, { seed }) => orthogonal(site, seed).a },
      b: { kind: "base", weight: site.weight, make: (_, { seed }) => orthogonal(site, seed).b },
    };
  }
  return { a: kaiming(In), b: init ? { kind: "zeros" } : kaiming(R) };
}

/**
 * How the frozen start B₀, and A₀ after it, are made from the base.
 *
 * @throws {UsageError} `lora/rank` if the weight has fewer singular vectors.
 */
export function principalInits(
  init: LoraInit,
  site: InitSite,
  b0: string,
): { readonly a: AdapterInit; readonly b: AdapterInit } {
  const { In, Out, R, path, transposed, weight, scale } = site;
  if (R > Math.min(In, Out)) {
    throw new UsageError(
      "lora/rank",
      `Cannot start ${path} by ${init} with rank ${R}: its weight [${Out}, ${In}] has only ${Math.min(In, Out)}`,
    );
  }
  const read = (w: Float32Array) => transposed ? transpose(matrix(In, Out, w)) : matrix(Out, In, w);
  const f32 = ({ data }: Matrix) => Float32Array.from(data);
  return {
    b: { kind: "base", weight, make: (w) => f32(start(init, read(w), site)) },
    // B₀ has orthogonal columns: A₀ = (B₀ᵀ·B₀)⁻¹·B₀ᵀ·W, over s for PiSSA.
    a: {
      kind: "base",
      weight,
      make(w, { tensor }: MadeFrom) {
        const b = matrix(Out, R, tensor(b0));
        const a = multiply(transpose(b), read(w));
        const by = init === "olora" ? 1 : scale;
        for (let r = 0; r < R; r++) {
          let length = 0;
          for (let o = 0; o < Out; o++) length += b.data[o * R + r]! ** 2;
          const row = a.data.subarray(r * In, (r + 1) * In);
          for (let i = 0; i < In; i++) row[i] = length > 0 ? row[i]! / (by * length) : 0;
        }
        return f32(a);
      },
    },
  };
}

/** B₀[Out, R]. */
function start(init: LoraInit, w: Matrix, { R, scale, path }: InitSite): Matrix {
  if (init === "olora") {
    const { q } = qr(w);
    return columns(q, R, () => 1);
  }
  const iterations = /^pissa_niter_(\d+)$/.exec(String(init))?.[1];
  const { u, s } = iterations === undefined
    ? svd(w, R)
    : randomizedSvd(w, R, { iterations: Number(iterations), key: randomKey(0, "pissa", path) });
  return columns(u, R, (r) => Math.sqrt(s[r]! / Math.abs(scale)));
}

function columns(m: Matrix, R: number, factor: (r: number) => number): Matrix {
  const result = matrix(m.rows, R);
  for (let i = 0; i < m.rows; i++) {
    for (let r = 0; r < R; r++) result.data[i * R + r] = m.data[i * m.cols + r]! * factor(r);
  }
  return result;
}

/** PEFT's divisor of the orthogonal start. */
const ORTHOGONAL_DIVISOR = 10;

function orthogonal({ path, In, Out, R }: InitSite, seed: number): {
  readonly a: Float32Array<ArrayBuffer>;
  readonly b: Float32Array<ArrayBuffer>;
} {
  const random = (what: string, rows: number, cols: number): Matrix => {
    const key = randomKey(seed, "init", path, "orthogonal", what);
    return matrix(rows, cols, Float64Array.from({ length: rows * cols }, (_, i) => normal(key, i)));
  };
  const { q } = qr(random("rotation", R, R));
  const half = (odd: number): Matrix => {
    const rows = Array.from(
      { length: R / 2 },
      (_, i) => [...q.data.subarray((2 * i + odd) * R, (2 * i + odd + 1) * R)],
    );
    return matrix(R / 2, R, rows.flat());
  };
  const small = ({ data }: Matrix) => Float32Array.from(data, (x) => x / ORTHOGONAL_DIVISOR);
  return {
    a: small(multiply(transpose(half(0)), random("A", R / 2, In))),
    b: small(multiply(random("B", Out, R / 2), half(1))),
  };
}
