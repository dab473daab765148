// Elementwise over a matrix, with operands that are smaller: y[n, d] = f(x[n, d], b[d], s[n], c, t[n mod T, d]).
//
// One invocation per vector of y: `vec4f` where rows are a multiple of four (or no operand depends on rows), else one
// number. `expression` is WGSL over the operands as Vector; the scalar p.x is free.
import { flatMain } from "./lib/index.ts";
import { vectorsOf } from "./lib/rows.ts";
import { wgsl } from "./wgsl.ts";

/** Invocations of a workgroup. */
export const BROADCAST_LANES = 64;

/** Shape of an operand: `[N, D]`, `[D]`, `[N]`, `[1]`, word T of any, or `[P, D]` of which row n mod T is used. */
export type OperandKind = "matrix" | "columns" | "rows" | "single" | "word" | "cycle";

/** Options of {@linkcode broadcast}. */
export interface BroadcastOptions {
  /** Width of a row; without, y is a list and only `matrix` and `single` operands make sense. */
  readonly D?: number;
  /** Kinds of the operands by their names, in binding order. */
  readonly operands: Readonly<Record<string, OperandKind>>;
  /** The value as Vector, such as `"x + b"`. */
  readonly expression: string;
}

const LOADS: Readonly<Record<OperandKind, (name: string) => string>> = {
  matrix: (name) => `${name}_in[i]`,
  columns: (name) => `${name}_in[i % WIDTH]`,
  rows: (name) => `Vector(${name}_in[i / WIDTH])`,
  single: (name) => `Vector(${name}_in[0])`,
  word: (name) => `Vector(${name}_in[p.T])`,
  cycle: (name) => `${name}_in[(p.first + i / WIDTH) % p.T * WIDTH + i % WIDTH]`,
};

/** Numbers of a vector of y. */
export function broadcastStep(D: number | undefined): number {
  return D === undefined || vectorsOf(D).vector ? 4 : 1;
}

/** operands → y[N, D]; uniform p: count, first row, T, x. */
export function broadcast({ D, operands, expression }: BroadcastOptions): string {
  const step = broadcastStep(D);
  const entries = Object.entries(operands);
  const scalar = (kind: OperandKind) => ["rows", "single", "word"].includes(kind);
  const declarations = entries.map(([name, kind], i) =>
    `@group(0) @binding(${i}) var<storage, read> ${name}_in: array<${scalar(kind) ? "f32" : "Vector"}>;`
  ).join("\n");
  const loads = entries.map(([name, kind]) => `  let ${name} = ${LOADS[kind](name)};`).join("\n");
  return wgsl`
alias Vector = ${step === 4 ? "vec4f" : "f32"};
const WIDTH = ${D === undefined ? 1 : vectorsOf(D).width}u;
struct P { count: u32, first: u32, T: u32, x: f32 }
${declarations}
@group(0) @binding(${entries.length}) var<storage, read_write> y_out: array<Vector>;
@group(0) @binding(${entries.length + 1}) var<uniform> p: P;
${flatMain(BROADCAST_LANES)}
  if (${step}u * i >= p.count) { return; }
${loads}
  let value: Vector = ${expression};
#if ${step === 4}
  let inside = vec4u(4u * i) + vec4u(0u, 1u, 2u, 3u) < vec4u(p.count);
  y_out[i] = select(Vector(), value, inside);
#else
  y_out[i] = value;
#endif
}`;
}
