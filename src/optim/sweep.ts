// How the kernels over flat storage share it out, by class of device.
import type { Sweep } from "../../shaders/lib/sweep.ts";
import type { Target } from "../graph/target.ts";

/**
 * The software driver likes workgroups of one subgroup and long runs: AdamW on 2.5 M parameters takes 2/3 of the time of
 * 64 x 1 (medians of 40 runs in turn). A GPU wants many workgroups even for an adapter of 100,000 parameters.
 */
export function sweepOf({ kind, subgroup }: Target): Sweep {
  return kind === "software" ? { lanes: subgroup || 8, vectors: 16 } : { lanes: 64, vectors: 4 };
}
