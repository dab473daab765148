// Random numbers as functions of a key and a counter: the same bits as src/core/random.ts, which explains them.
import { wgsl } from "../wgsl.ts";

/**
 * `random_key(a, b, c)`: `randomKey` of three words, the first of them the seed; `random(key, counter)`: a random word;
 * `random_uniform(key, counter)`: a number in [0, 1) with 24 bits.
 */
export function randomWords(): string {
  return wgsl`
fn pcg(x: u32) -> u32 {
  let state = x * 747796405u + 2891336453u;
  let word = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
  return (word >> 22u) ^ word;
}
fn key_with(key: vec2u, word: u32) -> vec2u { return vec2u(pcg(pcg(key.x) + word), pcg(pcg(key.y) + word)); }
// An integer enters a key as a tag 0, its lower and its upper word.
fn key_with_integer(key: vec2u, x: u32) -> vec2u { return key_with(key_with(key_with(key, 0u), x), 0u); }
fn random_key(a: u32, b: u32, c: u32) -> vec2u {
  let start = vec2u(0x9e3779b9u, 0x7f4a7c15u);
  return key_with_integer(key_with_integer(key_with_integer(start, a), b), c);
}
fn random(key: vec2u, counter: u32) -> u32 { return pcg(pcg(counter ^ key.x) + key.y); }
fn random_uniform(key: vec2u, counter: u32) -> f32 { return f32(random(key, counter) >> 8u) / 16777216.0; }`;
}
