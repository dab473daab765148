// The global norm of the gradients and what clips them, left in the state "stats" [4]: norm, coefficient, flag, unused.
// The flag is 1 where any gradient, or the norm itself, is not finite; the norm then reads as infinity.
import { clip, CLIP_LANES, sumSquares } from "../../shaders/clip.ts";
import { sweepWords } from "../../shaders/lib/sweep.ts";
import { size } from "../core/dims.ts";
import { SCALARS, SCALARS_WORDS } from "../core/scalars.ts";
import { defineOp, type Graph, type V0, type V1, type V3, type Value, type Values } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import { bindingsOf } from "./flat.ts";
import { sweepOf } from "./sweep.ts";

/** The input of per-step numbers, see core/scalars.ts. */
export function scalarsLeaf(graph: Graph): Value {
  return graph.leaf("input", SCALARS, [SCALARS_WORDS], { dtype: "u32" });
}

/** The state "stats" [4]: norm of the gradients, clip coefficient, 1 if anything was not finite. */
export function statsLeaf(graph: Graph): Value {
  return graph.leaf("state", "stats", [4]);
}

/** Partial sums of a part: one for each invocation; a multiple of 64, so that the next part's start aligned. */
const partialsOf = (words: number, target: Target): number => {
  const sweep = sweepOf(target);
  return Math.ceil(Math.ceil(words / sweepWords(sweep)) * sweep.lanes / 64) * 64;
};

const partialsOfPage = (page: Value): number => {
  const { target } = page.graph;
  const parts = bindingsOf({ offset: 0, length: size(page.shape) }, target);
  return parts.reduce((sum, { length }) => sum + partialsOf(length, target), 0);
};

const sumSquaresOp = defineOp<null, Values, V1>({
  name: "sum_squares",
  infer: (pages) => [{ shape: [pages.reduce((n, page) => n + partialsOfPage(page), 0)], dtype: "f32" }],
  kernels: ({ inputs: pages, outputs: [partial] }, target) => {
    const sweep = sweepOf(target);
    let offset = 0;
    return pages.flatMap((page) =>
      bindingsOf({ offset: 0, length: size(page.shape) }, target).map((part) => {
        const length = partialsOf(part.length, target);
        offset += length;
        return {
          name: "sum_squares",
          wgsl: sumSquares(sweep),
          read: [{ value: page, ...part }],
          write: [{ value: partial, offset: offset - length, length }],
          uniform: [part.length, length],
          workgroups: length / sweep.lanes,
          trips: sweep.vectors,
        };
      })
    );
  },
  stops: true,
});

const clipOp = defineOp<null, V3, V0>({
  name: "clip",
  infer: () => [],
  kernels: ({ inputs: [partial, scalars, stats] }) => [{
    name: "clip",
    wgsl: clip(),
    read: [partial, scalars],
    write: [stats],
    uniform: [size(partial.shape)],
    workgroups: 1,
    trips: Math.ceil(size(partial.shape) / (4 * CLIP_LANES)) + Math.log2(CLIP_LANES),
  }],
});

/**
 * Write norm, clip coefficient and flag of all `pages` together into {@linkcode statsLeaf}: one dispatch a page and one.
 */
export function gradientNorm(graph: Graph, pages: readonly Value[]): void {
  const [partial] = graph.add(sumSquaresOp, pages, null);
  graph.add(clipOp, [partial, scalarsLeaf(graph), statsLeaf(graph)], null);
}
