// Rows of a table that are trained in place of its own, by the numbers of their tokens; equations in
// shaders/token_rows.ts. Each row of the table belongs to one part, so that every number of a gradient is written once.
import { replacedGrad, replaceRows as rowsShader, TOKEN_LANES, tokenIndex } from "../../shaders/token_rows.ts";
import { dims } from "../core/dims.ts";
import { defineOp, type Kernel, type V1, type V2, type Value } from "../graph/graph.ts";
import { add } from "./elementwise.ts";
import { embedding } from "./embedding.ts";
import { parts, rowRange } from "./parts.ts";

const indexOp = defineOp<{ readonly other: boolean }, V2, V1>({
  name: "tokenIndex",
  stops: true,
  infer([ids, slots]) {
    dims("tokenIndex", { ids: "N", slots: "V" }, { ids, slots });
    return [ids];
  },
  kernels: ({ inputs: [ids, slots], outputs: [index], attrs }) => [{
    name: "token index",
    wgsl: tokenIndex(attrs),
    read: [ids, slots],
    write: [index],
    uniform: [ids.shape[0]!, slots.shape[0]!],
    workgroups: Math.ceil(ids.shape[0]! / TOKEN_LANES),
    trips: 0,
  }],
});

/** Which rows are replaced. */
export interface TokenRows {
  /** Values of the rows [n, D]. */
  readonly delta: Value;
  /** f32 [V]: 1 + the number among `delta` of every row that is replaced, 0 for the others. */
  readonly slots: Value;
  /** f32 [n]: the rows that are replaced. */
  readonly rows: Value;
}

/**
 * y[N, D]: the rows of tokens u32[N] in table[V, D], those of `rows` from `delta`.
 *
 * @throws {ShapeError} if the shapes do not fit.
 */
export function embeddingReplaced(table: Value, ids: Value, { delta, slots }: TokenRows): Value {
  const pick = (other: boolean) => table.graph.add(indexOp, [ids, slots], { other })[0];
  return add(embedding(table, pick(true)), embedding(delta, pick(false)));
}

const replaceOp = defineOp<null, readonly [w: Value, slots: Value, delta: Value, rows: Value], V1>({
  name: "replaceRows",
  infer([w, slots, delta, rows]) {
    dims("replaceRows", { w: "V D", slots: "V", delta: "n D", rows: "n" }, { w, slots, delta, rows });
    return [w];
  },
  kernels({ inputs: [w, slots, delta], outputs: [y] }, target): Kernel[] {
    const [V, D] = w.shape as [number, number];
    return parts(V, D, target).map((part) => ({
      name: "replace rows",
      wgsl: rowsShader(),
      read: [rowRange(w, V, part), rowRange(slots, V, part), delta],
      write: [rowRange(y, V, part)],
      uniform: [part.hi - part.lo, D],
      workgroups: Math.ceil((part.hi - part.lo) * D / TOKEN_LANES),
      trips: 0,
    }));
  },
  grad: [
    null,
    null,
    ({ inputs: [, , delta, rows] }, dy) => dy.graph.add(gradOp, [dy, rows], { n: delta.shape[0]! })[0],
    null,
  ],
});

const gradOp = defineOp<{ readonly n: number }, V2, V1>({
  name: "replaceRowsGrad",
  infer: ([dy], { n }) => [{ shape: [n, dy.shape[1]!], dtype: "f32" }],
  kernels({ inputs: [dy, rows], outputs: [dd], attrs: { n } }, target): Kernel[] {
    const [V, D] = dy.shape as [number, number];
    return parts(V, D, target).map((part) => ({
      name: "replace rows ddelta",
      wgsl: replacedGrad(),
      read: [rowRange(dy, V, part), rows],
      write: [dd],
      uniform: [n, D, part.lo, part.hi],
      workgroups: Math.ceil(n * D / TOKEN_LANES),
      trips: 0,
    }));
  },
});

/**
 * The table w[V, D] with the rows of `rows` from `delta`.
 *
 * @throws {ShapeError} if the shapes do not fit.
 */
export function replaceRows(w: Value, { delta, slots, rows }: TokenRows): Value {
  return w.graph.add(replaceOp, [w, slots, delta, rows], null)[0];
}
