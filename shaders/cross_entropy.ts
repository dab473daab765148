// Cross-entropy of rows of logits with class weights w and label smoothing e (arXiv:1512.00567), as PyTorch defines it.
//
//   p = softmax(x)     row = (1-e) w[y] (-log p[y]) + (e/V) sum_c w[c] (-log p[c])
//                          = mass (-log p[y]) - (e/V) sum_c w[c] (x[c] - x[y])     mass = (1-e) w[y] + (e/V) sum_c w[c]
//   drow/dx[c] = mass p[c] - (1-e) w[y] [c = y] - (e/V) w[c]
//
// With softcap, x is softcap · tanh(logit / softcap), and the gradient is that of the logit.
// One workgroup per row: its lanes keep a running maximum and a sum of exp(x - maximum), so a row is read once.
// The difference to x[y] instead of to zero keeps the smoothed loss exact where all logits are large.
import { declareBuffers } from "./lib/bindings.ts";
import { flatWorkgroup } from "./lib/index.ts";
import { type LaneGroup, reduction } from "./lib/reduce.ts";
import { rowMain } from "./lib/rows.ts";
import { wgsl } from "./wgsl.ts";

/** The label of rows that do not count: -100 as a 32-bit word. */
export const IGNORE_INDEX = 0xffffff9c;

/** What the kernels of one loss have in common. */
export interface CrossEntropyOptions extends LaneGroup {
  /** Classes. */
  readonly V: number;
  /** Words from one row of logits to the next, V by default; rows of a multiple of four are read as vectors. */
  readonly stride?: number;
  /** e, in [0, 1). */
  readonly smoothing: number;
  /** Whether there are class weights w[V]. */
  readonly weighted: boolean;
  /** Whether a word of a buffer multiplies the loss. */
  readonly factor: boolean;
  /** Logits are bent to softcap · tanh(logit / softcap) first. */
  readonly softcap?: number;
}

/** Options of {@linkcode crossEntropyRows}. */
export interface CrossEntropyRowsOptions extends CrossEntropyOptions {
  /**
   * `rows`: only the losses; `saved`: also the maximum and mass / sum of each row, for the gradient;
   * `gradient`: the logits are replaced by their gradient, in columns up to the stride.
   */
  readonly result: "rows" | "saved" | "gradient";
  /** Whether the gradient of each row is multiplied by a number of its own. */
  readonly rowFactor: boolean;
}

/** Vectors that one row has. */
function cells({ V, stride = V }: CrossEntropyOptions): number {
  return stride % 4 === 0 ? Math.ceil(V / 4) : V;
}

/** Loop iterations of an invocation that passes over a row once. */
export function rowTrips(options: CrossEntropyOptions): number {
  return Math.ceil(cells(options) / options.lanes);
}

/** Rows as cells of one or four columns, and the gradient of a cell. */
function rowFunctions(options: CrossEntropyOptions): string {
  const { V, stride = V, smoothing, weighted, softcap } = options;
  const vector = stride % 4 === 0;
  return wgsl`
const V = ${V}u;
const STRIDE = ${vector ? stride / 4 : stride}u;
const CELLS = ${cells(options)}u;
const IGNORE = ${IGNORE_INDEX}u;
const LOW = -3.0e38;
const HIT: f32 = ${1 - smoothing};
const SPREAD: f32 = ${smoothing / V};
#if ${vector}
alias Cell = vec4f;
alias Columns = vec4u;
fn columns(i: u32) -> Columns { return vec4u(4u * i) + vec4u(0u, 1u, 2u, 3u); }
fn largest(x: Cell) -> f32 { return max(max(x.x, x.y), max(x.z, x.w)); }
fn total(x: Cell) -> f32 { return (x.x + x.y) + (x.z + x.w); }
fn logit(start: u32, column: u32) -> f32 { return bent_one(logits[start + column / 4u][column % 4u]); }
#else
alias Cell = f32;
alias Columns = u32;
fn columns(i: u32) -> Columns { return i; }
fn largest(x: Cell) -> f32 { return x; }
fn total(x: Cell) -> f32 { return x; }
fn logit(start: u32, column: u32) -> f32 { return bent_one(logits[start + column]); }
#endif
${bend("bent", "Cell", "Columns", softcap)}
${vector ? bend("bent_one", "f32", "u32", softcap) : "fn bent_one(x: f32) -> f32 { return bent(x); }"}
fn slope(y: Cell) -> Cell {
#if ${softcap !== undefined}
  let t = y * ${1 / (softcap ?? 1)};
  return 1.0 - t * t;
#else
  return Cell(1.0);
#endif
}
fn inside(x: Cell, i: u32, outside: f32) -> Cell { return select(Cell(outside), x, columns(i) < Columns(V)); }
#if ${weighted}
fn label_weight(label: u32) -> f32 { return class_weights[label]; }
#else
fn label_weight(label: u32) -> f32 { return 1.0; }
#endif
#if ${weighted && vector}
fn weight(i: u32) -> Cell {
  return vec4f(class_weights[4u * i], class_weights[4u * i + 1u], class_weights[4u * i + 2u], class_weights[4u * i + 3u]);
}
#elif ${weighted}
fn weight(i: u32) -> Cell { return class_weights[i]; }
#else
fn weight(i: u32) -> Cell { return Cell(1.0); }
#endif
// share = mass / sum · scale and hit = (1 - e) w[y] · scale
fn gradient(x: Cell, i: u32, label: u32, high: f32, share: f32, hit: f32, scale: f32) -> Cell {
  var d = exp(x - high) * share - select(Cell(), Cell(hit), columns(i) == Columns(label));
#if ${smoothing > 0}
  d -= weight(i) * (scale * SPREAD);
#endif
  return inside(d * slope(x), i, 0.0);
}`;
}

/** `name(x)`: x with soft-capping, where there is; tanh is ±1 beyond ±15, where some drivers overflow. NaN stays NaN. */
function bend(name: string, type: string, bits: string, softcap: number | undefined): string {
  return wgsl`
fn ${name}(x: ${type}) -> ${type} {
#if ${softcap !== undefined}
  let y = ${softcap ?? 0} * tanh(clamp(x * ${1 / (softcap ?? 1)}, ${type}(-15.0), ${type}(15.0)));
  return select(y, x, (bitcast<${bits}>(x) & ${bits}(0x7fffffffu)) > ${bits}(0x7f800000u));
#else
  return x;
#endif
}`;
}

/**
 * logits[n, stride], labels[N] (, class_weights[V]) (, factor[·]) (, row_factor[N]) → rows[N] (, saved[n, 2]);
 * uniform p: rows n, first of them, word of the factor, bits of NaN.
 *
 * A label outside of the classes makes its row's loss NaN, so that it cannot pass in silence.
 */
export function crossEntropyRows(options: CrossEntropyRowsOptions): string {
  const { lanes, smoothing, weighted, factor, rowFactor, result } = options;
  const inPlace = result === "gradient";
  const reads = [
    ...(inPlace ? [] : ["logits: array<Cell>"]),
    "labels: array<u32>",
    ...(weighted ? ["class_weights: array<f32>"] : []),
    ...(factor && inPlace ? ["factor: array<f32>"] : []),
    ...(rowFactor && inPlace ? ["row_factor: array<f32>"] : []),
  ];
  const writes = [
    ...(inPlace ? ["logits: array<Cell>"] : []),
    "rows: array<f32>",
    ...(result === "saved" ? ["saved: array<vec2f>"] : []),
  ];
  return wgsl`
struct P { rows: u32, first: u32, word: u32, nan: u32 }
${declareBuffers(reads, writes)}
${flatWorkgroup()}
${rowFunctions(options)}
${reduction(options, { name: "row_max", type: "f32", combine: "max" })}
${reduction(options, { name: "row_sum", type: "f32", combine: "sum" })}

${rowMain(lanes)}
  let start = n * STRIDE;
  let word = labels[p.first + n];
  let ignored = word == IGNORE;
  let label = min(word, V - 1u);
  let at_label = logit(start, label);
  var highest = LOW;
  var sum = 0.0;
  var spread = 0.0;
  var weights = 0.0;
  let count = select(CELLS, 0u, ignored);
  for (var i = lane; i < count; i += ${lanes}u) {
    let x = inside(bent(logits[start + i]), i, LOW);
    let top = largest(x);
    if (top > highest) {
      sum *= exp(highest - top);
      highest = top;
    }
    sum += total(exp(x - highest));
#if ${smoothing > 0}
    let w = inside(weight(i), i, 0.0);
    spread += total(w * (x - at_label));
    weights += total(w);
#endif
  }
  let high = row_max(highest, lane);
  let all = select(row_sum(sum * exp(highest - high), lane), 1.0, ignored);
  let hit = HIT * label_weight(label);
  var mass = hit;
  var rest = 0.0;
#if ${smoothing > 0}
  mass += SPREAD * row_sum(weights, lane);
  rest = SPREAD * row_sum(spread, lane);
#endif
  let loss = mass * (high - at_label + log(all)) - rest;
  if (lane == 0u) {
    rows[p.first + n] = select(select(loss, bitcast<f32>(p.nan), word >= V), 0.0, ignored);
#if ${result === "saved"}
    saved[n] = vec2f(high, mass / all);
#endif
  }
#if ${inPlace}
  var scale = 1.0;
#if ${factor}
  scale *= factor[p.word];
#endif
#if ${rowFactor}
  scale *= row_factor[p.first + n];
#endif
  let share = mass / all * scale;
  for (var i = lane; i < STRIDE; i += ${lanes}u) {
    if (ignored || i >= CELLS) {
      logits[start + i] = Cell();
    } else {
      logits[start + i] = gradient(bent(logits[start + i]), i, label, high, share, hit * scale, scale);
    }
  }
#endif
}`;
}

/**
 * logits[n, V], labels[n], saved[n, 2], dy[1] (, class_weights[V]) (, factor[·]) → dlogits[n, V];
 * uniform p: rows n, first of them in labels, word of the factor.
 */
export function crossEntropyGradient(options: CrossEntropyOptions): string {
  const { lanes, weighted, factor } = options;
  const reads = [
    "logits: array<Cell>",
    "labels: array<u32>",
    "saved: array<vec2f>",
    "dy: array<f32>",
    ...(weighted ? ["class_weights: array<f32>"] : []),
    ...(factor ? ["factor: array<f32>"] : []),
  ];
  return wgsl`
struct P { rows: u32, first: u32, word: u32, nan: u32 }
${declareBuffers(reads, ["dlogits: array<Cell>"])}
${flatWorkgroup()}
${rowFunctions(options)}

${rowMain(lanes)}
  let label = labels[p.first + n];
  var scale = dy[0];
#if ${factor}
  scale *= factor[p.word];
#endif
  let high_share = saved[n];
  let hit = HIT * label_weight(min(label, V - 1u)) * scale;
  for (var i = lane; i < CELLS; i += ${lanes}u) {
    let at = n * STRIDE + i;
    if (label == IGNORE) {
      dlogits[at] = Cell();
    } else {
      dlogits[at] = gradient(logits[at], i, label, high_share.x, high_share.y * scale, hit, scale);
    }
  }
}`;
}
