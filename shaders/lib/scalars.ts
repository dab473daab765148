// Where the numbers of a step are in the input `scalars: array<u32>`. The layout is that of src/core/scalars.ts.
import { wgsl } from "../wgsl.ts";

/** `SCALAR_LR`, `SCALAR_FIRST`, …: indices into `scalars`, and `scalar_f32(word)` for those that are real numbers. */
export function scalarWords(): string {
  return wgsl`
const SCALAR_SEED = 0u;
const SCALAR_STEP = 1u;
const SCALAR_LR = 2u;
const SCALAR_CORRECTION1 = 3u;
const SCALAR_CORRECTION2 = 4u;
const SCALAR_LOSS_SCALE = 5u;
const SCALAR_FIRST = 6u;
const SCALAR_SLOT = 7u;
const SCALAR_MAX_NORM = 8u;
const SCALAR_PENALTY = 9u;
const SCALAR_ALLOCATE = 10u;
fn scalar_f32(word: u32) -> f32 { return bitcast<f32>(scalars[word]); }`;
}
