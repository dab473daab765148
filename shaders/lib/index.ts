// Where an invocation is, when a dispatch of many workgroups was folded into two dimensions.
import { wgsl } from "../wgsl.ts";

/** `flat_workgroup(id, count)`: the number of the workgroup, whatever the fold. */
export function flatWorkgroup(): string {
  return wgsl`
fn flat_workgroup(id: vec3u, count: vec3u) -> u32 { return id.x + id.y * count.x; }`;
}
