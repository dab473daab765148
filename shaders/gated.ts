// A gated activation of one matrix: gate and up are the halves of its rows, as Phi-3 projects them.
//
//   y[n, f] = act(x[n, f]) · x[n, F + f]        dx[n, f] = dy · x[n, F + f] · act'(x[n, f])    dx[n, F + f] = dy · act(x[n, f])
//
// One invocation per vector of y, as wide as divides F; the activation itself is written for vectors of four.
import { declareBuffers } from "./lib/bindings.ts";
import { flatMain } from "./lib/index.ts";
import { vectorType, widthOf } from "./lib/vector.ts";
import { wgsl } from "./wgsl.ts";

/** Invocations of a workgroup. */
export const GATED_LANES = 64;

/** Options of {@linkcode gatedPacked}. */
export interface GatedPackedOptions {
  /** Columns of y. */
  readonly F: number;
  /** WGSL functions `name(x)` and `name_slope(x)` on vec4f. */
  readonly functions: string;
  readonly name: string;
}

/** Workgroups for so many rows. */
export function gatedWorkgroups(rows: number, F: number): number {
  return Math.ceil(rows * F / widthOf(F) / GATED_LANES);
}

function text(
  { F, functions }: GatedPackedOptions,
  { reads, writes, body }: {
    readonly reads: readonly string[];
    readonly writes: readonly string[];
    readonly body: string;
  },
): string {
  const width = widthOf(F);
  const type = vectorType(width);
  return wgsl`
struct P { rows: u32 }
const F = ${F / width}u; // vectors of a row of y
${declareBuffers(reads.map((name) => `${name}: array<${type}>`), writes.map((name) => `${name}: array<${type}>`))}
${functions}
#if ${width === 4}
fn wide(x: vec4f) -> vec4f { return x; }
fn narrow(x: vec4f) -> vec4f { return x; }
#elif ${width === 2}
fn wide(x: vec2f) -> vec4f { return vec4f(x, 0.0, 0.0); }
fn narrow(x: vec4f) -> vec2f { return x.xy; }
#else
fn wide(x: f32) -> vec4f { return vec4f(x, 0.0, 0.0, 0.0); }
fn narrow(x: vec4f) -> f32 { return x.x; }
#endif
${flatMain(GATED_LANES)}
  if (i >= p.rows * F) { return; }
  let gate_at = i / F * 2u * F + i % F;
  let up_at = gate_at + F;
${body}
}`;
}

/** x[N, 2·F] → y[N, F]; uniform p: rows. */
export function gatedPacked(options: GatedPackedOptions): string {
  const body = `  y[i] = narrow(${options.name}(wide(x[gate_at]))) * x[up_at];`;
  return text(options, { reads: ["x"], writes: ["y"], body });
}

/** x[N, 2·F], dy[N, F] → dx[N, 2·F]; uniform p: rows. */
export function gatedPackedGrad(options: GatedPackedOptions): string {
  const body = `  let gate = wide(x[gate_at]);
  let d = dy[i];
  dx[gate_at] = d * x[up_at] * narrow(${options.name}_slope(gate));
  dx[up_at] = d * narrow(${options.name}(gate));`;
  return text(options, { reads: ["x", "dy"], writes: ["dx"], body });
}
