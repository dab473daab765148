// The skinny products of LoRA on GPUs, bound by memory: one side of c is as narrow as the rank.
//
//   matmulDown      c = a·b, few columns (h = x·Aᵀ, dh = dy·B): a workgroup owns a few rows and reads them once, its
//                   lanes stride over the summands, and their sums meet in workgroup memory.
//   matmulGradient  c = aᵀ·b, few rows or few columns (dA = dhᵀ·x, dB = dyᵀ·h): a lane owns four neighbours of the long
//                   side and all of the narrow one; the narrow operand's word is the same for all lanes.
//
// Operands are read as vectors. Workgroup [x, y, z] = [tile of the long side, 0, batch].
import { type ProductFeatures, productLoader, productPrelude, unroll } from "./lib/product.ts";
import { wgsl } from "./wgsl.ts";

/** Lanes of a workgroup of {@linkcode matmulDown}. */
const DOWN_LANES = 32;

/** Lanes of a workgroup of {@linkcode matmulGradient}. */
const GRADIENT_LANES = 64;

/** Summands of {@linkcode matmulGradient} whose loads are under way together. */
const AHEAD = 4;

/** Options of {@linkcode matmulDown}. */
export interface DownOptions extends ProductFeatures {
  /** Columns of c, a multiple of four. */
  readonly N: number;
}

/** Rows of c of one workgroup: as many accumulators as fit a lane's registers. */
export function downRows(N: number): number {
  return N <= 16 ? 4 : 2;
}

/** Loop iterations of a lane for K summands. */
export function downTrips(K: number): number {
  return Math.ceil(K / 4 / DOWN_LANES) + DOWN_LANES;
}

/** a[M, K], b[K, N], (bias[N]), (add[M, N]) → c[M, N]; K a multiple of four. */
export function matmulDown(options: DownOptions): string {
  const { N, tb } = options;
  const rows = downRows(N), quads = N / 4;
  const four = (text: (j: number) => string) => [0, 1, 2, 3].map(text).join(", ");
  // b as four columns of a quad (stored along K) or as four rows (stored along N); both give the quad's share of a row.
  const load = (g: number, j: number) =>
    tb ? `load_b(b_start + ${4 * g + j}u * p.b.stride + k)` : `load_b(b_start + (k + ${j}u) * p.b.stride + ${4 * g}u)`;
  return wgsl`
${productPrelude(options)}
${productLoader("a", true)}
${productLoader("b", true, options.packed)}
var<workgroup> sums: array<array<vec4f, ${DOWN_LANES}>, ${rows * quads}>;

@compute @workgroup_size(${DOWN_LANES})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) lane: u32) {
  let batch = id.z;
  let m0 = id.x * ${rows}u;
  let part = part_of(batch);
  let a_start = start(p.a, batch) + part.a + m0 * p.a.stride;
  let b_start = start(p.b, batch) + part.b;
${unroll(rows * quads, (i) => `  var c${i} = vec4f();`)}
  for (var k = 4u * lane; k < part.K; k += ${4 * DOWN_LANES}u) {
${unroll(rows, (i) => `    let a${i} = load_a(a_start + ${i}u * p.a.stride + k);`)}
${
    unroll(quads, (g) =>
      `    { let b = mat4x4f(${four((j) => load(g, j))});
${unroll(rows, (i) => `      c${i * quads + g} += ${tb ? `a${i} * b` : `b * a${i}`};`)} }`)
  }
  }
${unroll(rows * quads, (i) => `  sums[${i}][lane] = c${i};`)}
  workgroupBarrier();
  if (lane >= ${rows * quads}u) { return; }
  var sum = vec4f();
  for (var i = 0u; i < ${DOWN_LANES}u; i++) { sum += sums[lane][(i + lane) % ${DOWN_LANES}u]; }
  finish4(sum, home(batch), m0 + lane / ${quads}u, 4u * (lane % ${quads}u));
}`;
}

/** Options of {@linkcode matmulGradient}. */
export interface GradientOptions extends ProductFeatures {
  /** Rows of c if `across`, otherwise its columns: a multiple of four. */
  readonly narrow: number;
  /** The long side is N: c has few rows. */
  readonly across: boolean;
}

/** Columns (or rows) of c of one workgroup. */
export const GRADIENT_SPAN = 4 * GRADIENT_LANES;

/** Loop iterations of a lane for K summands. */
export function gradientTrips(K: number): number {
  return Math.ceil(K / AHEAD);
}

/** a[K, M], b[K, N], (bias[N]), (add[M, N]) → c[M, N] */
export function matmulGradient(options: GradientOptions): string {
  const { narrow, across } = options;
  const [long, short] = across ? ["b", "a"] : ["a", "b"];
  const quads = narrow / 4;
  const at = (z: number) => `min(k + ${z}u, p.K - 1u)`; // repeats the last summand, which then counts zero
  const column = (g: number, row: number) => [0, 1, 2, 3].map((j) => `c${4 * g + j}[${row}]`).join(", ");
  return wgsl`
${productPrelude(options)}
${productLoader("a", true)}
${productLoader("b", true, options.packed)}

@compute @workgroup_size(${GRADIENT_LANES})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) lane: u32) {
  let batch = id.z;
  let first = 4u * (id.x * ${GRADIENT_LANES}u + lane);
  let part = part_of(batch);
  if (first >= part.${across ? "N" : "M"}) { return; }
  let long_start = start(p.${long}, batch) + part.${long} + first;
  let short_start = start(p.${short}, batch) + part.${short};
${unroll(narrow, (j) => `  var c${j} = vec4f();`)}
  for (var k = 0u; k < p.K; k += ${AHEAD}u) {
${
    unroll(AHEAD, (z) =>
      `    let x${z} = select(vec4f(), load_${long}(long_start + ${at(z)} * p.${long}.stride), k + ${z}u < p.K);
${
        unroll(
          quads,
          (g) =>
            `    let s${z}_${g} = load_${short}(short_start + ${at(z)} * p.${short}.stride + ${4 * g}u);`,
        )
      }`)
  }
${unroll(AHEAD, (z) => unroll(narrow, (j) => `    c${j} += s${z}_${Math.floor(j / 4)}[${j % 4}] * x${z};`))}
  }
  let at = home(batch);
${
    across
      ? unroll(narrow, (j) => `  finish4(c${j}, at, ${j}u, first);`)
      : unroll(narrow, (i) =>
        `  finish4(vec4f(${column(i % quads, Math.floor(i / quads))}), at, first + ${Math.floor(i / quads)}u, ${
          4 * (i % quads)
        }u);`)
  }
}`;
}
