// Where an invocation is, when a dispatch of many workgroups was folded into two dimensions.
import { wgsl } from "../wgsl.ts";

/** `flat_workgroup(id, count)`: the number of the workgroup, whatever the fold. */
export function flatWorkgroup(): string {
  return wgsl`
fn flat_workgroup(id: vec3u, count: vec3u) -> u32 { return id.x + id.y * count.x; }`;
}

/** The entry point of one invocation for each number, in workgroups of `lanes`; the numbers go on behind the last one. */
export function flatMain(lanes: number, number = "i"): string {
  return wgsl`${flatWorkgroup()}

@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let ${number} = flat_workgroup(id, groups) * ${lanes}u + lane;`;
}
