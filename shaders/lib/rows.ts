// How a group of lanes walks one row of D numbers: lane l takes the vectors l, l + lanes, l + 2·lanes, …
//
// A vector is a `vec4f` where D is a multiple of 4, else one `f32`; both are called Vector. Rows that fit in
// registers are loaded once and the walk is unrolled; longer ones are read again in every pass of a loop.
import { wgsl } from "../wgsl.ts";
import type { LaneGroup } from "./reduce.ts";

/**
 * Vectors that one lane keeps; beyond, the row is read again. A GPU has 255 registers a lane, so 32 vectors leave room;
 * the software driver keeps them on its stack, where they are still cheaper than another load from a buffer.
 */
const KEPT = { gpu: 32, software: 64 } as const;

/** Options of {@linkcode rowWalk}. */
export interface RowWalkOptions {
  /** Numbers in a row. */
  readonly D: number;
  readonly group: LaneGroup;
  /** What every pass may use: names and the WGSL that loads them at vector `start + c` of the row. */
  readonly values: Readonly<Record<string, string>>;
}

/** WGSL to walk a row. */
export interface RowWalk {
  /** Type Vector, constants WIDTH (vectors in a row), LANES and D, and the function `total(v)`: sum of components. */
  readonly header: string;
  /** Loads what is kept; once, before the first pass. */
  readonly load: string;
  /** Run `body` for each vector `c` of this lane, with the values by their names. */
  readonly pass: (body: string) => string;
  /** Loop iterations of one pass. */
  readonly trips: number;
}

/** Text of a kernel and the loop iterations of one invocation. */
export interface RowShader {
  readonly wgsl: string;
  readonly trips: number;
}

/** The text that walks rows of one width. */
export function rowWalk({ D, group: { lanes, shuffle }, values }: RowWalkOptions): RowWalk {
  const { vector, width } = vectorsOf(D);
  const visits = Math.ceil(width / lanes);
  const names = Object.entries(values);
  const header = `alias Vector = ${vector ? "vec4f" : "f32"};
const D = ${D}.0;
const WIDTH = ${width}u;
const LANES = ${lanes}u;
fn total(v: Vector) -> f32 { return ${vector ? "(v.x + v.y) + (v.z + v.w)" : "v"}; }`;
  if (visits * names.length > KEPT[shuffle ? "software" : "gpu"]) {
    const loads = names.map(([name, load]) => `let ${name} = ${load};`).join(" ");
    return {
      header,
      load: "",
      pass: (body) => `  for (var c = lane; c < WIDTH; c += LANES) { ${loads} ${body} }`,
      trips: visits,
    };
  }
  const each = (line: (visit: number, guard: string) => string) =>
    Array.from({ length: visits }, (_, visit) => {
      const full = (visit + 1) * lanes <= width;
      return line(visit, full ? "" : `if (lane + ${visit * lanes}u < WIDTH) `);
    }).join("\n");
  return {
    header,
    load: names.map(([name, load]) =>
      each((visit, guard) => {
        const at = `let c = lane + ${visit * lanes}u;`;
        return `  var ${name}_${visit} = Vector(); ${guard}{ ${at} ${name}_${visit} = ${load}; }`;
      })
    ).join("\n"),
    pass: (body) =>
      each((visit, guard) => {
        const kept = names.map(([name]) => `let ${name} = ${name}_${visit};`).join(" ");
        return `  ${guard}{ let c = lane + ${visit * lanes}u; ${kept} ${body} }`;
      }),
    trips: 0,
  };
}

/** Whether rows of D numbers can be read as vectors of four, and how many vectors they have. */
export function vectorsOf(D: number): { readonly vector: boolean; readonly width: number } {
  return D % 4 === 0 ? { vector: true, width: D / 4 } : { vector: false, width: D };
}

/** The entry point's parameters and the row `n` of this group; uniform `p.rows` is the number of rows. */
export function rowMain(lanes: number): string {
  return wgsl`
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = flat_workgroup(id, groups);
  if (n >= p.rows) { return; }`;
}
