// What turns the losses of rows into one number: factor · sum over rows, always added in the same order. One workgroup.
import { IGNORE_INDEX } from "./cross_entropy.ts";
import { declareBuffers } from "./lib/bindings.ts";
import { type LaneGroup, reduction } from "./lib/reduce.ts";
import { wgsl } from "./wgsl.ts";

/** Options of the kernels that add up one number a row, on one workgroup. */
export interface CrossEntropySumOptions {
  readonly group: LaneGroup;
  /** Whether there are class weights. */
  readonly weighted?: boolean;
  /** Whether a word of a buffer multiplies the result. */
  readonly factor: boolean;
}

/** labels[N] (, class_weights[V]) (, factor[·]) → y[1] = factor / sum of the weights of the labels; 0 if none counts. */
export function crossEntropyMeanFactor({ group, weighted = false, factor }: CrossEntropySumOptions): string {
  const reads = [
    "labels: array<u32>",
    ...(weighted ? ["class_weights: array<f32>"] : []),
    ...(factor ? ["factor: array<f32>"] : []),
  ];
  return wgsl`
struct P { count: u32, word: u32 }
${declareBuffers(reads, ["y: array<f32>"])}
${reduction(group, { name: "label_sum", type: "f32", combine: "sum" })}

@compute @workgroup_size(${group.lanes})
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  for (var i = lane; i < p.count; i += ${group.lanes}u) {
    let label = labels[i];
    if (label != ${IGNORE_INDEX}u) {
#if ${weighted}
      sum += class_weights[label];
#else
      sum += 1.0;
#endif
    }
  }
  let all = label_sum(sum, lane);
  var y_value = 1.0;
#if ${factor}
  y_value = factor[p.word];
#endif
  if (lane == 0u) { y[0] = select(y_value / all, 0.0, all == 0.0); }
}`;
}

/** rows[N] (, factor[·]) → y[1] = factor · sum of the rows, always added in the same order. */
export function crossEntropySum({ group, factor }: CrossEntropySumOptions): string {
  return wgsl`
struct P { count: u32, word: u32 }
${declareBuffers(["rows: array<f32>", ...(factor ? ["factor: array<f32>"] : [])], ["y: array<f32>"])}
${reduction(group, { name: "row_sum", type: "f32", combine: "sum" })}

@compute @workgroup_size(${group.lanes})
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  for (var i = lane; i < p.count; i += ${group.lanes}u) { sum += rows[i]; }
  var all = row_sum(sum, lane);
#if ${factor}
  all *= factor[p.word];
#endif
  if (lane == 0u) { y[0] = all; }
}`;
}
