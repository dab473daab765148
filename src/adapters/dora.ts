// DoRA (arXiv:2402.09353): LoRA's direction with a trained length for every row of the weight.
//
//   y  = c ⊙ (x·Wᵀ + s·(x·Aᵀ)·Bᵀ) + bias        c = m / n,  n = ‖W + s·B·A‖ of every row, a constant for gradients
//   W' = c ⊙ (W + s·B·A)                         m[Out] starts as n
//
// With dropout the base sees x and only what c changes sees dropout(x), as in PEFT: y = (x − xd)·Wᵀ + bias + c ⊙ z(xd).
import { isPacked } from "../core/dims.ts";
import type { Value } from "../graph/graph.ts";
import type { EmbedSite, LinearSite } from "../nn/adapter.ts";
import type { MadeFrom } from "../nn/scope.ts";
import { doraLinear } from "../ops/dora_linear.ts";
import { doraScale, gainsOf } from "../ops/dora_scale.ts";
import { add, multiply, scale as scaled } from "../ops/elementwise.ts";
import { loraLinear } from "../ops/lora_linear.ts";
import { linear } from "../ops/matmul.ts";
import { columnSum } from "../ops/column_sum.ts";
import { scaleColumns, scaleRows } from "../ops/scale_columns.ts";
import { rowSum } from "../ops/sum.ts";
import { PREFIX } from "./full.ts";

/** The low-rank update of a site. */
export interface DoraFactors {
  /** A[R, In]. */
  readonly a: Value;
  /** B[Out, R]. */
  readonly b: Value;
  readonly scale: number;
}

/** The adapted output of x[N, In]; `dropped` is x behind dropout, or x itself. */
export function doraSite(site: LinearSite, factors: DoraFactors, x: Value, dropped: Value): Value {
  const { weight: w, transposed, bias, plain } = site;
  if (plain && dropped === x) return gained(site, factors, x, bias);
  const rest = plain
    ? linear(add(x, scaled(dropped, -1)), w, { transposed, ...(bias ? { bias } : {}) })
    : add(site.base(x), scaled(linear(dropped, w, { transposed }), -1));
  return add(rest, gained(site, factors, dropped, undefined));
}

/** c ⊙ (x·Wᵀ + s·(x·Aᵀ)·Bᵀ) (+ bias). */
function gained(site: LinearSite, factors: DoraFactors, x: Value, bias: Value | undefined): Value {
  const { weight: w, transposed } = site;
  const { a, b, scale } = factors;
  const c = doraGains(site, factors);
  if (!isPacked(w.dtype)) return doraLinear(x, w, { a, b, c }, { transposed, scale, ...(bias ? { bias } : {}) });
  // Packed weights cannot be scaled in place: the output is.
  return scaleColumns(loraLinear(x, x, w, a, b, { transposed, scale }), c, bias);
}

/** The weight with W + s·B·A in `sum`, stored like the site's. Its lengths are taken as it is: it may not be packed. */
export function doraMerge(site: LinearSite | EmbedSite, factors: DoraFactors, sum: Value): Value {
  const squares = multiply(sum, sum), magnitude = magnitudeOf(site, factors);
  return site.transposed
    ? scaleColumns(sum, gainsOf(magnitude, columnSum(squares)))
    : scaleRows(sum, gainsOf(magnitude, rowSum(squares)));
}

/** The gains c[Out]. */
export function doraGains(site: LinearSite | EmbedSite, factors: DoraFactors): Value {
  const { m: { leaves, graph }, path, weight, transposed, Out } = site, { a, b, scale } = factors;
  const square = leaves.frozen(
    graph,
    `${PREFIX}${path}.lora_square`,
    [Out],
    { kind: "base", weight: weight.name, make: (w) => squares(w, sizesOf(site, factors)) },
    { derived: true },
  );
  return doraScale({ magnitude: magnitudeOf(site, factors), weight, square, a, b }, { transposed, scale });
}

function magnitudeOf(site: LinearSite | EmbedSite, factors: DoraFactors): Value {
  const { m: { leaves, graph }, path, weight, Out } = site, { a, b } = factors;
  return leaves.param(graph, `${PREFIX}${path}.lora_magnitude_vector`, [Out], {
    kind: "base",
    weight: weight.name,
    make: (w, { tensor }: MadeFrom) =>
      squares(w, sizesOf(site, factors), { a: tensor(a.name), b: tensor(b.name) }).map(Math.sqrt),
  });
}

function sizesOf({ In, Out, transposed }: LinearSite | EmbedSite, { a, scale }: DoraFactors): Sizes {
  return { In, Out, R: a.shape[0]!, scale, transposed };
}

interface Sizes {
  readonly In: number;
  readonly Out: number;
  readonly R: number;
  readonly scale: number;
  readonly transposed: boolean;
}

/** ‖W + s·B·A‖² of every row, or ‖W‖², summed in f64. */
function squares(
  w: Float32Array,
  { In, Out, R, scale, transposed }: Sizes,
  update?: { readonly a: Float32Array; readonly b: Float32Array },
): Float32Array<ArrayBuffer> {
  const sums = new Float64Array(Out), row = new Float64Array(In);
  for (let o = 0; o < Out; o++) {
    for (let i = 0; i < In; i++) row[i] = transposed ? w[i * Out + o]! : w[o * In + i]!;
    for (let r = 0; update && r < R; r++) {
      const factor = scale * update.b[o * R + r]!;
      if (factor === 0) continue;
      for (let i = 0; i < In; i++) row[i]! += factor * update.a[r * In + i]!;
    }
    for (let i = 0; i < In; i++) sums[o]! += row[i]! * row[i]!;
  }
  return Float32Array.from(sums);
}
