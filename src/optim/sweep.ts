// How the kernels over flat storage share it out, by class of device.
import type { Sweep } from "../../shaders/lib/sweep.ts";
import type { Target } from "../graph/target.ts";

/**
 * The software driver is fastest with workgroups of one subgroup and long runs (AdamW on 2.5 M parameters: 8.8 GB/s with
 * 8 x 16, 7.3 with 64 x 16, 2.3 with 64 x 1); a GPU wants many workgroups even for an adapter of 100,000 parameters.
 */
export function sweepOf({ kind, subgroup }: Target): Sweep {
  return kind === "software" ? { lanes: subgroup || 8, vectors: 16 } : { lanes: 64, vectors: 4 };
}
