// Rows of a table by their numbers; the algorithm of the gradient is in shaders/embedding.ts.
import {
  embedding as shader,
  EMBEDDING_LANES,
  embeddingGrad as gradShader,
  embeddingLinks as linksShader,
  SEARCH_UNROLL,
} from "../../shaders/embedding.ts";
import { vectorsOf } from "../../shaders/lib/rows.ts";
import { dims, isPacked } from "../core/dims.ts";
import { ShapeError } from "../core/errors.ts";
import { defineOp, type Kernel, type V1, type V2, type V3, type Value } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import { elementwiseKernels, withAddend } from "./elementwise.ts";
import { type Part, parts, rowRange } from "./parts.ts";

/** Positions whose equal ids are chained together: the search compares each with all others of its block. */
const BLOCK = 2048;

const embeddingOp = defineOp<null, V2, V1>({
  name: "embedding",
  packed: [0],
  infer([table, ids]) {
    const { N, D } = dims("embedding", { table: "V D", ids: "N" }, { table, ids });
    if (table.dtype === "int8" || table.dtype === "nf4" || (isPacked(table.dtype) && D % 2 !== 0)) {
      throw new TypeError(`Cannot look up rows of "${table.name}" [${table.shape}] in ${table.dtype}`);
    }
    return [{ shape: [N, D], dtype: isPacked(table.dtype) ? "f32" : table.dtype }];
  },
  kernels({ inputs: [table, ids], outputs: [y] }, target): Kernel[] {
    const [V, D] = table.shape as [number, number];
    const [N] = ids.shape as [number];
    const { dtype } = table;
    const wgsl = shader(dtype === "f16" || dtype === "bf16" ? { D, packed: dtype } : { D });
    return parts(N, D, target).flatMap((positions) =>
      parts(V, D, target).map((rows): Kernel => ({
        name: "embedding",
        wgsl,
        read: [rowRange(table, V, rows), rowRange(ids, N, positions)],
        write: [rowRange(y, N, positions)],
        uniform: [positions.hi - positions.lo, rows.lo, rows.hi, V],
        workgroups: Math.ceil((positions.hi - positions.lo) * vectorsOf(D).width / EMBEDDING_LANES),
        trips: 0,
      }))
    );
  },
  grad: [
    ({ inputs: [table, ids] }, dy) => table.graph.add(tableGradOp, [ids, dy], { V: table.shape[0]! })[0],
    null,
  ],
});

/** Parts of the positions that are no longer than a block. */
function blocks(N: number, D: number, target: Target): Part[] {
  return parts(N, D, target).flatMap(({ lo, hi }) =>
    Array.from({ length: Math.ceil((hi - lo) / BLOCK) }, (_, i) => ({
      lo: lo + i * BLOCK,
      hi: Math.min(hi, lo + (i + 1) * BLOCK),
    }))
  );
}

// A third input is another gradient of the same table: the rows are added to it.
const tableGradOp = defineOp<{ readonly V: number }, V2 | V3, V2>({
  name: "embeddingGrad",
  infer: ([ids, dy], { V }) => [{ shape: [V, dy.shape[1]!], dtype: "f32" }, ids],
  kernels({ inputs: [ids, dy, ...others], outputs: [dt, links], attrs: { V } }, target): Kernel[] {
    const [N, D] = dy.shape as [number, number];
    const clear = { name: "embeddingGrad clear", reads: [], expression: "vec4f()", inputs: [], output: dt };
    return [
      ...(others.length > 0 ? [] : elementwiseKernels(clear, target)),
      ...blocks(N, D, target).flatMap((block) => blockKernels(block, { ids, dy, dt, links, N, V, D }, target)),
    ];
  },
  absorb: (node, user) => node.inputs.length === 2 ? withAddend(node, user) : undefined,
  inPlace: 2,
});

interface GradOperands {
  readonly ids: Value;
  readonly dy: Value;
  readonly dt: Value;
  readonly links: Value;
  readonly N: number;
  readonly V: number;
  readonly D: number;
}

/** The links of one block of positions, then its sums for each part of the table. */
function blockKernels(block: Part, { ids, dy, dt, links, N, V, D }: GradOperands, target: Target): Kernel[] {
  const count = block.hi - block.lo;
  const link: Kernel = {
    name: "embeddingGrad links",
    wgsl: linksShader(),
    read: [rowRange(ids, N, block)],
    write: [rowRange(links, N, block)],
    uniform: [count],
    workgroups: Math.ceil(count / EMBEDDING_LANES),
    trips: Math.ceil(count / 4 / SEARCH_UNROLL),
  };
  const sums = parts(V, D, target).map((rows): Kernel => ({
    name: "embeddingGrad",
    wgsl: gradShader({ D }),
    read: [rowRange(links, N, block), rowRange(ids, N, block), rowRange(dy, N, block)],
    write: [rowRange(dt, V, rows)],
    uniform: [count, rows.lo, rows.hi],
    workgroups: [Math.ceil(vectorsOf(D).width / EMBEDDING_LANES), count],
    trips: count,
  }));
  return [link, ...sums];
}

/**
 * y[N, D] = table[ids[n]] for ids u32[N]; an id outside of table[V, D] gives a row of zeros.
 *
 * @throws {ShapeError} if the table is not a matrix, or ids is not a list of u32.
 *
 * @example Usage
 * ```ts
 * import { embedding, Graph } from "@graft/graft/ops";
 *
 * const graph = new Graph();
 * const table = graph.leaf("weight", "wte.weight", [512, 64]);
 * const ids = graph.leaf("input", "ids", [10], { dtype: "u32" });
 * console.log(embedding(table, ids).shape); // [ 10, 64 ]
 * ```
 */
export function embedding(table: Value, ids: Value): Value {
  if (ids.dtype !== "u32") throw new ShapeError("embedding", "ids", "N (u32)", ids.shape);
  return table.graph.add(embeddingOp, [table, ids], null)[0];
}

/**
 * y[S, D] = x[rows[s]] for rows u32[S]: picks positions out of hidden states, such as the last of each sequence.
 * A gradient reaches x.
 *
 * @throws {ShapeError} if x is not a matrix, or rows is not a list of u32.
 */
export function gatherRows(x: Value, rows: Value): Value {
  return embedding(x, rows);
}
