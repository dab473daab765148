// Gradient of a table of positions: dt[t] = Σ over sequences of dy[b·T + t] for t < T, and zeros behind.
//
// One invocation per vector of dt; it walks the sequences in order. Each part of the rows [first, first + rows) is one
// dispatch: the one that begins at 0 writes, the others add.
import { flatMain } from "./lib/index.ts";
import { vectorsOf } from "./lib/rows.ts";
import { wgsl } from "./wgsl.ts";

/** Invocations of a workgroup. */
export const POSITIONS_LANES = 64;

/** dy[rows, D] → dt[P, D]; uniform p: rows, first, T, P. */
export function positionsGrad({ D }: { readonly D: number }): string {
  const { vector, width } = vectorsOf(D);
  return wgsl`
alias Vector = ${vector ? "vec4f" : "f32"};
const WIDTH = ${width}u;
struct Shape { rows: u32, first: u32, T: u32, P: u32 }
@group(0) @binding(0) var<storage, read> dy: array<Vector>;
@group(0) @binding(1) var<storage, read_write> dt: array<Vector>;
@group(0) @binding(2) var<uniform> p: Shape;
${flatMain(POSITIONS_LANES)}
  let t = i / WIDTH;
  let c = i % WIDTH;
  if (t >= p.P) { return; }
  var sum = Vector();
  if (t < p.T) {
    // The first row of this part that has position t.
    for (var n = (t + p.T - p.first % p.T) % p.T; n < p.rows; n += p.T) { sum += dy[n * WIDTH + c]; }
  }
  if (p.first == 0u) { dt[i] = sum; } else { dt[i] += sum; }
}`;
}
