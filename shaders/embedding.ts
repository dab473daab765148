// Rows of a table by their numbers, and the table's gradient without atomics.
//
//   forward    y[n]  = table[id[n]]                 one invocation per vector of y; ids outside the table give zeros
//   gradient   dt[v] = Σ of dy[n] over id[n] = v    for a block of positions: embeddingLinks, then embeddingGrad
//
// The links chain the positions of one id in ascending order; the invocations of the first position walk the chain,
// one per vector of columns, and add their sum to the row, which is zero or has another use's gradient. Work is
// O(N·block + N·D), and sums have a fixed order.
import { flatWorkgroup } from "./lib/index.ts";
import { packedType, twoHalves } from "./lib/packed.ts";
import { vectorsOf } from "./lib/rows.ts";
import { wgsl } from "./wgsl.ts";

/** Invocations of a workgroup. */
export const EMBEDDING_LANES = 64;

/** Vectors of four ids that one turn of the search compares. */
export const SEARCH_UNROLL = 4;

const types = (D: number) => {
  const { vector, width } = vectorsOf(D);
  return `alias Vector = ${vector ? "vec4f" : "f32"};
const WIDTH = ${width}u;`;
};

const main = `@compute @workgroup_size(${EMBEDDING_LANES})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {`;

/** Options of {@linkcode embedding}. */
export interface EmbeddingOptions {
  readonly D: number;
  /** Format of the table where it is not f32; D is even then. */
  readonly packed?: "f16" | "bf16";
}

/**
 * table[hi - lo, D], ids[N] → the rows of y[N, D] whose id lies in [lo, hi); uniform p: N, lo, hi, V.
 * The part that begins at 0 also clears the rows whose id is V or more.
 */
export function embedding({ D, packed }: EmbeddingOptions): string {
  const { vector } = vectorsOf(D);
  return wgsl`
struct P { N: u32, lo: u32, hi: u32, V: u32 }
${types(D)}
@group(0) @binding(0) var<storage, read> table: ${packed ? packedType(packed, vector) : "array<Vector>"};
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read_write> y_out: array<Vector>;
@group(0) @binding(3) var<uniform> p: P;
${flatWorkgroup()}
#if ${packed === undefined}
fn entry(i: u32) -> Vector { return table[i]; }
#else
${packed ? twoHalves(packed) : ""}
#endif
#if ${packed !== undefined && vector}
fn entry(i: u32) -> Vector { return vec4f(two_halves(table[i].x), two_halves(table[i].y)); }
#elif ${packed !== undefined}
fn entry(i: u32) -> Vector { return two_halves(table[i / 2u])[i % 2u]; }
#endif

${main}
  let i = flat_workgroup(id, groups) * ${EMBEDDING_LANES}u + lane;
  let n = i / WIDTH;
  if (n >= p.N) { return; }
  let v = ids[n];
  if (v >= p.lo && v < p.hi) {
    y_out[i] = entry((v - p.lo) * WIDTH + i % WIDTH);
  } else if (p.lo == 0u && v >= p.V) {
    y_out[i] = Vector();
  }
}`;
}

/** The mark of a position that is not the first of its id in its block. */
const LATER = "0x80000000u";

/**
 * ids[N] → links[N]: the next position with the same id in this block of positions (N where there is none), and a
 * mark where there is an earlier one; uniform p: N.
 */
export function embeddingLinks(): string {
  const names = Array.from({ length: SEARCH_UNROLL }, (_, k) => k);
  return wgsl`
struct P { N: u32 }
@group(0) @binding(0) var<storage, read> ids: array<vec4u>;
@group(0) @binding(1) var<storage, read_write> links: array<u32>;
@group(0) @binding(2) var<uniform> p: P;
${flatWorkgroup()}

// The positions 4·j … 4·j + 3: those that match, as the numbers of the first one after n and of the first one at all.
fn after(n: u32, j: u32, same: vec4<bool>) -> u32 {
  let at = vec4u(4u * j) + vec4u(0u, 1u, 2u, 3u);
  let hit = select(vec4u(p.N), at, same & (at > vec4u(n)) & (at < vec4u(p.N)));
  return min(min(hit.x, hit.y), min(hit.z, hit.w));
}

${main}
  let n = flat_workgroup(id, groups) * ${EMBEDDING_LANES}u + lane;
  if (n >= p.N) { return; }
  let own = vec4u(ids[n / 4u][n % 4u]);
  var next = p.N;
  var first = p.N;
  let vectors = (p.N + 3u) / 4u;
  for (var j = 0u; j < vectors; j += ${SEARCH_UNROLL}u) {
${names.map((k) => `    let j${k} = min(j + ${k}u, vectors - 1u); let same${k} = ids[j${k}] == own;`).join("\n")}
${names.map((k) => `    next = min(next, after(n, j${k}, same${k}));`).join("\n")}
${names.map((k) => `    if (any(same${k})) { first = min(first, 4u * j${k}); }`).join("\n")}
  }
  // The first match at all lies in vector first / 4: it is n itself unless one of its lanes before n matches.
  let lead = ids[first / 4u] == own;
  let start = first + select(select(select(3u, 2u, lead.z), 1u, lead.y), 0u, lead.x);
  links[n] = select(next | ${LATER}, next, start == n);
}`;
}

/**
 * links[N], ids[N], dy[N, D] → dt[hi - lo, D] += sums over this block; uniform p: N, lo, hi.
 * Workgroup [x, y] = [64 vectors of columns, position].
 */
export function embeddingGrad({ D }: { readonly D: number }): string {
  return wgsl`
struct P { N: u32, lo: u32, hi: u32 }
${types(D)}
@group(0) @binding(0) var<storage, read> links: array<u32>;
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read> dy: array<Vector>;
@group(0) @binding(3) var<storage, read_write> dt: array<Vector>;
@group(0) @binding(4) var<uniform> p: P;

@compute @workgroup_size(${EMBEDDING_LANES})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) lane: u32) {
  let c = id.x * ${EMBEDDING_LANES}u + lane;
  var n = id.y;
  let v = ids[n];
  if (c >= WIDTH || v < p.lo || v >= p.hi || (links[n] & ${LATER}) != 0u) { return; }
  var sum = Vector();
  while (n < p.N) {
    sum += dy[n * WIDTH + c];
    n = links[n] & ~${LATER};
  }
  dt[(v - p.lo) * WIDTH + c] += sum;
}`;
}
