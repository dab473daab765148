// The text so far, tokens[S, Tmax], and where a decoding program is in it:
//
//   tokens[s, position[s] + 1] = current[s] = next[s];  position[s] += 1
//
// One invocation per sequence. Behind the end of the text nothing is written, and the position stays.
import { wgsl } from "./wgsl.ts";

/** Invocations of a workgroup. */
export const TOKENS_LANES = 64;

/** next[S] → tokens[S, Tmax], current[S], position[S], all u32 and in place; uniform p: S, Tmax. */
export function putToken(): string {
  return wgsl`
struct P { S: u32, Tmax: u32 }
@group(0) @binding(0) var<storage, read> next: array<u32>;
@group(0) @binding(1) var<storage, read_write> tokens: array<u32>;
@group(0) @binding(2) var<storage, read_write> current: array<u32>;
@group(0) @binding(3) var<storage, read_write> position: array<u32>;
@group(0) @binding(4) var<uniform> p: P;

@compute @workgroup_size(${TOKENS_LANES})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let s = id.x;
  if (s >= p.S) { return; }
  let at = position[s] + 1u;
  if (at >= p.Tmax) { return; }
  tokens[s * p.Tmax + at] = next[s];
  current[s] = next[s];
  position[s] = at;
}`;
}
