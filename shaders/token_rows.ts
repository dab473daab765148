// Rows of a table that are trained in place of its own: slot[v] is 1 + the row's number among them, 0 for the others.
//
//   index     i[n] = slot[id[n]] - 1, 2³² - 1 for tokens that keep their row; other: the tokens that keep it, else V
//   rows      y[v, d] = slot[v] > 0 ? delta[slot[v] - 1, d] : w[v, d]
//
// One invocation per token, or per number of y. Slots are whole numbers in f32, exact below 2²⁴.
import { flatMain } from "./lib/index.ts";
import { wgsl } from "./wgsl.ts";

/** Invocations of a workgroup. */
export const TOKEN_LANES = 64;

/** ids[N], slots[V] → index u32[N]; uniform p: N, V. `other`: the tokens themselves where they keep their row. */
export function tokenIndex({ other }: { readonly other: boolean }): string {
  return wgsl`
struct P { N: u32, V: u32 }
@group(0) @binding(0) var<storage, read> ids: array<u32>;
@group(0) @binding(1) var<storage, read> slots: array<f32>;
@group(0) @binding(2) var<storage, read_write> index: array<u32>;
@group(0) @binding(3) var<uniform> p: P;
${flatMain(TOKEN_LANES, "n")}
  if (n >= p.N) { return; }
  let token = ids[n];
  var slot = 0u;
  if (token < p.V) { slot = u32(slots[token]); }
#if ${other}
  index[n] = select(token, p.V, slot > 0u);
#else
  index[n] = slot - 1u;
#endif
}`;
}

/** w[rows, D], slots[rows], delta[n, D] → y[rows, D]; uniform p: rows, D. */
export function replaceRows(): string {
  return wgsl`
struct P { rows: u32, D: u32 }
@group(0) @binding(0) var<storage, read> w: array<f32>;
@group(0) @binding(1) var<storage, read> slots: array<f32>;
@group(0) @binding(2) var<storage, read> delta: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> p: P;
${flatMain(TOKEN_LANES)}
  if (i >= p.rows * p.D) { return; }
  let slot = u32(slots[i / p.D]);
  var value = w[i];
  if (slot > 0u) { value = delta[(slot - 1u) * p.D + i % p.D]; }
  y[i] = value;
}`;
}

/** dy[V, D], rows[n] (numbers as f32) → ddelta[n, D]; uniform p: n, D. Rows of one part [first, last) are added. */
export function replacedGrad(): string {
  return wgsl`
struct P { count: u32, D: u32, first: u32, last: u32 }
@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read> rows: array<f32>;
@group(0) @binding(2) var<storage, read_write> dd: array<f32>;
@group(0) @binding(3) var<uniform> p: P;
${flatMain(TOKEN_LANES)}
  if (i >= p.count * p.D) { return; }
  let row = u32(rows[i / p.D]);
  if (row >= p.first && row < p.last) { dd[i] = dy[(row - p.first) * p.D + i % p.D]; }
}`;
}
