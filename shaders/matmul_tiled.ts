// c = alpha · a·b (+ low) (+ bias) (+ add) for GPUs: tiles in workgroup memory, a block of c in the registers of a lane.
//
// A workgroup computes BM × BN of c in steps of BK summands; a lane computes TM × TN of it, as named vectors, with the
// step unrolled. The words of the next step are fetched into registers before the arithmetic of this one. Operands
// that run along K are fetched as 4 × 4 blocks and turned over in registers.
// Workgroup [x, y, z] = [column tile, row tile, batch].
import { type ProductFeatures, productLoader, productPrelude, unroll } from "./lib/product.ts";
import { wgsl } from "./wgsl.ts";

/** The part of c of one workgroup and of one lane; all multiples of four. */
export interface WorkgroupTile {
  readonly BM: number;
  readonly BN: number;
  /** Summands of a step. */
  readonly BK: number;
  readonly TM: number;
  readonly TN: number;
}

/** Options of {@linkcode matmulTiled}. */
export interface TiledOptions extends ProductFeatures {
  readonly tile: WorkgroupTile;
  /** K is no multiple of BK. */
  readonly tail: boolean;
  /** Tiles and products in f16; sixteen summands are added in f16, their sums in f32. */
  readonly half: boolean;
}

/** Lanes of a workgroup. */
export function tileLanes({ BM, BN, TM, TN }: WorkgroupTile): number {
  return BM / TM * (BN / TN);
}

/** Bytes of workgroup memory of both tiles; `turned`: how many operands run along K. */
export function tileBytes({ BM, BN, BK }: WorkgroupTile, turned: number, half: boolean): number {
  return (half ? 8 : 16) * BK * (BM / 4 + BN / 4 + turned);
}

/** a[M, K], b[K, N], (bias[N]), (add[M, N]), (low_a[M, R], low_b[R, N]) → c[M, N] */
export function matmulTiled(options: TiledOptions): string {
  const { tile, ta, tb, low, tail, vectors, parts, half } = options;
  const { BM, BN, BK, TM, TN } = tile;
  const lanes = tileLanes(tile);
  const a: Side = { name: "a", width: BM, BK, lanes, half, alongK: !ta, last: false };
  const b: Side = { name: "b", width: BN, BK, lanes, half, alongK: tb, last: true };
  const lowA: Side = { ...a, name: "low_a", alongK: low !== undefined };
  const lowB: Side = { ...b, name: "low_b", alongK: low?.tb ?? false };
  const vec = half ? "vec4h" : "vec4f";
  const moveA = mover(a, { first: "m0", end: "end", tail }), moveB = mover(b, { first: "n0", end: "end", tail });
  const moveLowA = mover(lowA, { first: "m0", end: "R", tail: true, factor: "p.low_ratio" });
  const moveLowB = mover(lowB, { first: "n0", end: "R", tail: true });
  return wgsl`
#if ${half}
enable f16;
#endif
${productPrelude(options)}
var<workgroup> a_tile: array<array<${vec}, ${rowVectors(BM, a, lowA)}>, ${BK}>;
var<workgroup> b_tile: array<array<${vec}, ${rowVectors(BN, b, lowB)}>, ${BK}>;
${productLoader("a", vectors.a)}
${productLoader("b", vectors.b, options.packed)}
#if ${low !== undefined}
${productLoader("low_a", low?.vectors.a ?? false)}
${productLoader("low_b", low?.vectors.b ?? false)}
#endif

@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) lane: u32) {
  let m0 = id.y * ${BM}u;
  let n0 = id.x * ${BN}u;
  let batch = id.z;
  let part = part_of(batch);
#if ${parts}
  if (m0 >= part.M || n0 >= part.N) { return; }
#endif
  let tile_end = m0 + p.m_base + ${BM}u;
  if (p.causal == 1u && n0 + p.n_base >= tile_end) { return; }
  var a_start = start(p.a, batch) + part.a;
  var b_start = start(p.b, batch) + part.b;
  let first = select(0u, max(m0 + p.m_base, p.k_base) - p.k_base, p.causal == 3u);
  let end = select(part.K, min(part.K, max(tile_end, p.k_base) - p.k_base), p.causal == 2u);
  let steps = select(0u, (end - first + ${BK - 1}u) / ${BK}u, end > first) * p.repeat;
  let x = lane % ${BN / TN}u;
  let y = lane / ${BN / TN}u;
${unroll(TM * TN / 4, (i) => `  var c${i} = vec4f();`)}
#if ${low !== undefined}
  let low_a_start = start(p.low_a, batch) + part.low_a;
  let low_b_start = start(p.low_b, batch) + part.low_b;
  let R = low_summands(batch);
  for (var k = 0u; k < R; k += ${BK}u) {
${moveLowA.declare}
${moveLowB.declare}
${moveLowA.fetch}
${moveLowB.fetch}
${moveLowA.store}
${moveLowB.store}
    workgroupBarrier();
${low ? multiply(tile, half) : ""}
    workgroupBarrier();
  }
#endif
  var k = first;
${moveA.declare}
${moveB.declare}
${moveA.fetch}
${moveB.fetch}
  for (var i = 0u; i < steps; i++) {
${moveA.store}
${moveB.store}
    workgroupBarrier();
    k += ${BK}u;
    if (k >= end) {
      k = first;
      a_start += p.a.repeat;
      b_start += p.b.repeat;
    }
    if (i + 1u < steps) {
${moveA.fetch}
${moveB.fetch}
    }
${multiply(tile, half)}
    workgroupBarrier();
  }
  let at = home(batch);
${
    unroll(TM * TN / 4, (i) => {
      const group = i % (TN / 4), row = (i - group) / (TN / 4);
      const m = `m0 + ${Math.floor(row / 4) * 4 * BM / TM}u + 4u * y + ${row % 4}u`;
      return `  finish4(c${i}, at, ${m}, n0 + 4u * (x + ${group * BN / TN}u));`;
    })
  }
}`;
}

/** Vectors of a tile's row (see {@linkcode tileBytes}): one more where blocks are turned over, so that the lanes' stores meet different banks. */
function rowVectors(width: number, side: Side, low: Side): number {
  return width / 4 + (side.alongK || low.alongK ? 1 : 0);
}

/** How the lanes bring one operand's `width` × BK words of a step into its tile. */
interface Side {
  readonly name: string;
  readonly width: number;
  readonly BK: number;
  readonly lanes: number;
  readonly half: boolean;
  /** Stored rows run along K: four rows of four words are turned over. */
  readonly alongK: boolean;
  /** Where there is less work than lanes, the last lanes do it. */
  readonly last: boolean;
}

/** Where a side's words come from, besides `x_start` and the step's first summand `k`. */
interface Source {
  /** First row or column of the workgroup's tile. */
  readonly first: string;
  /** Where the summands end. */
  readonly end: string;
  /** Words from there on count as zero; without, there are none. */
  readonly tail: boolean;
  readonly factor?: string;
}

/**
 * The statements that bring a side's words into its tile: `declare` names the lane's words and where they lie, `fetch`
 * reads those of step k into registers, `store` puts them in the tile. Every vector has a variable of its own: sums in
 * an array cost an H100 up to 45 % of the rate.
 */
function mover(
  { name, width, BK, lanes, half, alongK, last }: Side,
  { first, end, tail, factor }: Source,
): { readonly declare: string; readonly fetch: string; readonly store: string } {
  const items = width * BK / (alongK ? 16 : 4);
  const each = Math.ceil(items / lanes), rows = alongK ? 4 : 1;
  const across = alongK ? BK / 4 : width / 4;
  const tile = name.endsWith("a") ? "a_tile" : "b_tile";
  const item = (u: number) => last && items < lanes ? `lane - ${lanes - items}u` : `lane + ${u * lanes}u`;
  const word = (u: number, j: number) => `${name}_next${rows * u + j}`;
  const across4 = (u: number) => `4u * ${name}_column${u}`;
  const from = (u: number) =>
    alongK
      ? `(${first} + 4u * ${name}_row${u}) * p.${name}.stride + ${across4(u)}`
      : `${name}_row${u} * p.${name}.stride + ${first} + ${across4(u)}`;
  const loaded = (u: number, j: number) =>
    `load_${name}(${name}_start + ${name}_from${u} + ${
      alongK ? `k + ${j}u * p.${name}.stride` : `k * p.${name}.stride`
    })`;
  const inside = (u: number) =>
    alongK
      ? `vec4u(k + ${across4(u)}) + vec4u(0u, 1u, 2u, 3u) < vec4u(${end})`
      : `vec4<bool>(k + ${name}_row${u} < ${end})`;
  const value = (u: number, j: number) => {
    const kept = tail ? `select(vec4f(), ${loaded(u, j)}, ${inside(u)})` : loaded(u, j);
    return factor ? `${factor} * ${kept}` : kept;
  };
  const rounded = (text: string) => half ? `vec4h(${text})` : text;
  const turned = (u: number, j: number) => `vec4f(${[0, 1, 2, 3].map((i) => `${word(u, i)}.${"xyzw"[j]}`)})`;
  const busy = (body: (u: number) => string) =>
    unroll(each, (u) => items % lanes === 0 ? body(u) : `if (${name}_item${u} < ${items}u) {\n${body(u)}\n}`);
  return {
    declare: unroll(each, (u) =>
      `let ${name}_item${u} = ${item(u)};
let ${name}_row${u} = ${name}_item${u} / ${across}u;
let ${name}_column${u} = ${name}_item${u} % ${across}u;
let ${name}_from${u} = ${from(u)};
${unroll(rows, (j) => `var ${word(u, j)} = vec4f();`)}`),
    fetch: busy((u) => unroll(rows, (j) => `${word(u, j)} = ${value(u, j)};`)),
    store: busy((u) =>
      alongK
        ? unroll(4, (j) => `${tile}[${across4(u)} + ${j}u][${name}_row${u}] = ${rounded(turned(u, j))};`)
        : `${tile}[${name}_row${u}][${name}_column${u}] = ${rounded(word(u, 0))};`
    ),
  };
}

/** Summands that are added in f16. */
const HALF_SUMMANDS = 16;

/** c += a_tile · b_tile, unrolled: every summand is TM / 4 + TN / 4 vectors and TM · TN / 4 multiply-adds. */
function multiply(tile: WorkgroupTile, half: boolean): string {
  if (!half) return summands(tile, { from: 0, count: tile.BK, sum: "c", vec: "vec4f" });
  const sums = tile.TM * tile.TN / 4;
  return unroll(tile.BK / HALF_SUMMANDS, (block) =>
    `{
${unroll(sums, (i) => `var h${i} = vec4h();`)}
${summands(tile, { from: block * HALF_SUMMANDS, count: HALF_SUMMANDS, sum: "h", vec: "vec4h" })}
${unroll(sums, (i) => `c${i} += vec4f(h${i});`)}
}`);
}

interface Summands {
  readonly from: number;
  readonly count: number;
  /** Name of the accumulators. */
  readonly sum: "c" | "h";
  readonly vec: "vec4f" | "vec4h";
}

function summands({ BM, BN, TM, TN }: WorkgroupTile, { from, count, sum, vec }: Summands): string {
  return unroll(count, (k) =>
    `{
${unroll(TM / 4, (g) => `let a${g} = a_tile[${from + k}][y + ${g * BM / TM}u];`)}
${unroll(TN / 4, (g) => `let b${g} = b_tile[${from + k}][x + ${g * BN / TN}u];`)}
${
      unroll(TM * TN / 4, (i) => {
        const group = i % (TN / 4), row = (i - group) / (TN / 4);
        return `${sum}${i} = fma(${vec}(a${Math.floor(row / 4)}.${"xyzw"[row % 4]}), b${group}, ${sum}${i});`;
      })
    }
}`);
}
