// The inner loops of flash attention: operands into tiles, scores of a tile, what they are multiplied with, the store.
//
// Row 4x + j of a column tile is stored at j·X + x: what a lane reads is then a constant apart, and neighbouring lanes
// read neighbouring rows. Where a head is narrow, lanes that would idle in the second product take a slice of the
// columns each; the slices are added once, at the end.
import { type FlashOptions, type FlashShape, flashShape } from "./flash.ts";
import { unroll } from "./product.ts";

/** Score steps of a loop iteration: vectors of the head. */
function stepOf(W: number): number {
  return [4, 3, 2].find((n) => W % n === 0) ?? 1;
}

/** Output steps of a loop iteration: vectors of columns. */
function strideOf({ X, slices }: FlashShape): number {
  return X / slices % 2 === 0 ? 2 : 1;
}

/** Loop iterations of one {@linkcode scores} over all panels. */
export function scoreTrips({ W, panels }: FlashShape): number {
  return panels * (W / stepOf(W) + 1);
}

/** Loop iterations of {@linkcode accumulate} over all panels. */
export function accumulateTrips(shape: FlashShape): number {
  return shape.panels * (shape.X / shape.slices / strideOf(shape));
}

/** What is brought into tiles; dO is the gradient of the result. */
export type Operand = "q" | "k" | "v" | "dO";

/** `load_<tile>_<operand>(at, first, limit, panel, lane)`: rows [first, …) of a head at `at`, zeros from `limit` on. */
export function load(
  { operand, tile }: { readonly operand: Operand; readonly tile: string },
  options: FlashOptions,
): string {
  const { X, Y, E4, W, panels } = flashShape(options);
  const side = tile === "column_tile" ? "columns" : "rows";
  const buffer = operand !== "dO" && options.packed ? "qkv_in" : `${operand}_in`;
  const lanes = X * Y, items = W * options.tile[side];
  const slot = side === "rows" ? "r" : `r % 4u * ${X}u + r / 4u`;
  const inside = panels * W === E4 ? "" : " && e < E4";
  return `
fn load_${tile}_${operand}(at: u32, first: u32, limit: u32, panel: u32, lane: u32) {
${
    unroll(Math.ceil(items / lanes), (u) => {
      const guard = (u + 1) * lanes <= items ? "" : `if (i < ${items}u) `;
      return `  { let i = lane + ${u * lanes}u; ${guard}{
    let r = i / ${W}u; let d = i % ${W}u; let e = panel * ${W}u + d;
    var value = vec4f();
    if (first + r < limit${inside}) { value = ${buffer}[at + (first + r) * p.${operand}.y + e]; }
    ${tile}[${slot}][d] = value;
  } }`;
    })
  }
}`;
}

/** Memory of the tiles that rows and columns are brought into, and of the scores. */
export function tiles(rowTiles: readonly string[], options: FlashOptions): string {
  const { rows, columns } = options.tile, { X, W } = flashShape(options);
  return [
    ...rowTiles.map((name) => `var<workgroup> ${name}: array<array<vec4f, ${W + 1}>, ${rows}>;`),
    `var<workgroup> column_tile: array<array<vec4f, ${W + 1}>, ${columns}>;`,
    `var<workgroup> score_tile: array<array<vec4f, ${X + 1}>, ${rows}>;`,
  ].join("\n");
}

/** Bytes of {@linkcode tiles} with so many row tiles, and of one vector a lane to combine rows with. */
export function tileBytes(rowTiles: number, options: Pick<FlashOptions, "E" | "tile">): number {
  const { rows, columns } = options.tile, { X, Y, W } = flashShape(options);
  return 16 * ((rowTiles * rows + columns) * (W + 1) + rows * (X + 1) + X * Y);
}

/** Text for each of the four rows or columns of a lane. */
export function four(text: (i: number) => string): string {
  return unroll(4, text);
}

/** `<sum>ij` += row i · column j for one panel of the tiles. */
export function scores(sum: string, rowTile: string, options: FlashOptions): string {
  const { X, W } = flashShape(options), step = stepOf(W);
  const at = (d: string) =>
    `{
${four((i) => `let r${i} = ${rowTile}[4u * y + ${i}u][${d}];`)}
${four((j) => `let c${j} = column_tile[x + ${j * X}u][${d}];`)}
${four((i) => four((j) => `${sum}${i}${j} = along(r${i}, c${j}, ${sum}${i}${j});`))}
}`;
  return `for (var d = 0u; d < ${W}u; d += ${step}u) {
${unroll(step, (u) => at(`d + ${u}u`))}
}`;
}

/** Declares the sums of {@linkcode scores}. */
export function zeroScores(sum: string): string {
  return four((i) => four((j) => `var ${sum}${i}${j} = 0.0;`));
}

/** A row of the sums as a vector. */
export function scoreRow(sum: string, i: number): string {
  return `vec4f(${[0, 1, 2, 3].map((j) => `${sum}${i}${j}`).join(", ")})`;
}

/** Text for each of a lane's results of one panel: `<name>_<panel>_<i>_<g>`, of row i and vector `column`. */
export function eachResult(
  panel: number,
  options: FlashOptions,
  text: (result: string, i: number, column: string) => string,
): string {
  const { across, groups } = flashShape(options);
  return four((i) => unroll(groups, (g) => text(`${panel}_${i}_${g}`, i, `dx + ${g * across}u`)));
}

/** {@linkcode eachResult} of all panels. */
export function results(options: FlashOptions, text: (result: string, i: number) => string): string {
  return unroll(flashShape(options).panels, (panel) => eachResult(panel, options, text));
}

/** `<name>` += score_tile · column tile, for one panel. */
export function accumulate(name: string, panel: number, options: FlashOptions): string {
  const shape = flashShape(options), { X, across, groups, slices } = shape, stride = strideOf(shape);
  const at = (c: string) =>
    `{
let c = ${c};
${four((i) => `let s${i} = score_tile[4u * y + ${i}u][c];`)}
${
      unroll(groups, (g) =>
        `${four((j) => `let v${g}${j} = column_tile[c + ${j * X}u][dx + ${g * across}u];`)}
${
          four((i) => {
            const sum = `${name}_${panel}_${i}_${g}`;
            return [..."xyzw"].map((z, j) => `${sum} = fma(vec4f(s${i}.${z}), v${g}${j}, ${sum});`).join(" ");
          })
        }`)
    }
}`;
  return `for (var k = slice; k < ${X}u; k += ${slices * stride}u) {
${unroll(stride, (u) => at(`k + ${u * slices}u`))}
}`;
}

/** Adds what the slices of the columns have summed up. Barriers around it are its own. */
export function joinSlices(name: string, options: FlashOptions): string {
  const { across, slices, panels } = flashShape(options);
  if (slices === 1) return "";
  return unroll(panels, (panel) =>
    `workgroupBarrier();
${four((i) => `score_tile[4u * y + ${i}u][x] = ${name}_${panel}_${i}_0;`)}
workgroupBarrier();
${
      four((i) => {
        const parts = Array.from({ length: slices }, (_, s) => `score_tile[4u * y + ${i}u][dx + ${s * across}u]`);
        return `${name}_${panel}_${i}_0 = ${parts.join(" + ")};`;
      })
    }`);
}

/** Where {@linkcode store} puts the results. */
export interface StoreCall {
  /** Field of the uniform, and the buffer. */
  readonly to: string;
  readonly buffer: string;
  /** The end of the rows, `p.T` or `p.S`; the first one is `row0`. */
  readonly limit: string;
  /** Of row i. */
  readonly factor: (i: number) => string;
}

/** Stores the results at the rows of the lane in the matrix at `<to>_at`. */
export function store(name: string, { to, buffer, limit, factor }: StoreCall, options: FlashOptions): string {
  const { W, E4, panels, across, groups, slices } = flashShape(options);
  const exact = groups * across === W && panels * W === E4;
  return unroll(panels, (panel) =>
    eachResult(panel, options, (result, i, column) => {
      const row = `row0 + 4u * y + ${i}u`, e = `${panel * W}u + ${column}`;
      const conditions = [
        `${row} < ${limit}`,
        ...exact ? [] : [`${column} < ${W}u`, `${e} < E4`],
        ...slices > 1 ? ["slice == 0u"] : [],
      ];
      return `  if (${conditions.join(" && ")}) { ${buffer}[${to}_at + (${row}) * p.${to}.y + ${e}] = ${
        factor(i)
      } * ${name}_${result}; }`;
    }));
}
