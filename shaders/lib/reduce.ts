// Sums and maxima over the lanes that share a row; every lane gets the result.
//
// `shuffle`: the lanes are one subgroup and exchange values in registers (the software driver, where a barrier and
// workgroup memory cost more than the row). Otherwise: a tree in workgroup memory, which every device can run.
// Both trees have a fixed order, so results are the same in every run.
import { wgsl } from "../wgsl.ts";

/** The invocations that share one row. */
export interface LaneGroup {
  /** How many; a power of two. */
  readonly lanes: number;
  /** Whether they are exactly one subgroup. */
  readonly shuffle: boolean;
}

/** Options of {@linkcode reduction}. */
export interface ReductionOptions {
  /** Name of the function. */
  readonly name: string;
  readonly type: "f32" | "vec2f";
  readonly combine: "sum" | "max";
}

/** `name(value, lane)`: the sum or maximum of `value` over the lanes of the group; in uniform control flow only. */
export function reduction({ lanes, shuffle }: LaneGroup, { name, type, combine }: ReductionOptions): string {
  const join = (a: string, b: string) => combine === "sum" ? `${a} + ${b}` : `max(${a}, ${b})`;
  const halves = Array.from({ length: Math.log2(lanes) }, (_, i) => lanes >> (i + 1));
  const part = `${name}_part`;
  const shuffles = halves.map((half) => `  v = ${join("v", `subgroupShuffleXor(v, ${half}u)`)};`).join("\n");
  const tree = halves.map((half) =>
    `  if (lane < ${half}u) { ${part}[lane] = ${join(`${part}[lane]`, `${part}[lane + ${half}u]`)}; }
  workgroupBarrier();`
  ).join("\n");
  return wgsl`
#if ${shuffle}
fn ${name}(value: ${type}, lane: u32) -> ${type} {
  var v = value;
${shuffles}
  return v;
}
#else
var<workgroup> ${part}: array<${type}, ${lanes}>;
fn ${name}(value: ${type}, lane: u32) -> ${type} {
  ${part}[lane] = value;
  workgroupBarrier();
${tree}
  let result = ${part}[0];
  workgroupBarrier();
  return result;
}
#endif`;
}
