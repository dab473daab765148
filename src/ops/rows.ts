// Ops that give each row to one group of lanes: how large the group is, and the dispatches, cut by rows.
import type { LaneGroup } from "../../shaders/lib/reduce.ts";
import type { RowShader } from "../../shaders/lib/rows.ts";
import type { Kernel, Value } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import { parts, rowRange } from "./parts.ts";
import { chosenTile } from "./product_candidates.ts";

/** Lanes of a row without subgroups: 32 to 128 are equally fast on an H100, and every device has 64. */
const LANES = 64;

/** Lanes of a row that `deno task tune` measures where lanes meet in workgroup memory. */
export const ROW_LANES: Readonly<Record<string, number>> = { "32": 32, "128": 128, "256": 256 };

/** What the choice is kept under. */
export const ROWS_KEY = "rows";

/** The invocations that share a row of a norm, a softmax or a sum on this device, as chosen for it. */
export function rowGroup(target: Target): LaneGroup {
  const group = laneGroup(target), lanes = chosenTile(ROW_LANES, ROWS_KEY, target);
  return group.shuffle || lanes === undefined ? group : { ...group, lanes };
}

/** The invocations that share a row on this device. */
export function laneGroup({ kind, subgroup }: Target): LaneGroup {
  return kind === "software" && subgroup > 1 ? { lanes: subgroup, shuffle: true } : { lanes: LANES, shuffle: false };
}

/** What {@linkcode rowKernels} needs beside the shader. */
export interface RowCall {
  readonly name: string;
  /** Number of rows. */
  readonly N: number;
  /** Width of the widest operand. */
  readonly D: number;
  readonly shader: RowShader;
  /** Operands that have N rows. */
  readonly rows: readonly Value[];
  /** Operands that every row uses whole, such as weights; bound behind `rows`. */
  readonly shared?: readonly Value[];
  /** Results with N rows. */
  readonly outputs: readonly Value[];
  /** Words of the uniform behind the number of rows. */
  readonly words?: readonly number[];
}

/** The dispatches of a row shader, cut where an operand exceeds one binding. */
export function rowKernels(call: RowCall, target: Target): Kernel[] {
  const { name, N, D, shader: { wgsl, trips }, rows, shared = [], outputs, words = [] } = call;
  return parts(N, D, target).map((part) => ({
    name,
    wgsl,
    read: [...rows.map((v) => rowRange(v, N, part)), ...shared],
    write: outputs.map((v) => rowRange(v, N, part)),
    uniform: [part.hi - part.lo, ...words],
    workgroups: part.hi - part.lo,
    trips,
  }));
}
