// Tokens that may not come yet: y[s, v] = LOW while position[s] + 1 < until[s] and v is one of them, else x[s, v].
//
// One invocation per logit.
import { declareBuffers } from "./lib/bindings.ts";
import { flatMain } from "./lib/index.ts";
import { wgsl } from "./wgsl.ts";

/** Invocations of a workgroup. */
export const FORBID_LANES = 64;

/** x[n, V], position u32 [N], until u32 [N] → y[n, V]; uniform p: rows n, first of them, V. */
export function forbidTokens(ids: readonly number[]): string {
  return wgsl`
struct P { rows: u32, first: u32, V: u32 }
const LOW = -1.0e30;
${declareBuffers(["x: array<f32>", "position: array<u32>", "until: array<u32>"], ["y: array<f32>"])}
${flatMain(FORBID_LANES)}
  if (i >= p.rows * p.V) { return; }
  let s = p.first + i / p.V;
  let v = i % p.V;
  let early = position[s] + 1u < until[s];
  y[i] = select(x[i], LOW, early && (${ids.map((token) => `v == ${token}u`).join(" || ")}));
}`;
}
