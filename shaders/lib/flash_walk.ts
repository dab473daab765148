// How the kernels of flash attention walk: their bindings, the score of a lane's rows, and products panel by panel.
import { type FlashOptions, flashShape } from "./flash.ts";
import { accumulate, four, load, type Operand, scoreRow, scores } from "./flash_tiles.ts";
import { unroll } from "./product.ts";
import { wgsl } from "../wgsl.ts";

/** Declarations of the operands in binding order: heads, `more`, mask, bias. */
export function operands(
  { packed, mask, bias }: FlashOptions,
  { heads, more }: { readonly heads: readonly Operand[]; readonly more: readonly string[] },
): string[] {
  return [
    ...packed ? ["qkv_in: array<vec4f>"] : heads.map((name) => `${name}_in: array<vec4f>`),
    ...more,
    ...mask ? ["mask_in: array<u32>"] : [],
    ...bias ? ["bias_in: array<f32>"] : [],
  ];
}

/** An operand on its way into a tile. */
export type Move = readonly [tile: "row_tile" | "output_tile" | "column_tile", operand: Operand];

/** The functions that {@linkcode bring} calls. */
export function loads(moves: readonly Move[], options: FlashOptions): string {
  return moves.map(([tile, operand]) => load({ operand, tile }, options)).join("\n");
}

/** Loads a panel of the operand; `first`: its first row, `limit`: where its rows end. */
export function bring([tile, operand]: Move, first: string, panel: string): string {
  const limit = operand === "q" || operand === "dO" ? "p.T" : "p.S";
  return `    load_${tile}_${operand}(${operand}_at, ${first}, ${limit}, ${panel}, lane);`;
}

/** The entry point, and where a lane is. */
export function opening(options: FlashOptions): string {
  const { X, Y, across } = flashShape(options);
  return `@compute @workgroup_size(${X * Y})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let x = lane % ${X}u;
  let y = lane / ${X}u;
  let dx = x % ${across}u;
  let slice = x / ${across}u;`;
}

/** Score rows of a lane as `t0` … `t3`, whose rows are queries or keys; softcap's tanh stays in `bend0` …. */
export function scoreRows(rows: "queries" | "keys", { softcap, bias }: FlashOptions): string {
  return four((i) => {
    const [query, key] = rows === "queries" ? [`vec4u(query + ${i}u)`, "keys"] : ["queries", `vec4u(key + ${i}u)`];
    return wgsl`
    var t${i} = p.scale * ${scoreRow("s", i)};
#if ${softcap}
    let bend${i} = tanh(clamp(t${i} / p.cap, vec4f(-15.0), vec4f(15.0)));
    t${i} = p.cap * bend${i};
#endif
#if ${bias}
    t${i} += bias_of(head, ${query}, ${key});
#endif
    if (masked) { t${i} = select(vec4f(MASKED), t${i}, visible(batch, ${query}, ${key})); }`;
  });
}

/** The factor of row i of dS that the bend of softcap adds. */
export function slope(i: number, { softcap }: FlashOptions): string {
  return softcap ? ` * (1.0 - bend${i} * bend${i})` : "";
}

/** What a product reads: a panel of rows, unless the rows stay in their tile, and a panel of columns. */
export interface Panels {
  readonly rows: Move;
  readonly columns: Move;
  /** The rows were brought into their tile before the walk. */
  readonly stay: boolean;
}

/** The panels of rows from `row0` and columns from `column0` in their tiles. */
export function bringPanels({ rows, columns, stay }: Panels, panel: string): string {
  return `    workgroupBarrier();
${stay ? "" : bring(rows, "row0", panel)}
${bring(columns, "column0", panel)}
    workgroupBarrier();`;
}

/** `<sum>ij` = row i · column j over all panels. */
export function panelScores(sum: string, call: Panels, options: FlashOptions): string {
  const { panels } = flashShape(options);
  const one = (panel: string) =>
    `${bringPanels(call, panel)}
${scores(sum, call.rows[0], options)}`;
  return panels > 1
    ? `    for (var panel = 0u; panel < ${panels}u; panel++) {
${one("panel")}
    }`
    : one("0u");
}

/** `<name>` += score_tile · columns over all panels. */
export function panelResults(name: string, columns: Move, options: FlashOptions): string {
  return unroll(flashShape(options).panels, (panel) =>
    `    workgroupBarrier();
${bring(columns, "column0", `${panel}u`)}
    workgroupBarrier();
${accumulate(name, panel, options)}`);
}

/** `result`: `value` combined over all lanes of the same rows; needs `peak_tile`. */
export function acrossLanes(
  { result, value, combine }: {
    readonly result: string;
    readonly value: string;
    readonly combine: (a: string, b: string) => string;
  },
  { X }: { readonly X: number },
): string {
  return `    peak_tile[y][x] = ${value};
    workgroupBarrier();
    var ${result} = peak_tile[y][0];
${unroll(X - 1, (u) => `    ${result} = ${combine(result, `peak_tile[y][${u + 1}]`)};`)}
    workgroupBarrier();`;
}
