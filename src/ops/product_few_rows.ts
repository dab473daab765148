// Products of few rows, such as one position of a text that is written: reading b is all the work.
import type { ProductFeatures } from "../../shaders/lib/product.ts";
import { matvecColumns, matvecSoftware, matvecStep } from "../../shaders/matvec_software.ts";
import { type MatvecShape, matvecTrips, matvecWorkgroup } from "../../shaders/matvec_workgroup.ts";
import type { Kernel } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import type { ProductCall } from "./product.ts";

/** Rows that share the loads of b in one dispatch. */
const SHARED_ROWS = { software: 2, gpu: 4 };

/** Rows up to which these kernels win: beyond, the tiles of the software driver are as fast; a GPU's cache serves b again. */
const MOST_ROWS = { software: 2, gpu: 16 };

/** Columns from which the software driver reads longer pieces of a row: more for each page of memory. */
const WIDE = 1536;

/** What the choice depends on. */
export type FewRowsCall = Pick<ProductCall, "M" | "N" | "K" | "ta" | "tb" | "repeat" | "causal" | "parts">;

/** Whether a product has so few rows; vectors must fit, which {@linkcode fewRowsKernel} sees. */
export function hasFewRows({ M, N, K, ta, tb, repeat = 1, causal, parts }: FewRowsCall, target: Target): boolean {
  const most = onSubgroups(target) ? MOST_ROWS.software : MOST_ROWS.gpu;
  const fits = (part: Pick<ProductCall, "N" | "K">) => part.K % 4 === 0 && (tb || part.N % 4 === 0);
  return M <= most && !ta && repeat === 1 && !causal && (parts ?? [{ N, K }]).every(fits);
}

function onSubgroups({ kind, subgroup }: Target): boolean {
  return kind === "software" && subgroup > 0;
}

/** The kernel for few rows, if `call` has few and its operands can be read as vectors. */
export function fewRowsKernel(
  call: ProductCall,
  features: Omit<ProductFeatures, "edge">,
  target: Target,
): Pick<Kernel, "wgsl" | "workgroups" | "trips"> | undefined {
  const { M, N, K, tb = false, low, parts = [{ M, N, K }], batch } = call;
  const { vectors } = features;
  if (!hasFewRows(call, target) || !vectors.a || !vectors.b || !(tb || vectors.c)) return undefined;
  const used = tb ? { ...features, vectors: { ...vectors, c: false } } : features;
  const software = onSubgroups(target);
  const rows = Math.min(M, software ? SHARED_ROWS.software : SHARED_ROWS.gpu);
  const lanes = target.subgroup, groups = N >= WIDE ? 6 : 3;
  const shape = workgroupShape({ N, tb, rows });
  const columns = software ? matvecColumns({ tb, lanes, groups }) : shape.columns * (tb ? 1 : 4);
  const step = matvecStep({ tb, lanes });
  const edge = parts.some((part) => part.M % rows !== 0 || part.N % columns !== 0);
  const tail = parts.some((part) => part.K % step !== 0);
  return {
    wgsl: software
      ? matvecSoftware({ ...used, edge, lanes, rows, groups, tail })
      : matvecWorkgroup({ ...used, edge, shape }),
    workgroups: [Math.ceil(N / columns), Math.ceil(M / rows), (batch?.outer ?? 1) * (batch?.inner ?? 1)],
    trips: (software ? Math.ceil(K / step) : matvecTrips({ K, tb, shape })) + (low?.R ?? 0) * rows * (tb ? 1 : 4),
  };
}

/** Workgroups below which a large GPU has idle processors. */
const ENOUGH = 128;

/** The lanes of a workgroup: 32 for a row of b; as many columns side by side as leave enough workgroups. */
function workgroupShape(
  { N, tb, rows }: { readonly N: number; readonly tb: boolean; readonly rows: number },
): MatvecShape {
  if (tb) return { lanes: 128, columns: 4, rows };
  const columns = [16, 8].find((columns) => N >= ENOUGH * 4 * columns) ?? 4;
  return { lanes: 256, columns, rows };
}
