// One output element per input element: y[i] = f(a[i], b[i], …), on vectors of four; or two, y[i] and z[i].
//
// One invocation per vector; `expression` is WGSL over the vectors named in `reads` and the scalars p.x, p.y, p.z.
// The lanes behind the last element are written as zero, so that padding inside flat storage stays clear.
import { flatMain } from "./lib/index.ts";
import { wgsl } from "./wgsl.ts";

/** Invocations of a workgroup. */
export const ELEMENTWISE_LANES = 64;

/** Options of {@linkcode elementwise}. */
export interface ElementwiseOptions {
  /** Names of the operands in the expression, in binding order. */
  readonly reads: readonly string[];
  /** The value as `vec4f`, such as `"a + b"`. */
  readonly expression: string;
  /** The value of a second output, bound behind the first. */
  readonly second?: string;
  /** WGSL functions that the expressions call. */
  readonly functions?: string;
}

/** a[n], b[n], … → y[n] (, z[n]); uniform p: count, x, y, z. */
export function elementwise({ reads, expression, second, functions = "" }: ElementwiseOptions): string {
  const two = second !== undefined;
  const uniform = reads.length + (two ? 2 : 1);
  const declarations = reads.map((name, i) => `@group(0) @binding(${i}) var<storage, read> ${name}_in: array<vec4f>;`)
    .join("\n");
  const loads = reads.map((name) => `  let ${name} = ${name}_in[i];`).join("\n");
  return wgsl`
struct P { count: u32, x: f32, y: f32, z: f32 }
${declarations}
@group(0) @binding(${reads.length}) var<storage, read_write> y_out: array<vec4f>;
#if ${two}
@group(0) @binding(${reads.length + 1}) var<storage, read_write> z_out: array<vec4f>;
#endif
@group(0) @binding(${uniform}) var<uniform> p: P;
${functions}
${flatMain(ELEMENTWISE_LANES)}
  if (4u * i >= p.count) { return; }
${loads}
  let value: vec4f = ${expression};
  let inside = vec4u(4u * i) + vec4u(0u, 1u, 2u, 3u) < vec4u(p.count);
  y_out[i] = select(vec4f(), value, inside);
#if ${two}
  let other: vec4f = ${second ?? ""};
  z_out[i] = select(vec4f(), other, inside);
#endif
}`;
}
