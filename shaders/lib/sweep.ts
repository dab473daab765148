// How a kernel that does the same to every vector of a long buffer shares it out: each invocation takes several vectors,
// a workgroup's width apart, so that neighbours in memory are read by neighbours and what does not change is loaded once.
import { wgsl } from "../wgsl.ts";
import { flatWorkgroup } from "./index.ts";

/** Invocations of a workgroup, and vectors of four that each of them takes. */
export interface Sweep {
  readonly lanes: number;
  readonly vectors: number;
}

/** Words that one workgroup covers. */
export function sweepWords({ lanes, vectors }: Sweep): number {
  return 4 * lanes * vectors;
}

/** `for (<sweep>) { … }` runs over the vectors `i` of one invocation; p.count has the words. Needs {@linkcode sweepMain}. */
export function sweepLoop({ lanes }: Sweep): string {
  return wgsl`var i = first; i < end; i += ${lanes}u`;
}

/** The head of `main`, up to where `first` and `end` are known; `group` is the number of the workgroup. */
export function sweepMain({ lanes, vectors }: Sweep): string {
  return wgsl`
${flatWorkgroup()}

@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let group = flat_workgroup(id, groups);
  let first = group * ${lanes * vectors}u + lane;
  let end = min(first + ${lanes * vectors}u, (p.count + 3u) / 4u);`;
}
