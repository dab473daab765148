// What scores get by the distance of key and row, from a list over distances: L = T + S - 1 of them, d = s - t + T - 1.
//
//   forward    y[h, t, s] = x[s - t + T - 1, h]
//   backward   dx[d, h] = sum over t of dy[h, t, t + d - T + 1], where that key exists
//
// Forward: one invocation per number of y. Backward: one per distance and head, those of neighbouring distances side by
// side; it walks the rows in order. Each part of the rows h·T + t is one dispatch: the one that begins at 0 writes, the
// others add.
import { flatMain } from "./lib/index.ts";
import { wgsl } from "./wgsl.ts";

/** Invocations of a workgroup. */
export const RELATIVE_BIAS_LANES = 64;

const head = (read: string, write: string) =>
  wgsl`
struct Shape { rows: u32, first: u32, T: u32, S: u32, H: u32 }
@group(0) @binding(0) var<storage, read> ${read}: array<f32>;
@group(0) @binding(1) var<storage, read_write> ${write}: array<f32>;
@group(0) @binding(2) var<uniform> p: Shape;
${flatMain(RELATIVE_BIAS_LANES)}`;

/** x[L, H] → rows of y[H·T, S]; uniform p: rows, first, T, S, H. */
export function relativeBias(): string {
  return wgsl`${head("x", "y")}
  if (i >= p.rows * p.S) { return; }
  let row = p.first + i / p.S;
  let d = i % p.S + p.T - 1u - row % p.T;
  y[i] = x[d * p.H + row / p.T];
}`;
}

/** Rows of dy[H·T, S] → dx[L, H]; uniform p: rows, first, T, S, H. */
export function relativeBiasGrad(): string {
  return wgsl`${head("dy", "dx")}
  let L = p.T + p.S - 1u;
  if (i >= L * p.H) { return; }
  let d = i % L;
  let h = i / L;
  // Rows of this head and part whose key t + d - T + 1 is one of S.
  let from_t = max(max(i32(p.T) - 1 - i32(d), 0), i32(p.first) - i32(h * p.T));
  let to_t = min(min(i32(L) - i32(d), i32(p.T)), i32(p.first + p.rows) - i32(h * p.T));
  var sum = 0.0;
  for (var t = from_t; t < to_t; t++) {
    let row = h * p.T + u32(t) - p.first;
    sum += dy[row * p.S + u32(t) + d + 1u - p.T];
  }
  let at = d * p.H + h;
  if (p.first == 0u) { dx[at] = sum; } else { dx[at] += sum; }
}`;
}
