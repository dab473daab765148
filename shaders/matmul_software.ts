// c = alpha · a·b (+ low) (+ bias) (+ add) for a software driver with subgroups (llvmpipe).
//
// A storage load costs as much as dozens of multiply-adds there, and shuffles cost nothing: one workgroup is one
// subgroup, every word of a is loaded by one lane and shared by subgroupShuffle with a constant lane. A lane owns
// `groups` groups of `width` columns of all `rows` rows of a tile; a step takes four summands. All loads of a step
// stand before its arithmetic (else they spill). Workgroup [x, y, z] = [column tile, row tile, batch].
import { type ProductFeatures, productLoader, productPrelude, unroll } from "./lib/product.ts";
import { wgsl } from "./wgsl.ts";

/** The part of c that one subgroup computes: `rows` × (`lanes` · `width` · `groups`) columns. */
export interface SoftwareTile {
  /** Lanes of a subgroup. */
  readonly lanes: number;
  /** Rows, a multiple of four. */
  readonly rows: number;
  /** Neighbouring columns of a lane: four, or one for narrow c. */
  readonly width: 1 | 4;
  readonly groups: number;
}

/** Options of {@linkcode matmulSoftware}. */
export interface SoftwareOptions extends ProductFeatures {
  readonly tile: SoftwareTile;
  /** K is no multiple of four. */
  readonly tail: boolean;
  /** R is no multiple of four. */
  readonly lowTail: boolean;
}

/** a[M, K], b[K, N], (bias[N]), (add[M, N]), (low_a[M, R], low_b[R, N]) → c[M, N] */
export function matmulSoftware(options: SoftwareOptions): string {
  const { tile, ta, tb, low, tail, vectors, parts } = options;
  const { lanes, rows, width, groups } = tile;
  const column = (g: number) => `n0 + ${width}u * lane + ${g * lanes * width}u`;
  return wgsl`
${productPrelude(options)}
${productLoader("a", vectors.a)}
${productLoader("b", vectors.b, options.packed)}
${columnLoader("b")}
#if ${low !== undefined}
${productLoader("low_a", low?.vectors.a ?? false)}
${productLoader("low_b", low?.vectors.b ?? false)}
${columnLoader("low_b")}
#endif

@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) lane: u32) {
  let m0 = id.y * ${rows}u;
  let n0 = id.x * ${lanes * width * groups}u;
  let batch = id.z;
  let part = part_of(batch);
#if ${parts}
  if (m0 >= part.M || n0 >= part.N) { return; }
#endif
  let tile_end = m0 + p.m_base + ${rows}u;
  if (p.causal == 1u && n0 + p.n_base >= tile_end) { return; }
${unroll(groups, (g) => `  let column${g} = ${column(g)};`)}
  var c: array<${width === 4 ? "vec4f" : "f32"}, ${rows * groups}>;
  var a_start = start(p.a, batch) + part.a;
  var b_start = start(p.b, batch) + part.b;
  let first = select(0u, max(m0 + p.m_base, p.k_base) - p.k_base, p.causal == 3u);
  let end = select(part.K, min(part.K, max(tile_end, p.k_base) - p.k_base), p.causal == 2u);
  let steps = select(0u, (end - first + 3u) / 4u, end > first) * p.repeat;
  var k = first;
${places("a", "b", { ...tile, ta, tb })}
  for (var i = 0u; i < steps; i++) {
${step("a", "b", { ...tile, ta, tb, tail, factor: "" })}
    k += 4u;
    if (k >= end) {
      k = first;
      a_start += p.a.repeat;
      b_start += p.b.repeat;
    }
  }
${stores(options)}
}`;
}

/** Rows that are finished before the next ones move up. */
const DONE_ROWS = 8;

/** Loop iterations of a lane behind its sums, with a low product of R summands. */
export function storeTrips({ rows }: SoftwareTile, R: number): number {
  return (1 + Math.ceil(R / 4)) * rows / DONE_ROWS;
}

/**
 * Low product and stores. The driver compiles every store apart, for milliseconds each. So a few rows are finished in a
 * loop, in which the others move up: that costs a few moves of registers.
 */
function stores({ tile, low, lowTail }: SoftwareOptions): string {
  const { rows, groups, width } = tile;
  const wide = width === 4 ? "4" : "";
  const few = { ...tile, rows: DONE_ROWS, ta: false, tb: low?.tb ?? false };
  const put = (i: number) =>
    `    put${wide}(at.alpha * c[${i}] + bias${i % groups}, at, m + ${Math.floor(i / groups)}u, column${i % groups});`;
  const done = DONE_ROWS * groups;
  return wgsl`
  let at = home(batch);
${unroll(groups, (g) => `  let bias${g} = bias${wide}(at, column${g});`)}
#if ${low !== undefined}
  let low_a_start = start(p.low_a, batch) + part.low_a;
  let low_b_start = start(p.low_b, batch) + part.low_b;
  let low_end = low_summands(batch);
#endif
  for (var m = m0; m < m0 + ${rows}u; m += ${DONE_ROWS}u) {
#if ${low !== undefined}
    {
      let a_start = low_a_start;
      let b_start = low_b_start;
      let end = low_end;
      let m0 = m;
${places("low_a", "low_b", few)}
      for (var k = 0u; k < end; k += 4u) {
${step("low_a", "low_b", { ...few, tail: lowTail, factor: " * p.low_ratio" })}
      }
    }
#endif
${unroll(done, put)}
${unroll(rows * groups - done, (i) => `    c[${i}] = c[${i + done}];`)}
  }`;
}

/** `load_x_column(i, stride)`: the words at i and in the next three rows. */
function columnLoader(name: string): string {
  return `fn load_${name}_column(i: u32, stride: u32) -> vec4f {
  return vec4f(word_${name}(i), word_${name}(i + stride), word_${name}(i + 2u * stride), word_${name}(i + 3u * stride));
}`;
}

interface Stored extends SoftwareTile {
  readonly ta: boolean;
  readonly tb: boolean;
}

/** Vectors of a that a lane loads in one step. Transposed, they are rows / 4 vectors of four summands. */
function loadsOfA({ rows, lanes }: Stored): number {
  return Math.ceil(rows / lanes);
}

/** Words of a and b that do not depend on k: where the lane's vectors start. */
function places(a: string, b: string, stored: Stored): string {
  const { ta, tb, rows, lanes, groups } = stored;
  const quads = rows / 4;
  const ofA = (u: number) =>
    ta
      ? `let az${u} = (lane + ${u * lanes}u) / ${quads}u;
let a${u}_at = az${u} * p.${a}.stride + m0 + 4u * ((lane + ${u * lanes}u) % ${quads}u);`
      : `let a${u}_at = (m0 + lane + ${u * lanes}u) * p.${a}.stride;`;
  return `${unroll(loadsOfA(stored), ofA)}
${unroll(groups, (g) => `let b${g}_at = ${tb ? `column${g} * p.${b}.stride` : `column${g}`};`)}`;
}

interface Step extends Stored {
  /** Summands at `end` and beyond count zero. */
  readonly tail: boolean;
  /** Factor on a. */
  readonly factor: string;
}

/** One step of four summands from k: loads, then arithmetic. */
function step(a: string, b: string, options: Step): string {
  const { ta, tb, rows, lanes, width, groups, tail, factor } = options;
  const inside = "vec4u(k, k + 1u, k + 2u, k + 3u) < vec4u(end)";
  const loadA = (u: number) => {
    const value = `load_${a}(a_start + a${u}_at + k${ta ? ` * p.${a}.stride` : ""})${factor}`;
    return `let a${u} = ${tail ? `select(vec4f(), ${value}, ${ta ? `k + az${u} < end` : inside})` : value};`;
  };
  const columnOfB = (g: number, j: number) => {
    const value = `load_${b}(b_start + b${g}_at + k + ${j}u * p.${b}.stride)`;
    return tail ? `select(vec4f(), ${value}, ${inside})` : value;
  };
  const rowOfB = (g: number, z: number) => {
    const value = `load_${b}(b_start + b${g}_at + (k + ${z}u) * p.${b}.stride)`;
    return tail ? `select(vec4f(), ${value}, k + ${z}u < end)` : value;
  };
  const four = (text: (i: number) => string) => [0, 1, 2, 3].map(text).join(", ");
  const loadB = (g: number) => {
    if (width === 4) {
      return tb
        ? `let b${g} = transpose(mat4x4f(${four((j) => columnOfB(g, j))}));`
        : `let b${g} = mat4x4f(${four((z) => rowOfB(g, z))});`;
    }
    if (tb) return `let b${g} = ${columnOfB(g, 0)};`;
    const value = `load_${b}_column(b_start + b${g}_at + k * p.${b}.stride, p.${b}.stride)`;
    return `let b${g} = ${tail ? `select(vec4f(), ${value}, ${inside})` : value};`;
  };
  const multiply = (i: number, row: string) =>
    unroll(groups, (g) => `c[${i * groups + g}] += ${width === 4 ? `b${g} * ${row}` : `dot(${row}, b${g})`};`);
  const rowsOfA = ta
    ? unroll(rows / 4, (quad) => {
      const item = (z: number) => z * rows / 4 + quad;
      const shared = (z: number) => `subgroupShuffle(a${Math.floor(item(z) / lanes)}, ${item(z) % lanes}u)`;
      return `{ let quad = transpose(mat4x4f(${four(shared)}));
${unroll(4, (j) => multiply(4 * quad + j, `quad[${j}]`))} }`;
    })
    : unroll(rows, (i) =>
      `{ let row = subgroupShuffle(a${Math.floor(i / lanes)}, ${i % lanes}u);
${multiply(i, "row")} }`);
  return `${unroll(loadsOfA(options), loadA)}\n${unroll(groups, loadB)}\n${rowsOfA}`;
}
