// Attention of one new position a sequence, where lanes meet in workgroup memory; equations in decode.ts.
//
// One workgroup per sequence and query head walks over tiles of the cache, as many positions as lanes: a lane takes the
// score of one position; then lanes take the columns of the output, several groups of them where there are more lanes
// than columns, each group every so many positions of the tile. Maximum and sum are kept up on the way.
import { decodeBuffers, decodeOpening, type DecodeOptions, decodePrelude } from "./lib/decode.ts";
import { reduction } from "./lib/reduce.ts";
import { unroll } from "./lib/product.ts";
import { vectorType, widthOf } from "./lib/vector.ts";
import { wgsl } from "./wgsl.ts";

/** Vectors of a key, and positions of a tile, that one iteration takes in. */
const KEY_VECTORS = 8, VALUES = 4;

/** How lanes are laid over columns. */
function layout({ group: { lanes }, E }: DecodeOptions) {
  const width = widthOf(E);
  const pieces = E / width; // vectors of a head
  const own = Math.ceil(pieces / lanes); // of a lane
  let groups = 1; // of lanes that hold the same columns
  while (2 * groups * pieces <= lanes) groups *= 2;
  const keys = [KEY_VECTORS, 4, 2, 1].find((count) => pieces % count === 0)!;
  return { width, pieces, own, groups, keys, values: Math.min(VALUES, lanes / groups) };
}

/** Loop iterations of a lane. */
export function decodeTilesTrips(options: DecodeOptions): number {
  const { group: { lanes }, Tmax } = options;
  const { pieces, groups, own, keys, values } = layout(options);
  const tile = 1 + pieces / keys + lanes / groups / values;
  return 3 * own + groups + Math.ceil(Tmax / lanes) * tile;
}

/** As attentionDecode of decode.ts. */
export function attentionDecodeTiles(options: DecodeOptions): string {
  const { group, bias = false, readers } = options;
  const { lanes } = group;
  const { width, pieces, own, groups, keys, values } = layout(options);
  const type = vectorType(width);
  const [q, k, v] = decodeBuffers(options);
  const reading = readers !== undefined;
  const columns = (text: (i: number) => string) => unroll(own, text); // of this lane
  const busy = own > 1 ? (i: number) => `column + ${i * lanes}u < PIECES` : () => `part < ${groups}u`;
  return wgsl`
${decodePrelude(options)}
const LANES = ${lanes}u;
const GROUPS = ${groups}u; // of lanes that hold the same columns
var<workgroup> q_tile: array<${type}, ${pieces}>;
var<workgroup> weights: array<f32, ${lanes}>;
var<workgroup> outputs: array<${type}, ${lanes}>;
${reduction(group, { name: "group_max", type: "f32", combine: "max" })}
${reduction(group, { name: "group_sum", type: "f32", combine: "sum" })}

${decodeOpening(options)}
  let column = lane % ${own > 1 ? lanes : pieces}u;
  let part = lane / ${own > 1 ? lanes : pieces}u;
  for (var i = lane; i < PIECES; i += LANES) { q_tile[i] = ${q}[query + i] * p.scale; }
  workgroupBarrier();
  var highest = -1e30;
  var total = 0.0; // of this lane's positions
${columns((i) => `  var o${i} = ${type}();`)}
#if ${!reading}
  var product = 0.0;
  for (var i = lane; i < PIECES; i += LANES) { product += inner(q_tile[i], ${k}[key + i]); }
  highest = bent(group_sum(product, lane))${bias ? " + bias[LAST * H + h]" : ""};
  total = select(0.0, 1.0, lane == 0u);
${columns((i) => `  if (part == 0u && ${busy(i)}) { o${i} = ${v}[value + column + ${i * lanes}u]; }`)}
#endif
  for (var tile = from_t; tile < now; tile += LANES) {
    let t = tile + lane;
    let key_at = cache_at(cached, min(t, now - 1u), shared_head);
    var sum = 0.0;
    for (var i = 0u; i < PIECES; i += ${keys}u) {
${unroll(keys, (j) => `      sum += inner(q_tile[i + ${j}u], cache_k[key_at + i + ${j}u]);`)}
    }
    let score = select(-1e30, bent(sum)${bias ? " + bias[(LAST + min(t, now) - now) * H + h]" : ""}, t < now);
    let next = max(highest, group_max(score, lane));
    let keep = exp(highest - next);
    highest = next;
    let weight = select(0.0, exp(score - next), t < now);
    total = total * keep + weight;
    weights[lane] = weight;
    workgroupBarrier();
${columns((i) => `    o${i} *= keep;`)}
    for (var i = part; i < LANES; i += ${values * groups}u) {
${
    unroll(values, (j) =>
      `      {
        let row = i + ${j * groups}u;
        let value_at = cache_at(cached, min(tile + row, now - 1u), shared_head) + column;
${columns((u) => `        if (${busy(u)}) { o${u} += weights[row] * cache_v[value_at + ${u * lanes}u]; }`)}
      }`)
  }
    }
    workgroupBarrier();
  }
  let all = group_sum(total, lane);
  let out = (n * H + h) * PIECES + column;
#if ${groups > 1}
  outputs[lane] = o0;
  workgroupBarrier();
  if (part == 0u) {
    for (var i = 1u; i < GROUPS; i++) { o0 += outputs[column + i * PIECES]; }
  }
#endif
${columns((i) => `  if (part == 0u && ${busy(i)}) { o[out + ${i * lanes}u] = o${i} / all; }`)}
}`;
}
