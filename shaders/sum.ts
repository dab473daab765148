// Sums in a fixed order: of all elements (two kernels) and of each row.
//
//   partialSums   s[i] = Σ of term(j) over the vectors j = i, i + S, i + 2·S, …   one invocation per partial sum
//   rowSum        y[n] = scale · Σ_d x[n, d]                                      one group of lanes per row
import { flatMain, flatWorkgroup } from "./lib/index.ts";
import { type LaneGroup, reduction } from "./lib/reduce.ts";
import { rowMain, type RowShader, rowWalk } from "./lib/rows.ts";
import { wgsl } from "./wgsl.ts";

/** Invocations of a workgroup. */
export const SUM_LANES = 64;

/** Options of {@linkcode partialSums}. */
export interface PartialSumsOptions {
  /** Names of the operands, in binding order. */
  readonly reads: readonly string[];
  /** What is added, as `vec4f`, such as `"a * b"`. */
  readonly term: string;
}

/** a[count], … → s[S]; uniform p: count, S. */
export function partialSums({ reads, term }: PartialSumsOptions): string {
  const declarations = reads.map((name, i) => `@group(0) @binding(${i}) var<storage, read> ${name}_in: array<vec4f>;`)
    .join("\n");
  const loads = reads.map((name) => `    let ${name} = ${name}_in[j];`).join("\n");
  return wgsl`
struct P { count: u32, S: u32 }
${declarations}
@group(0) @binding(${reads.length}) var<storage, read_write> s_out: array<f32>;
@group(0) @binding(${reads.length + 1}) var<uniform> p: P;
${flatMain(SUM_LANES)}
  if (i >= p.S) { return; }
  var sum = vec4f();
  for (var j = i; 4u * j < p.count; j += p.S) {
${loads}
    let value: vec4f = ${term};
    let inside = vec4u(4u * j) + vec4u(0u, 1u, 2u, 3u) < vec4u(p.count);
    sum += select(vec4f(), value, inside);
  }
  s_out[i] = (sum.x + sum.y) + (sum.z + sum.w);
}`;
}

/** Options of {@linkcode rowSum}. */
export interface RowSumOptions {
  /** Width of a row. */
  readonly D: number;
  readonly group: LaneGroup;
}

/** x[N, D] → y[N]; uniform p: rows, scale. */
export function rowSum({ D, group }: RowSumOptions): RowShader {
  const row = rowWalk({ D, group, values: { x: "x_in[start + c]" } });
  const text = wgsl`
struct P { rows: u32, scale: f32 }
${row.header}
@group(0) @binding(0) var<storage, read> x_in: array<Vector>;
@group(0) @binding(1) var<storage, read_write> y_out: array<f32>;
@group(0) @binding(2) var<uniform> p: P;
${flatWorkgroup()}
${reduction(group, { name: "row_sum", type: "f32", combine: "sum" })}
${rowMain(group.lanes)}
  let start = n * WIDTH;
${row.load}
  var sum = Vector();
${row.pass("sum += x;")}
  let y = p.scale * row_sum(total(sum), lane);
  if (lane == 0u) { y_out[n] = y; }
}`;
  return { wgsl: text, trips: row.trips };
}
