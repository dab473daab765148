// Rotary positions: queries and keys are turned by an angle that grows with their position.
import { rope as shader, ropeWorkgroups } from "../../shaders/rope.ts";
import { ShapeError } from "../core/errors.ts";
import { defineOp, type Kernel, type V1, type V3, type V4, type Value } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import { parts, rowRange } from "./parts.ts";

/** Tables [positions, columns/2] of cos and sin as values: weight leaves filled from `ropeTables`. */
export interface RopeValues {
  /** Cosines. */
  readonly cos: Value;
  /** Sines. */
  readonly sin: Value;
}

/** Which columns of a row turn. */
export interface RopeHeads {
  /** Heads of a row. */
  readonly heads: number;
  /** Columns of a head. */
  readonly E: number;
  /** Heads that turn, the first ones; all by default. The others are copied. */
  readonly turned?: number;
  /** Columns of a head that turn, the first ones, an even number; E by default. The others are copied. */
  readonly columns?: number;
}

/** Sizes of {@linkcode rope}. */
export interface RopeOptions extends RopeHeads {
  /** Sequences. */
  readonly B: number;
  /** Rows of a sequence. */
  readonly T: number;
  /** Position of the first row of every sequence. */
  readonly offset?: number;
}

interface Attrs extends Required<RopeHeads> {
  readonly T: number;
  readonly offset: number;
  readonly inverse: boolean;
}

function checkTables(op: string, x: Value, { cos, sin }: RopeValues, sizes: RopeHeads): Required<RopeHeads> {
  const { heads, E, turned = heads, columns = E } = sizes;
  const name = sizes.columns === undefined ? "E" : "columns";
  if (columns % 2 !== 0) throw new RangeError(`Cannot apply ${op} as ${name} must be even: received ${columns}`);
  if (columns > E) throw new RangeError(`Cannot apply ${op} to ${columns} columns: a head has ${E}`);
  if (turned > heads) throw new RangeError(`Cannot apply ${op} to ${turned} heads: a row has ${heads}`);
  if (x.shape.length !== 2 || x.shape[1] !== heads * E) {
    throw new ShapeError(op, "x", "N heads·E", x.shape, { "heads·E": heads * E });
  }
  for (const [name, table] of Object.entries({ cos, sin })) {
    const half = `${sizes.columns === undefined ? "E" : "columns"}/2`;
    if (table.shape.length !== 2 || table.shape[1] !== columns / 2) {
      throw new ShapeError(op, name, `positions ${half}`, table.shape, { [half]: columns / 2 });
    }
  }
  return { heads, E, turned, columns };
}

// y = R(t)·x with a rotation R   ⇒   dx = R(t)ᵀ·dy = R(−t)·dy
const ropeOp = defineOp<Attrs, V3, V1>({
  name: "rope",
  infer: ([x]) => [x],
  kernels({ inputs: [x, cos, sin], outputs: [y], attrs: { T, offset, ...options } }, target) {
    const used = { offset: 0, length: (offset + T) * options.columns / 2 };
    return rotations({
      name: options.inverse ? "rope gradient" : "rope",
      x,
      y,
      tables: [{ value: cos, ...used }, { value: sin, ...used }],
      T,
      offset,
      ...options,
    }, target);
  },
  grad: [
    ({ inputs: [, cos, sin], attrs }, dy) => rotate([dy, cos, sin], { ...attrs, inverse: !attrs.inverse }),
    null,
    null,
  ],
});

function rotate(inputs: V3, attrs: Attrs): Value {
  return inputs[0].graph.add(ropeOp, inputs, attrs)[0];
}

interface RotationCall extends Attrs {
  readonly name: string;
  readonly x: Value;
  readonly y: Value;
  readonly tables: Kernel["read"];
  readonly position?: Value;
}

function rotations({ name, x, y, tables, position, T, offset, ...rest }: RotationCall, target: Target): Kernel[] {
  const rows = x.shape[0]!;
  const options = {
    ...rest,
    position: position === undefined ? "row" : position.shape[0] === 1 ? "one" : "each",
  } as const;
  const wgsl = shader(options);
  return parts(rows, x.shape[1]!, target).map((part) => ({
    name,
    wgsl,
    read: [rowRange(x, rows, part), ...tables, ...position ? [position] : []],
    write: [rowRange(y, rows, part)],
    uniform: [part.hi - part.lo, part.lo, T, offset],
    workgroups: ropeWorkgroups(part.hi - part.lo, options),
    trips: 0,
  }));
}

/**
 * Turn x[N, heads·E] (N = B·T, head h at columns h·E) by the angles of the tables; row n has position offset + n mod T.
 *
 * @throws {ShapeError} if x or a table has another shape.
 * @throws {RangeError} if the number of columns that turn is odd or above E, that of heads above all of them, or the
 * tables end before the last position.
 */
export function rope(x: Value, { cos, sin }: RopeValues, { B, T, offset = 0, ...heads }: RopeOptions): Value {
  const sizes = checkTables("rope", x, { cos, sin }, heads);
  if (x.shape[0] !== B * T) throw new ShapeError("rope", "x", "B·T heads·E", x.shape, { "B·T": B * T });
  if (offset + T > Math.min(cos.shape[0]!, sin.shape[0]!)) {
    throw new RangeError(`Cannot apply rope to positions up to ${offset + T}: the tables have ${cos.shape[0]}`);
  }
  return rotate([x, cos, sin], { T, ...sizes, offset, inverse: false });
}

/** Rows that say themselves where they stand. */
const NOWHERE = { T: 0, offset: 0 };

type AtAttrs = Omit<Attrs, "T" | "offset">;

const ropeAtOp = defineOp<AtAttrs, V4, V1>({
  name: "rope_at",
  infer: ([x]) => [x],
  kernels: ({ inputs: [x, cos, sin, position], outputs: [y], attrs }, target) =>
    rotations(
      {
        name: attrs.inverse ? "rope at, gradient" : "rope at",
        x,
        y,
        tables: [cos, sin],
        position,
        ...NOWHERE,
        ...attrs,
      },
      target,
    ),
  grad: [
    ({ inputs: [, cos, sin, at], attrs }, dy) => rotateAt([dy, cos, sin, at], { ...attrs, inverse: !attrs.inverse }),
    null,
    null,
    null,
  ],
});

function rotateAt(inputs: V4, attrs: AtAttrs): Value {
  return inputs[0].graph.add(ropeAtOp, inputs, attrs)[0];
}

/**
 * Turn x[S, heads·E] by the angle of position[S] u32, or of position[1] for all rows: for decoding, where the position
 * is state on the GPU, and for batches that give positions.
 *
 * @throws {ShapeError} if x, a table or the position has another shape.
 */
export function ropeAt(
  x: Value,
  { cos, sin }: RopeValues,
  { position, ...heads }: RopeHeads & { readonly position: Value },
): Value {
  const sizes = checkTables("ropeAt", x, { cos, sin }, heads);
  const [S] = x.shape;
  if (position.dtype !== "u32" || position.shape.length !== 1 || ![1, S].includes(position.shape[0])) {
    throw new ShapeError("ropeAt", "position", "S", position.shape, { S: S! });
  }
  return rotateAt([x, cos, sin, position], { ...sizes, inverse: false });
}
