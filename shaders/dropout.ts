// Dropout (arXiv:1207.0580): y[i] = x[i] / (1 - p) where random(key, i) ≥ p·2³², else 0. Its gradient is itself.
//
// The key is that of src/core/random.ts, `randomKey(seed, step, stream)`: nothing is stored, and a resumed run draws
// the same masks. One invocation computes the key once and then four vectors, one workgroup 64 · 4 of them.
import { flatWorkgroup } from "./lib/index.ts";
import { randomWords } from "./lib/random.ts";
import { scalarWords } from "./lib/scalars.ts";
import { wgsl } from "./wgsl.ts";

/** Invocations of a workgroup. */
export const DROPOUT_LANES = 64;

/** Vectors of four that one invocation computes: the key costs as much as about four of them. */
export const DROPOUT_VECTORS = 4;

/** x[count], scalars → y[count]; uniform p: count, number of the first element, stream, p·2³², 1 / (1 - p). */
export function dropout(): string {
  const vectors = Array.from({ length: DROPOUT_VECTORS }, (_, k) => `  drop(start + ${k * DROPOUT_LANES}u, key);`);
  return wgsl`
struct P { count: u32, first: u32, stream: u32, threshold: u32, scale: f32 }
@group(0) @binding(0) var<storage, read> x_in: array<vec4f>;
@group(0) @binding(1) var<storage, read> scalars: array<u32>;
@group(0) @binding(2) var<storage, read_write> y_out: array<vec4f>;
@group(0) @binding(3) var<uniform> p: P;
${flatWorkgroup()}
${scalarWords()}
${randomWords()}

fn chain(h: vec2u, word: u32) -> vec2u { return vec2u(pcg(pcg(h.x) + word), pcg(pcg(h.y) + word)); }
// An integer enters a key as a tag 0, its lower and its upper word.
fn chain_integer(h: vec2u, word: u32) -> vec2u { return chain(chain(chain(h, 0u), word), 0u); }
fn stream_key() -> vec2u {
  let start = vec2u(0x9e3779b9u, 0x7f4a7c15u);
  let run = chain_integer(chain_integer(start, scalars[SCALAR_SEED]), scalars[SCALAR_STEP]);
  return chain_integer(run, p.stream);
}

fn drop(i: u32, key: vec2u) {
  if (4u * i >= p.count) { return; }
  let at = vec4u(4u * i) + vec4u(0u, 1u, 2u, 3u);
  let c = at + p.first;
  let drawn = vec4u(random(key, c.x), random(key, c.y), random(key, c.z), random(key, c.w));
  let kept = (drawn >= vec4u(p.threshold)) & (at < vec4u(p.count));
  y_out[i] = select(vec4f(), x_in[i] * p.scale, kept);
}

@compute @workgroup_size(${DROPOUT_LANES})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let start = flat_workgroup(id, groups) * ${DROPOUT_LANES * DROPOUT_VECTORS}u + lane;
  if (4u * start >= p.count) { return; }
  let key = stream_key();
${vectors.join("\n")}
}`;
}
