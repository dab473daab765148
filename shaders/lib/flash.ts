// What the kernels of flash attention (arXiv:2205.14135, 2307.08691) share: sizes, the uniform, and who sees whom.
//
// A workgroup owns `rows` rows of one operand and walks the other one in tiles of `columns`. Lane (y, x) has the 4 × 4
// scores of rows 4y … 4y+3 and columns 4x … 4x+3. Heads are cut into panels of `width` vectors, so that workgroup
// memory does not grow with them.
import { wgsl } from "../wgsl.ts";

/** Tile of a workgroup. */
export interface FlashTile {
  /** Rows and columns, multiples of four. */
  readonly rows: number;
  readonly columns: number;
  /** Most vectors of four of a panel. */
  readonly width: number;
}

/** What the texts depend on. */
export interface FlashOptions {
  /** Columns of a head, a multiple of four. */
  readonly E: number;
  readonly tile: FlashTile;
  /** q, k and v are columns of one buffer. */
  readonly packed: boolean;
  /** A row sees itself and earlier keys. */
  readonly causal: boolean;
  /** A row sees only the last `p.window` keys up to itself; needs `causal`. */
  readonly window: boolean;
  /** Which keys are real is in `mask`. */
  readonly mask: boolean;
  /** bias[H, T, S] is added to the scores. */
  readonly bias: boolean;
  /** Scores are bent to p.cap · tanh(score / p.cap). */
  readonly softcap: boolean;
}

/** Sizes that follow from the head and the tile. */
export interface FlashShape {
  /** Lanes along the columns and along the rows. */
  readonly X: number;
  readonly Y: number;
  /** Vectors of a head, of a panel, and panels of a head. */
  readonly E4: number;
  readonly W: number;
  readonly panels: number;
  /** Lanes side by side on the vectors of a result, results of a lane in a panel, and slices of the columns. */
  readonly across: number;
  readonly groups: number;
  readonly slices: number;
}

/** The sizes of a kernel. */
export function flashShape({ E, tile: { rows, columns, width } }: Pick<FlashOptions, "E" | "tile">): FlashShape {
  const X = columns / 4, E4 = E / 4;
  const panels = Math.ceil(E4 / width), W = Math.ceil(E4 / panels);
  const across = Math.min(X, 2 ** Math.ceil(Math.log2(W)));
  return { X, Y: rows / 4, E4, W, panels, across, groups: Math.ceil(W / across), slices: X / across };
}

/** Finite, because the compiler may assume that there are no infinities. */
const MASKED = "-1e30";

/** The uniform, `along` (a dot product added to a sum), `place`, and the functions that tell what is seen. */
export function flashPrelude({ E, tile, causal, window, mask, bias }: FlashOptions): string {
  return wgsl`
alias Matrix = vec2u; // offset and stride, in vectors
struct P {
  T: u32, S: u32, H: u32, group: u32,
  scale: f32, cap: f32, window: u32, head: u32,
  q: Matrix, k: Matrix, v: Matrix, o: Matrix, dO: Matrix, dq: Matrix, dk: Matrix, dv: Matrix,
  stats: u32, mask: u32, bias: u32, dbias: u32, batches: u32, added: u32,
}
const E4 = ${E / 4}u;
const ROWS = ${tile.rows}u;
const COLUMNS = ${tile.columns}u;
const MASKED = ${MASKED};
const COLUMN = vec4u(0u, 1u, 2u, 3u);

fn place(m: Matrix, row: u32, head: u32) -> u32 { return m.x + row * m.y + head * E4; }
fn along(a: vec4f, b: vec4f, sum: f32) -> f32 {
  return fma(a.w, b.w, fma(a.z, b.z, fma(a.y, b.y, fma(a.x, b.x, sum))));
}
fn visible(batch: u32, query: vec4u, key: vec4u) -> vec4<bool> {
  var seen = (query < vec4u(p.T)) & (key < vec4u(p.S));
#if ${causal}
  seen = seen & (key <= query);
#endif
#if ${window}
  seen = seen & (key + vec4u(p.window) > query);
#endif
#if ${mask}
  let at = vec4u(p.mask + batch * p.S) + min(key, vec4u(p.S - 1u));
  seen = seen & (vec4u(mask_in[at.x], mask_in[at.y], mask_in[at.z], mask_in[at.w]) != vec4u());
#endif
  return seen;
}
#if ${bias}
fn bias_of(head: u32, query: vec4u, key: vec4u) -> vec4f {
  let row = vec4u(p.bias + (head - p.head) * p.T * p.S) + min(query, vec4u(p.T - 1u)) * p.S;
  let at = row + min(key, vec4u(p.S - 1u));
  return vec4f(bias_in[at.x], bias_in[at.y], bias_in[at.z], bias_in[at.w]);
}
#endif
// Whether every row sees every column of a tile, so that nothing needs to be masked.
fn whole(query: u32, queries: u32, key: u32, keys: u32) -> bool {
  var all = query + queries <= p.T && key + keys <= p.S;
#if ${causal}
  all = all && key + keys <= query + 1u;
#endif
#if ${window}
  all = all && key + p.window >= query + queries;
#endif
#if ${mask}
  all = false;
#endif
  return all;
}`;
}

/** The tiles [first, end) of keys that the rows from `query` on may see. */
export function keyTiles({ causal, window }: FlashOptions): string {
  return wgsl`
fn first_tile(query: u32) -> u32 {
#if ${window}
  return (max(query + 1u, p.window) - p.window) / COLUMNS;
#else
  return 0u;
#endif
}
fn end_tile(query: u32) -> u32 {
#if ${causal}
  return (min(query + ROWS, p.S) + COLUMNS - 1u) / COLUMNS;
#else
  return (p.S + COLUMNS - 1u) / COLUMNS;
#endif
}`;
}
