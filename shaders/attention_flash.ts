// Attention without scores in memory, for GPUs (arXiv:2205.14135, 2307.08691): forward and gradient.
//
//   forward    s = scale·q·k (bent, + bias)    o = Σ exp(s − L)·v    L = log Σ exp(s), kept for the gradient
//   gradient   P = exp(s − L)    dS = P·(dO·v − δ)    δ = Σ o·dO
//              dq = scale·Σ dS·k    dk = scale·Σ dS·q    dv = Σ P·dO    dbias = Σ over the batch of dS
//
// Workgroup [tile, head, sequence] owns a tile of queries, or of keys for dk and dv, which sum over the query heads
// that share a key head. Maximum and sum of a row are kept up on the way; a row that sees no key gives zeros.
import { declareBuffers } from "./lib/bindings.ts";
import { type FlashOptions, flashPrelude, flashShape, keyTiles } from "./lib/flash.ts";
import {
  accumulate,
  accumulateTrips,
  four,
  joinSlices,
  results,
  scoreRow,
  scores,
  scoreTrips,
  store,
  tiles,
  zeroScores,
} from "./lib/flash_tiles.ts";
import {
  acrossLanes,
  bring,
  bringPanels,
  loads,
  type Move,
  opening,
  operands,
  panelResults,
  type Panels,
  panelScores,
  scoreRows,
  slope,
} from "./lib/flash_walk.ts";
import { unroll } from "./lib/product.ts";
import { wgsl } from "./wgsl.ts";

/** Text of a kernel, and the loop iterations of one tile of its walk. */
export interface FlashShader {
  readonly wgsl: string;
  readonly tripsPerTile: number;
}

const Q_ROWS: Move = ["row_tile", "q"], K_COLUMNS: Move = ["column_tile", "k"], V_COLUMNS: Move = ["column_tile", "v"];
const K_ROWS: Move = ["row_tile", "k"],
  Q_COLUMNS: Move = ["column_tile", "q"],
  DO_COLUMNS: Move = ["column_tile", "dO"];

/** A second operand whose rows stay gets a tile of its own. */
function second(operand: "dO" | "v", stay: boolean): Move {
  return [stay ? "output_tile" : "row_tile", operand];
}

const rowTiles = (stay: boolean) => stay ? ["row_tile", "output_tile"] : ["row_tile"];

const zero = (name: string, options: FlashOptions) =>
  results(options, (result) => `  var ${name}_${result} = vec4f();`);

/** Where the rows and columns of a tile of queries are. */
const queryRows = `  let head = p.head + id.y;
  let batch = id.z;
  let row0 = (groups.x - 1u - id.x) * ROWS;
  let query = row0 + 4u * y;
  let q_at = place(p.q, batch * p.T, head);
  let k_at = place(p.k, batch * p.S, head / p.group);
  let v_at = place(p.v, batch * p.S, head / p.group);`;

const keyColumns = `    let keys = vec4u(column0 + 4u * x) + COLUMN;
    let masked = !whole(row0, ROWS, column0, COLUMNS);`;

/** q, k, v, (mask[B, S]), (bias[H, T, S]) → o, L[B·H, T] */
export function flashForward(options: FlashOptions): FlashShader {
  const shape = flashShape(options), stay = shape.panels === 1;
  const text = wgsl`
${
    declareBuffers(operands(options, { heads: ["q", "k", "v"], more: [] }), [
      "o_out: array<vec4f>",
      "stats_out: array<f32>",
    ])
  }
${flashPrelude(options)}
${keyTiles(options)}
${tiles(["row_tile"], options)}
var<workgroup> peak_tile: array<array<vec4f, ${shape.X}>, ${shape.Y}>;
${loads([Q_ROWS, K_COLUMNS, V_COLUMNS], options)}

${opening(options)}
${queryRows}
  var top = vec4f(MASKED);
  var total = vec4f();
${zero("o", options)}
${stay ? bring(Q_ROWS, "row0", "0u") : ""}
  let end = end_tile(row0);
  for (var tile = first_tile(row0); tile < end; tile++) {
    let column0 = tile * COLUMNS;
${keyColumns}
${zeroScores("s")}
${panelScores("s", { rows: Q_ROWS, columns: K_COLUMNS, stay }, options)}
${scoreRows("queries", options)}
    let peak = vec4f(${[0, 1, 2, 3].map((i) => `max(max(t${i}.x, t${i}.y), max(t${i}.z, t${i}.w))`).join(", ")});
${acrossLanes({ result: "next", value: "peak", combine: (a, b) => `max(${a}, ${b})` }, shape)}
    next = max(top, next);
    let fade = exp(top - next);
    top = next;
${
    four((i) =>
      `    t${i} = select(exp(t${i} - vec4f(top.${"xyzw"[i]})), vec4f(), t${i} == vec4f(MASKED));
    score_tile[4u * y + ${i}u][x] = t${i};`
    )
  }
    total = total * fade + vec4f(${[0, 1, 2, 3].map((i) => `(t${i}.x + t${i}.y) + (t${i}.z + t${i}.w)`).join(", ")});
${results(options, (result, i) => `    o_${result} *= fade.${"xyzw"[i]};`)}
${panelResults("o", V_COLUMNS, options)}
  }
${acrossLanes({ result: "sum", value: "total", combine: (a, b) => `${a} + ${b}` }, shape)}
  let empty = top == vec4f(MASKED);
  let share = select(1.0 / sum, vec4f(), empty);
  let level = select(top + log(sum), vec4f(), empty);
${joinSlices("o", options)}
  let o_at = place(p.o, batch * p.T, head);
${store("o", { to: "o", buffer: "o_out", limit: "p.T", factor: (i) => `share.${"xyzw"[i]}` }, options)}
  if (x == 0u) {
    let at = p.stats + (batch * p.H + head) * p.T + query;
${four((i) => `    if (query + ${i}u < p.T) { stats_out[at + ${i}u] = level.${"xyzw"[i]}; }`)}
  }
}`;
  return { wgsl: text, tripsPerTile: 1 + scoreTrips(shape) + accumulateTrips(shape) };
}

/** q, k, v, dO, stats[B·H, T, 2] (L and δ), (mask), (bias) → dq */
export function flashQueryGrad(options: FlashOptions): FlashShader {
  const shape = flashShape(options), stay = shape.panels === 1;
  const dO = second("dO", stay);
  const more = ["dO_in: array<vec4f>", "stats_in: array<vec2f>"];
  const text = wgsl`
${
    declareBuffers(operands(options, { heads: ["q", "k", "v"], more }), [
      options.packed ? "d_out: array<vec4f>" : "dq_out: array<vec4f>",
    ])
  }
${flashPrelude(options)}
${keyTiles(options)}
${tiles(rowTiles(stay), options)}
${loads([Q_ROWS, dO, K_COLUMNS, V_COLUMNS], options)}

${opening(options)}
${queryRows}
  let dO_at = place(p.dO, batch * p.T, head);
  let stats_at = p.stats + (batch * p.H + head) * p.T;
${four((i) => `  let stats${i} = stats_in[stats_at + min(query + ${i}u, p.T - 1u)];`)}
${zero("dq", options)}
${stay ? `${bring(Q_ROWS, "row0", "0u")}\n${bring(dO, "row0", "0u")}` : ""}
  let end = end_tile(row0);
  for (var tile = first_tile(row0); tile < end; tile++) {
    let column0 = tile * COLUMNS;
${keyColumns}
${zeroScores("e")}
${panelScores("e", { rows: dO, columns: V_COLUMNS, stay }, options)}
${zeroScores("s")}
${panelScores("s", { rows: Q_ROWS, columns: K_COLUMNS, stay }, options)}
${scoreRows("queries", options)}
${
    four((i) =>
      `    score_tile[4u * y + ${i}u][x] = exp(t${i} - stats${i}.x) * (${scoreRow("e", i)} - stats${i}.y)${
        slope(i, options)
      };`
    )
  }
${stay ? `    workgroupBarrier();\n${accumulate("dq", 0, options)}` : panelResults("dq", K_COLUMNS, options)}
  }
${joinSlices("dq", options)}
  let dq_at = place(p.dq, batch * p.T, head);
${
    store("dq", {
      to: "dq",
      buffer: options.packed ? "d_out" : "dq_out",
      limit: "p.T",
      factor: () => "p.scale",
    }, options)
  }
}`;
  return { wgsl: text, tripsPerTile: 1 + 2 * scoreTrips(shape) + accumulateTrips(shape) };
}

/** Which gradients {@linkcode flashKeyGrad} writes: both, or one where a kernel may not bind so many buffers. */
export type KeyGrads = "both" | "dk" | "dv";

/** q, k, (v), dO, stats, (mask), (bias) → dk, dv; without dk no v is read. */
export function flashKeyGrad(options: FlashOptions, grads: KeyGrads): FlashShader {
  const { packed } = options;
  const shape = flashShape(options), stay = shape.panels === 1;
  const v = second("v", stay), dk = grads !== "dv", dv = grads !== "dk";
  const names = [...dk ? ["dk"] : [], ...dv ? ["dv"] : []];
  const more = ["dO_in: array<vec4f>", "stats_in: array<vec2f>"];
  const text = wgsl`
${
    declareBuffers(
      operands(options, { heads: dk ? ["q", "k", "v"] : ["q", "k"], more }),
      packed ? ["d_out: array<vec4f>"] : names.map((name) => `${name}_out: array<vec4f>`),
    )
  }
${flashPrelude(options)}
${tiles(dk ? rowTiles(stay) : ["row_tile"], options)}
${loads([K_ROWS, Q_COLUMNS, DO_COLUMNS, ...dk ? [v] : []], options)}

${opening(options)}
  let batch = id.z;
  let key_head = p.head / p.group + id.y;
  let row0 = id.x * ROWS;
  let key = row0 + 4u * y;
  let k_at = place(p.k, batch * p.S, key_head);
#if ${dk}
  let v_at = place(p.v, batch * p.S, key_head);
#endif
${names.map((name) => zero(name, options)).join("\n")}
${stay ? bring(K_ROWS, "row0", "0u") : ""}
${stay && dk ? bring(v, "row0", "0u") : ""}
${queryTiles(options)}
  for (var i = 0u; i < p.group * (end - first); i++) {
    let head = key_head * p.group + i / (end - first);
    let column0 = (first + i % (end - first)) * COLUMNS;
    let queries = vec4u(column0 + 4u * x) + COLUMN;
    let masked = !whole(column0, COLUMNS, row0, ROWS);
    let q_at = place(p.q, batch * p.T, head);
    let dO_at = place(p.dO, batch * p.T, head);
    let stats_at = vec4u(p.stats + (batch * p.H + head) * p.T) + min(queries, vec4u(p.T - 1u));
${["x", "y", "z", "w"].map((z) => `    let stats_${z} = stats_in[stats_at.${z}];`).join("\n")}
    let level = vec4f(stats_x.x, stats_y.x, stats_z.x, stats_w.x);
    let delta = vec4f(stats_x.y, stats_y.y, stats_z.y, stats_w.y);
${zeroScores("s")}
${panelScores("s", { rows: K_ROWS, columns: Q_COLUMNS, stay }, options)}
${scoreRows("keys", options)}
${four((i) => `    t${i} = exp(t${i} - level);`)}
${dv ? four((i) => `    score_tile[4u * y + ${i}u][x] = t${i};`) : ""}
${dk ? zeroScores("e") : ""}
${outputPanels({ rows: v, columns: DO_COLUMNS, stay: stay || !dk }, { dk, dv }, options)}
#if ${dk}
    workgroupBarrier();
${
    dk
      ? four((i) => `    score_tile[4u * y + ${i}u][x] = t${i} * (${scoreRow("e", i)} - delta)${slope(i, options)};`)
      : ""
  }
${dk ? panelResults("dk", Q_COLUMNS, options) : ""}
#endif
  }
${names.map((name) => joinSlices(name, options)).join("\n")}
${names.map((name) => `  let ${name}_at = place(p.${name}, batch * p.S, key_head);`).join("\n")}
${
    names.map((to) =>
      store(
        to,
        { to, buffer: packed ? "d_out" : `${to}_out`, limit: "p.S", factor: () => to === "dk" ? "p.scale" : "1.0" },
        options,
      )
    ).join("\n")
  }
}`;
  const products = (dk ? 2 : 1) * scoreTrips(shape) + names.length * accumulateTrips(shape);
  return { wgsl: text, tripsPerTile: 1 + products };
}

/** The tiles [first, end) of queries that see a key of this workgroup. */
function queryTiles({ causal, window }: FlashOptions): string {
  return wgsl`
#if ${causal}
  let first = row0 / COLUMNS;
#else
  let first = 0u;
#endif
#if ${window}
  let end = (min(p.T, row0 + ROWS - 1u + p.window) + COLUMNS - 1u) / COLUMNS;
#else
  let end = (p.T + COLUMNS - 1u) / COLUMNS;
#endif`;
}

/** dv += P · dO and e = v · dO, panel by panel while dO is in its tile. */
function outputPanels(
  call: Panels,
  { dk, dv }: { readonly dk: boolean; readonly dv: boolean },
  options: FlashOptions,
): string {
  return unroll(flashShape(options).panels, (panel) =>
    `${bringPanels(call, `${panel}u`)}
${dk ? scores("e", call.rows[0], options) : ""}
${dv ? accumulate("dv", panel, options) : ""}`);
}
