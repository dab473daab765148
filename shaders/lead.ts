// The first P positions of every sequence get columns of a table in place of their own:
//
//   forward    y[n, c] = table[t, at + c - column]  where t = position of row n < P and column ≤ c < column + width
//              y[n, c] = x[n, c]                    elsewhere
//   gradient   dx = dy, 0 where the table was taken       dtable[t, at + j] = Σ over sequences of dy[t, column + j]
//
// One invocation per vector of y, or of dtable.
import { flatMain } from "./lib/index.ts";
import { wgsl } from "./wgsl.ts";

/** Invocations of a workgroup. */
export const LEAD_LANES = 64;

/** Which columns of which matrix; all in numbers. */
export interface LeadColumns {
  /** Columns of x. */
  readonly C: number;
  /** Columns of the table. */
  readonly W: number;
  /** First column of x that is replaced. */
  readonly column: number;
  /** First column of the table that is taken. */
  readonly at: number;
  /** Columns that are taken. */
  readonly width: number;
}

/** Numbers of one vector. */
export function leadStep({ C, W, column, at, width }: LeadColumns): number {
  return [C, W, column, at, width].every((n) => n % 4 === 0) ? 4 : 1;
}

function constants(columns: LeadColumns): string {
  const step = leadStep(columns);
  const entries = Object.entries(columns).map(([name, n]) => `const ${name.toUpperCase()} = ${n / step}u;`);
  return `alias Vector = ${step === 4 ? "vec4f" : "f32"};\n${entries.join("\n")}`;
}

/** Options of {@linkcode lead}. */
export interface LeadOptions extends LeadColumns {
  /** Positions P of the table. */
  readonly P: number;
  /** Whether positions come as u32[rows] instead of n mod T. */
  readonly given: boolean;
  /** Whether what the table would replace becomes zero: the gradient of x. */
  readonly zero: boolean;
}

/** x[rows, C], table[P, W] (unless zero), positions (if given) → y[rows, C]; uniform p: rows, first row, T. */
export function lead({ P, given, zero, ...columns }: LeadOptions): string {
  const position = zero ? 1 : 2, output = (zero ? 1 : 2) + (given ? 1 : 0);
  return wgsl`
${constants(columns)}
struct Sizes { rows: u32, first: u32, T: u32 }
@group(0) @binding(0) var<storage, read> x: array<Vector>;
#if ${!zero}
@group(0) @binding(1) var<storage, read> table: array<Vector>;
#endif
#if ${given}
@group(0) @binding(${position}) var<storage, read> positions: array<u32>;
#endif
@group(0) @binding(${output}) var<storage, read_write> y: array<Vector>;
@group(0) @binding(${output + 1}) var<uniform> p: Sizes;
${flatMain(LEAD_LANES)}
  let n = i / C;
  let c = i % C;
  if (n >= p.rows) { return; }
#if ${given}
  let t = positions[n];
#else
  let t = (p.first + n) % p.T;
#endif
  var value = x[i];
  if (t < ${P}u && c >= COLUMN && c < COLUMN + WIDTH) {
#if ${zero}
    value = Vector();
#else
    value = table[t * W + AT + c - COLUMN];
#endif
  }
  y[i] = value;
}`;
}

/** dy[rows, C] → dtable[P, W]; uniform p: rows, first row, T. The part that begins at 0 writes, the others add. */
export function leadTableGrad({ P, ...columns }: LeadColumns & { readonly P: number }): string {
  return wgsl`
${constants(columns)}
struct Sizes { rows: u32, first: u32, T: u32 }
@group(0) @binding(0) var<storage, read> dy: array<Vector>;
@group(0) @binding(1) var<storage, read_write> dt: array<Vector>;
@group(0) @binding(2) var<uniform> p: Sizes;
${flatMain(LEAD_LANES)}
  let t = i / W;
  let j = i % W;
  if (t >= ${P}u) { return; }
  var sum = Vector();
  if (j >= AT && j < AT + WIDTH) {
    // The first row of this part that has position t.
    for (var n = (t + p.T - p.first % p.T) % p.T; n < p.rows; n += p.T) { sum += dy[n * C + COLUMN + j - AT]; }
  }
  if (p.first == 0u) { dt[i] = sum; } else { dt[i] += sum; }
}`;
}
