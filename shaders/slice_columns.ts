// Columns [at, at + width) of a matrix of D columns: y[n, j] = x[n, at + j]; back: y[n, at + j] = x[n, j], else zero.
//
// One invocation per vector of y.
import { flatMain } from "./lib/index.ts";
import { wgsl } from "./wgsl.ts";

/** Invocations of a workgroup. */
export const SLICE_LANES = 64;

/** Options of {@linkcode sliceColumns}. */
export interface SliceColumnsOptions {
  readonly D: number;
  readonly at: number;
  readonly width: number;
  /** Whether the columns are put back where they came from: the gradient. */
  readonly back: boolean;
}

/** x[N, D] → y[N, width], or back; uniform p: N. `step`: numbers of one vector. */
export function sliceColumns(
  { D, at, width, back }: SliceColumnsOptions,
): { readonly wgsl: string; readonly step: number } {
  const step = [D, at, width].every((n) => n % 4 === 0) ? 4 : 1;
  const [from, to] = back ? [width, D] : [D, width];
  const text = wgsl`
alias Vector = ${step === 4 ? "vec4f" : "f32"};
const FROM = ${from / step}u;
const TO = ${to / step}u;
const AT = ${at / step}u;
struct P { rows: u32 }
@group(0) @binding(0) var<storage, read> x: array<Vector>;
@group(0) @binding(1) var<storage, read_write> y: array<Vector>;
@group(0) @binding(2) var<uniform> p: P;
${flatMain(SLICE_LANES)}
  let n = i / TO;
  let j = i % TO;
  if (n >= p.rows) { return; }
#if ${back}
  if (j < AT || j >= AT + FROM) {
    y[i] = Vector();
    return;
  }
  y[i] = x[n * FROM + j - AT];
#else
  y[i] = x[n * FROM + AT + j];
#endif
}`;
  return { wgsl: text, step };
}
