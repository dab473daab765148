// Random numbers as functions of a key and a counter: the same bits as src/core/random.ts, which explains them.
import { wgsl } from "../wgsl.ts";

/** `random(key, counter)`: a random word; `random_uniform(key, counter)`: a number in [0, 1) with 24 bits. */
export function randomWords(): string {
  return wgsl`
fn pcg(x: u32) -> u32 {
  let state = x * 747796405u + 2891336453u;
  let word = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
  return (word >> 22u) ^ word;
}
fn random(key: vec2u, counter: u32) -> u32 { return pcg(pcg(counter ^ key.x) + key.y); }
fn random_uniform(key: vec2u, counter: u32) -> f32 { return f32(random(key, counter) >> 8u) / 16777216.0; }`;
}
