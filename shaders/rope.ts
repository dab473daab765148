// Rotary position embedding in the half-split form of Hugging Face (rotate_half; arXiv:2104.09864).
//
//   y[j]       = x[j] · cos[t, j] − x[j + E/2] · sin[t, j]          j < E/2, for every head
//   y[j + E/2] = x[j + E/2] · cos[t, j] + x[j] · sin[t, j]
//
// The gradient is the rotation by the negative angle. One invocation per vector of a half head.
// Where only the first heads turn, or only the first columns of a head, the rest is copied: one invocation per vector then.
// The position t of row n is n mod T plus an offset, or is read: position[n], or position[0] for all rows.
import { declareBuffers } from "./lib/bindings.ts";
import { flatMain } from "./lib/index.ts";
import { vectorType, type Width, widthOf } from "./lib/vector.ts";
import { wgsl } from "./wgsl.ts";

const LANES = 64;

/** Options of {@linkcode rope}. */
export interface RopeShaderOptions {
  readonly heads: number;
  /** Columns of a head. */
  readonly E: number;
  /** Heads that turn, the first ones. */
  readonly turned: number;
  /** Columns of a head that turn, the first ones: even. */
  readonly columns: number;
  /** Rotate by the negative angle. */
  readonly inverse: boolean;
  /** Where a row's position comes from: its number, an array with one entry a row, or an array with one entry. */
  readonly position: "row" | "each" | "one";
}

/** Workgroups for so many rows. */
export function ropeWorkgroups(rows: number, options: RopeShaderOptions): number {
  const { heads, E } = options;
  const { width, whole } = layout(options);
  return Math.ceil(rows * heads * E / (whole ? 2 : 1) / width / LANES);
}

/** Whether all columns turn, and the vectors that they divide into. */
function layout({ heads, E, turned, columns }: RopeShaderOptions) {
  return { whole: turned === heads && columns === E, width: Math.min(widthOf(E), widthOf(columns / 2)) as Width };
}

/**
 * x[N, heads·E], cos[P, columns/2], sin[P, columns/2] (, position[N or 1]) → y[N, heads·E]; uniform p: rows, first, T,
 * offset.
 */
export function rope(options: RopeShaderOptions): string {
  const { heads, E, turned, columns, inverse, position } = options;
  const { width, whole } = layout(options);
  const type = vectorType(width);
  const tables = ["x", "cos_table", "sin_table"].map((name) => `${name}: array<${type}>`);
  return wgsl`
struct P { rows: u32, first: u32, T: u32, offset: u32 }
const HALF = ${columns / 2 / width}u; // vectors of half of the columns that turn
const HEAD = ${E / width}u; // vectors of a head
${declareBuffers([...tables, ...(position === "row" ? [] : ["position: array<u32>"])], [`y: array<${type}>`])}

fn position_of(row: u32) -> u32 {
#if ${position === "each"}
  return position[p.first + row];
#elif ${position === "one"}
  return position[0];
#else
  return (p.first + row) % p.T + p.offset;
#endif
}
${flatMain(LANES)}
#if ${whole}
  let head = i / HALF; // over all rows
  let piece = i % HALF;
  let row = head / ${heads}u;
  if (row >= p.rows) { return; }
  let at = position_of(row) * HALF + piece;
  let c = cos_table[at];
  let s = ${inverse ? "-" : ""}sin_table[at];
  let low = head * 2u * HALF + piece;
  let high = low + HALF;
  let a = x[low];
  let b = x[high];
  y[low] = a * c - b * s;
  y[high] = b * c + a * s;
#else
  let row = i / ${heads}u / HEAD;
  if (row >= p.rows) { return; }
  let column = i % HEAD;
  if (i / HEAD % ${heads}u >= ${turned}u || column >= 2u * HALF) {
    y[i] = x[i];
    return;
  }
  let at = position_of(row) * HALF + column % HALF;
  let c = cos_table[at];
  let s = ${inverse ? "-" : ""}sin_table[at];
  if (column < HALF) {
    y[i] = x[i] * c - x[i + HALF] * s;
  } else {
    y[i] = x[i] * c + x[i - HALF] * s;
  }
#endif
}`;
}
