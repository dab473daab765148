// c = alpha · a·b (+ low) (+ bias) (+ add) for so few rows that reading b is all the work, on GPUs.
//
//   nt  b[N, K]: a team of 32 lanes walks one row of b in vectors, and the teams of a workgroup take neighbouring rows.
//   nn  b[K, N]: a lane walks down four columns, over every (lanes / columns)-th row of b.
// The shares are added by a tree in workgroup memory. Up to four rows of a share the loads of b; rows beyond are further
// workgroups, which find b in the cache. Workgroup [x, y] = [columns, rows of a].
import { lowSum } from "./lib/low_sum.ts";
import { type ProductFeatures, productLoader, productPrelude, unroll } from "./lib/product.ts";
import { wgsl } from "./wgsl.ts";

/** How the lanes of a workgroup lie over b. */
export interface MatvecShape {
  /** Invocations of a workgroup, a power of two. */
  readonly lanes: number;
  /** Rows of b (nt) or vectors of four columns (nn) that a workgroup takes, a power of two. */
  readonly columns: number;
  /** Rows of a that share the loads of b, up to four. */
  readonly rows: number;
}

/** Options of {@linkcode matvecWorkgroup}. */
export interface MatvecWorkgroupOptions extends ProductFeatures {
  readonly shape: MatvecShape;
}

/** Vectors of b that a lane loads before it uses any. */
const LOADS = { nt: 2, nn: 4 };

/** Loop iterations of an invocation. */
export function matvecTrips(
  { K, tb, shape: { lanes, columns } }: { readonly K: number; readonly tb: boolean; readonly shape: MatvecShape },
): number {
  const share = lanes / columns;
  return tb ? Math.ceil(K / (4 * LOADS.nt * share)) : Math.ceil(K / (LOADS.nn * share));
}

/** a[M, K], b[K, N] or [N, K], (bias[N]), (add[M, N]), (low_a[M, R], low_b) → c[M, N] */
export function matvecWorkgroup(options: MatvecWorkgroupOptions): string {
  const { shape: { lanes, columns, rows }, tb, vectors, packed, parts } = options;
  return wgsl`
const SHARES = ${lanes / columns}u; // lanes that share a column
const ROWS = ${rows}u;
${productPrelude(options)}
${productLoader("a", vectors.a)}
${productLoader("b", vectors.b, packed)}
${lowSum(options)}
var<workgroup> share: array<vec4f, ${lanes}>;

@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) lane: u32) {
  let batch = id.z;
  let part = part_of(batch);
  let m0 = id.y * ROWS;
#if ${parts}
  if (m0 >= part.M || id.x * ${columns * (tb ? 1 : 4)}u >= part.N) { return; }
#endif
  let b_start = start(p.b, batch) + part.b;
${unroll(rows, (m) => `  let a${m}_at = start(p.a, batch) + part.a + min(m0 + ${m}u, part.M - 1u) * p.a.stride;`)}
  let at = home(batch);
${tb ? rowsOfB(options) : columnsOfB(options)}
}`;
}

// The lanes of a team are neighbours: they read 512 bytes of a row together.
function rowsOfB({ shape: { lanes, columns, rows } }: MatvecWorkgroupOptions): string {
  const shares = lanes / columns;
  const halves = Array.from({ length: Math.log2(shares) }, (_, i) => shares >> (i + 1));
  const xyzw = "xyzw";
  return wgsl`
  let n = id.x * ${columns}u + lane / SHARES;
  let own = lane % SHARES;
  let b_at = b_start + min(n, part.N - 1u) * p.b.stride;
  var sums = vec4f();
  for (var k = 4u * own; k < part.K; k += ${4 * LOADS.nt}u * SHARES) {
${unroll(LOADS.nt, (i) => `    let k${i} = min(k + ${4 * i}u * SHARES, part.K - 4u);`)}
${unroll(LOADS.nt, (i) => `    let b${i} = select(vec4f(), load_b(b_at + k${i}), k + ${4 * i}u * SHARES < part.K);`)}
${unroll(rows, (m) => unroll(LOADS.nt, (i) => `    sums.${xyzw[m]} += dot(load_a(a${m}_at + k${i}), b${i});`))}
  }
  share[lane] = sums;
  workgroupBarrier();
${
    halves.map((half) =>
      `  if (own < ${half}u) { share[lane] += share[lane + ${half}u]; }
  workgroupBarrier();`
    ).join("\n")
  }
  if (own < ROWS) { finish(share[lane - own][own] + low_sum(batch, m0 + own, n), at, m0 + own, n); }`;
}

// Neighbouring lanes take neighbouring columns; a row of a after the other is added up in the same memory.
function columnsOfB({ shape: { lanes, columns, rows } }: MatvecWorkgroupOptions): string {
  const halves = Array.from({ length: Math.log2(lanes / columns) }, (_, i) => lanes >> (i + 1));
  return wgsl`
  let n = 4u * (id.x * ${columns}u + lane % ${columns}u);
  let own = lane / ${columns}u;
  let b_at = b_start + min(n, part.N - 4u);
${unroll(rows, (m) => `  var sum${m} = vec4f();`)}
  for (var k = own; k < part.K; k += ${LOADS.nn}u * SHARES) {
${unroll(LOADS.nn, (i) => `    let k${i} = min(k + ${i}u * SHARES, part.K - 1u);`)}
${
    unroll(LOADS.nn, (i) =>
      `    let b${i} = select(vec4f(), load_b(b_at + k${i} * p.b.stride), k + ${i}u * SHARES < part.K);`)
  }
${unroll(rows, (m) => unroll(LOADS.nn, (i) => `    sum${m} += b${i} * word_a(a${m}_at + k${i});`))}
  }
${
    unroll(rows, (m) => `
  share[lane] = sum${m};
  workgroupBarrier();
${
      halves.map((half) =>
        `  if (lane < ${half}u) { share[lane] += share[lane + ${half}u]; }
  workgroupBarrier();`
      ).join("\n")
    }
  if (lane < ${columns}u) {
    let m = m0 + ${m}u;
    finish4(share[lane] + vec4f(low_sum(batch, m, n), low_sum(batch, m, n + 1u), low_sum(batch, m, n + 2u), low_sum(batch, m, n + 3u)), at, m, n);
  }
  workgroupBarrier();`)
  }`;
}
