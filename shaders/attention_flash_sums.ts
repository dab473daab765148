// What flash attention sums beside its walk: δ of every row, and the gradient of a bias; equations in
// attention_flash.ts.
//
// δ: some lanes of a workgroup per row. dbias: workgroup [key tile, query tile, head] adds over the sequences.
import { declareBuffers } from "./lib/bindings.ts";
import { type FlashOptions, flashPrelude, flashShape } from "./lib/flash.ts";
import { four, scoreRow, scoreTrips, tiles, zeroScores } from "./lib/flash_tiles.ts";
import { loads, type Move, opening, operands, panelScores, scoreRows } from "./lib/flash_walk.ts";
import { flatWorkgroup } from "./lib/index.ts";
import { unroll } from "./lib/product.ts";
import type { FlashShader } from "./attention_flash.ts";
import { wgsl } from "./wgsl.ts";

/** Invocations of a workgroup of {@linkcode flashDelta}. */
const LANES = 64;

/** Lanes that share a row of E numbers. */
function lanesOf(E: number): number {
  return 2 ** Math.min(4, Math.floor(Math.log2(E / 4)));
}

/** Rows of a workgroup. */
export function deltaRows(E: number): number {
  return LANES / lanesOf(E);
}

/** o[N, H·E], dO[N, H·E], L[B·H, T] → stats[B·H, T, 2]: L and δ = Σ o·dO */
export function flashDelta(E: number): string {
  const lanes = lanesOf(E);
  const halves = Array.from({ length: Math.log2(lanes) }, (_, i) => lanes >> (i + 1));
  return wgsl`
struct P { rows: u32, T: u32, H: u32, o: u32, dO: u32, level: u32, stats: u32 }
${declareBuffers(["o_in: array<vec4f>", "dO_in: array<vec4f>", "level_in: array<f32>"], ["stats_out: array<vec2f>"])}
const E4 = ${E / 4}u;
var<workgroup> part: array<f32, ${LANES}>;
${flatWorkgroup()}

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(id, groups) * ${LANES / lanes}u + lane / ${lanes}u;
  let l = lane % ${lanes}u;
  var sum = 0.0;
${
    unroll(Math.ceil(E / 4 / lanes), (u) => {
      const d = `l + ${u * lanes}u`;
      return `  if (i < p.rows && ${d} < E4) { sum += dot(o_in[p.o + i * E4 + ${d}], dO_in[p.dO + i * E4 + ${d}]); }`;
    })
  }
  part[lane] = sum;
  workgroupBarrier();
${
    halves.map((half) => `  if (l < ${half}u) { part[lane] += part[lane + ${half}u]; }\n  workgroupBarrier();`).join(
      "\n",
    )
  }
  if (i < p.rows && l == 0u) {
    let n = i / p.H;
    let at = (n / p.T * p.H + i % p.H) * p.T + n % p.T;
    stats_out[p.stats + at] = vec2f(level_in[p.level + at], part[lane]);
  }
}`;
}

/** q, k, v, dO, stats, (mask), bias → dbias[H, T, S], added to what it holds where `p.added` is not 0. */
export function flashBiasGrad(options: FlashOptions): FlashShader {
  const moves: Move[] = [["row_tile", "q"], ["column_tile", "k"], ["row_tile", "dO"], ["column_tile", "v"]];
  const [q, k, dO, v] = moves as [Move, Move, Move, Move];
  const more = ["dO_in: array<vec4f>", "stats_in: array<vec2f>"];
  const text = wgsl`
${declareBuffers(operands(options, { heads: ["q", "k", "v"], more }), ["dbias_out: array<f32>"])}
${flashPrelude(options)}
${tiles(["row_tile"], options)}
${loads(moves, options)}
fn put(head: u32, query: u32, key: u32, value: f32) {
  if (query >= p.T || key >= p.S) { return; }
  let at = p.dbias + ((head - p.head) * p.T + query) * p.S + key;
  var sum = value;
  if (p.added != 0u) { sum += dbias_out[at]; }
  dbias_out[at] = sum;
}

${opening(options)}
  let head = p.head + id.z;
  let row0 = id.y * ROWS;
  let column0 = id.x * COLUMNS;
  let query = row0 + 4u * y;
  let keys = vec4u(column0 + 4u * x) + COLUMN;
  let masked = !whole(row0, ROWS, column0, COLUMNS);
${four((i) => `  var d${i} = vec4f();`)}
  for (var batch = 0u; batch < p.batches; batch++) {
    let q_at = place(p.q, batch * p.T, head);
    let dO_at = place(p.dO, batch * p.T, head);
    let k_at = place(p.k, batch * p.S, head / p.group);
    let v_at = place(p.v, batch * p.S, head / p.group);
    let stats_at = p.stats + (batch * p.H + head) * p.T;
${zeroScores("s")}
${panelScores("s", { rows: q, columns: k, stay: false }, options)}
${zeroScores("e")}
${panelScores("e", { rows: dO, columns: v, stay: false }, options)}
${scoreRows("queries", options)}
${
    four((i) =>
      `    let stats${i} = stats_in[stats_at + min(query + ${i}u, p.T - 1u)];
    d${i} += exp(t${i} - stats${i}.x) * (${scoreRow("e", i)} - stats${i}.y);`
    )
  }
  }
${four((i) => [..."xyzw"].map((z) => `  put(head, query + ${i}u, keys.${z}, d${i}.${z});`).join("\n"))}
}`;
  return { wgsl: text, tripsPerTile: 1 + 2 * scoreTrips(flashShape(options)) };
}
