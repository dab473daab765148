// The text so far, tokens[S, Tmax]: what a decoding program reads at its position and writes behind it.
//
//   token[s] = tokens[s, position[s]]
//   tokens[s, position[s] + 1] = next[s]    unless the prompt of length[s] tokens already says what stands there
//
// One invocation per sequence.
import { wgsl } from "./wgsl.ts";

/** Invocations of a workgroup. */
export const TOKENS_LANES = 64;

/** tokens[S, Tmax], position[S] → token[S], all u32; uniform p: S, Tmax. */
export function tokenAt(): string {
  return wgsl`
struct P { S: u32, Tmax: u32 }
@group(0) @binding(0) var<storage, read> tokens: array<u32>;
@group(0) @binding(1) var<storage, read> position: array<u32>;
@group(0) @binding(2) var<storage, read_write> token: array<u32>;
@group(0) @binding(3) var<uniform> p: P;

@compute @workgroup_size(${TOKENS_LANES})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let s = id.x;
  if (s >= p.S) { return; }
  token[s] = tokens[s * p.Tmax + min(position[s], p.Tmax - 1u)];
}`;
}

/** next[S], length[S], position[S] → tokens[S, Tmax] in place, all u32; uniform p: S, Tmax. */
export function putToken(): string {
  return wgsl`
struct P { S: u32, Tmax: u32 }
@group(0) @binding(0) var<storage, read> next: array<u32>;
@group(0) @binding(1) var<storage, read> length: array<u32>;
@group(0) @binding(2) var<storage, read> position: array<u32>;
@group(0) @binding(3) var<storage, read_write> tokens: array<u32>;
@group(0) @binding(4) var<uniform> p: P;

@compute @workgroup_size(${TOKENS_LANES})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let s = id.x;
  if (s >= p.S) { return; }
  let at = position[s] + 1u;
  if (at >= length[s] && at < p.Tmax) { tokens[s * p.Tmax + at] = next[s]; }
}`;
}
