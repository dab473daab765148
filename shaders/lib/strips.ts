// What the kernels of attention in strips share: their uniform, the walk over tiles of keys, and sums that stay in the
// registers of a subgroup; equations and layouts in ../attention_strips.ts.
//
// Loads and stores take long to compile: rows are finished four at a time in loops in which the others move up. Loops
// over columns end at `p.E`: the driver would unroll a number that it knows.
import { declareBuffers } from "./bindings.ts";
import { unroll } from "./product.ts";
import { wgsl } from "../wgsl.ts";

/** What one subgroup computes. */
export interface StripTile {
  /** Lanes of a subgroup. */
  readonly lanes: number;
  /** Queries (keys, in sums over queries) of a strip, a multiple of the lanes and of four. */
  readonly rows: number;
}

/** What all kernels of an attention depend on. */
export interface StripOptions {
  readonly tile: StripTile;
  /** Columns of a head, a multiple of four. */
  readonly E: number;
  /** Scores are bent to softcap · tanh(score / softcap). */
  readonly softcap: boolean;
}

/** What masked scores count as: finite, because the compiler may assume that there are no infinities. */
export const MASKED = "vec4f(-1e30)";

/** Columns of a head as lanes own them: `parts` times `width` neighbours. */
export interface StripColumns {
  readonly width: 1 | 4;
  readonly parts: number;
  /** Some lanes have no column in the last part. */
  readonly ragged: boolean;
  /** Of `width` numbers, in WGSL. */
  readonly type: "vec4f" | "f32";
}

/** How the columns of a head are split. */
export function split({ E, tile: { lanes } }: StripOptions): StripColumns {
  const width = E > 2 * lanes ? 4 : 1, parts = Math.ceil(E / (width * lanes));
  return { width, parts, ragged: E % (width * lanes) !== 0, type: width === 4 ? "vec4f" : "f32" };
}

/** A list of four texts. */
export const four = (text: (j: number) => string): string => [0, 1, 2, 3].map(text).join(", ");

/** The uniform, and the head of the kernel up to what all strips need. */
export function prelude(
  { tile: { lanes } }: StripOptions,
  reads: readonly string[],
  writes: readonly string[],
): string {
  return wgsl`
struct Matrix { offset: u32, stride: u32, outer: u32, inner: u32 }
// Weights of rows of d are sums over rows of a · rows of b; r is the result.
struct P { T: u32, S: u32, H: u32, group: u32, pitch: u32, window: u32, scale: f32, softcap: f32,
  E: u32, causal: u32, made: u32, unused: u32,
  a: Matrix, b: Matrix, d: Matrix, r: Matrix }
${declareBuffers(reads, writes)}
const LANE4 = vec4u(0u, 1u, 2u, 3u);
fn place(x: Matrix, sequence: u32, head: u32) -> u32 { return x.offset + sequence * x.outer + head * x.inner; }
// Even strips before odd ones: causal ones differ in length, and each thread of the driver takes one run of them.
fn turn(i: u32, count: u32) -> u32 {
  let half = (count + 1u) / 2u;
  return select(2u * (i - half) + 1u, 2u * i, i < half);
}

@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {`;
}

/** The lane's columns of a head, none behind the last, and the sums over rows of d. */
export function results(options: StripOptions): string {
  const { tile: { lanes, rows }, E } = options, { width, parts, ragged, type } = split(options);
  const column = (h: number) => {
    const at = `${width}u * lane + ${h * width * lanes}u`;
    return `  let e${h} = ${ragged ? `min(${at}, ${E - width}u)` : at};`;
  };
  return `${unroll(parts, column)}\n  var o = array<${type}, ${rows * parts}>();`;
}

/** o += four weights of each row · rows `from` to `from` + 3 of d, of which `last` is the last. */
export function addRows(options: StripOptions, last: string, weights: (i: number) => string): string {
  const { tile: { rows } } = options, { width, parts } = split(options);
  const load = (h: number) =>
    width === 4
      ? `let v${h} = mat4x4f(${four((z) => `d_in[(d${z} + e${h}) / 4u]`)});`
      : `let v${h} = vec4f(${four((z) => `d_in[(d${z} + e${h}) / 4u][e${h} % 4u]`)});`;
  const row = (i: number) =>
    `{ let row = ${weights(i)};
${unroll(parts, (h) => `o[${i * parts + h}] += ${width === 4 ? `v${h} * row` : `dot(v${h}, row)`};`)} }`;
  return `${unroll(4, (z) => `let d${z} = d_start + min(from_row + ${z}u, ${last}) * p.d.stride;`)}
${unroll(parts, load)}
${unroll(rows, row)}`;
}

/** Rows of o, each times `factor(r)`, to the rows of r from m0 on that lie before `end`. */
export function store(options: StripOptions, end: string, factor: (r: number) => string, before = ""): string {
  const { tile: { lanes, rows }, E } = options, { width, parts, ragged } = split(options);
  const done = 4 * parts;
  const put = (i: number) => {
    const r = Math.floor(i / parts), column = `${width}u * lane + ${(i % parts) * width * lanes}u`;
    const at = `(r_start + (m + ${r}u) * p.r.stride + ${column})${width === 4 ? " / 4u" : ""}`;
    return `    if (m + ${r}u < ${end}${ragged ? ` && ${column} < ${E}u` : ""}) { r_out[${at}] = o[${i}] * ${
      factor(r)
    }; }`;
  };
  return `  for (var m = m0; m < m0 + ${rows}u; m += 4u) {
${before}
${unroll(done, put)}
${unroll(rows * parts - done, (i) => `    o[${i}] = o[${i + done}];`)}
  }`;
}

/** The strip of a workgroup and the keys it walks over. */
export function strip(options: StripOptions): string {
  const { tile: { lanes, rows } } = options;
  const row = (u: number) => `  let a${u}_at = a_start + min(m0 + lane + ${u * lanes}u, p.T - 1u) * p.a.stride;`;
  return `
  let m0 = turn(id.x, count.x) * ${rows}u;
  let matrix = id.y;
  let sequence = matrix / p.H;
  let head = matrix % p.H;
  let a_start = place(p.a, sequence, head);
  let b_start = place(p.b, sequence, head / p.group);
  let d_start = place(p.d, sequence, head / p.group);
  let r_start = place(p.r, sequence, head);
  let last = p.S - 1u;
  let first = (max(m0 + 1u, p.window) - p.window) / ${4 * lanes}u * ${4 * lanes}u;
  let limit = select(p.S, min(p.S, m0 + ${rows}u), p.causal != 0u);
${unroll(rows / lanes, row)}
${results(options)}`;
}

/**
 * One tile of keys: c = rows of a · rows of b; then, for four rows m at a time, what `rows` does with x[j], the products
 * with key `column` + j; then o, `scaled`, += x · rows of d.
 */
export function tile(options: StripOptions, fourRows: string, scaled = ""): string {
  const { tile: { lanes, rows } } = options;
  const product = (i: number) => `      c[${i}] += b * subgroupShuffle(a${Math.floor(i / lanes)}, ${i % lanes}u);`;
  return `
    let column = n0 + 4u * lane;
${unroll(4, (j) => `    let b${j}_at = b_start + min(column + ${j}u, last) * p.b.stride;`)}
    var c = array<vec4f, ${rows}>();
    for (var e = 0u; e < p.E; e += 4u) {
${unroll(rows / lanes, (u) => `      let a${u} = a_in[(a${u}_at + e) / 4u];`)}
      let b = transpose(mat4x4f(${four((j) => `b_in[(b${j}_at + e) / 4u]`)}));
${unroll(rows, product)}
    }
    for (var m = m0; m < m0 + ${rows}u; m += 4u) {
      let scores_at = matrix * p.S * p.pitch + column * p.pitch + m;
      var x = transpose(mat4x4f(c[0], c[1], c[2], c[3]));
${fourRows}
${unroll(rows - 4, (i) => `      c[${i}] = c[${i + 4}];`)}
      let done = transpose(x);
${unroll(4, (r) => `      c[${rows - 4 + r}] = done[${r}];`)}
    }
${scaled}
    for (var l = 0u; l < min(${lanes}u, (limit - n0 + 3u) / 4u); l++) {
      let from_row = n0 + 4u * l;
${addRows(options, "last", (i) => `subgroupShuffle(c[${i}], l)`)}
    }`;
}

/** The first of an array moves to its end, as `value`. */
export const rotate = (name: string, count: number, value: string): string =>
  `      let ${name}_next = ${value};
${unroll(count - 1, (i) => `      ${name}[${i}] = ${name}[${i + 1}];`)}
      ${name}[${count - 1}] = ${name}_next;`;

/** `name` combined over all lanes. */
export const joined = (name: string, combine: (a: string, b: string) => string, lanes: number): string =>
  unroll(Math.log2(lanes), (i) => `      ${name} = ${combine(name, `subgroupShuffleXor(${name}, ${2 ** i}u)`)};`);
