// A program as plain data: values, and nodes in execution order. No WebGPU here.
//
// Merging identical nodes is sound because a program never reads a resident value after writing it:
// the nodes that write in place (optimizers, rings, caches) have no outputs, are never merged, and come last
// for what they write. Scratch memory holds stale data, so every kernel writes all of its outputs.
import { type DType, isPacked, SEGMENTS, type Shape, size, type TensorType } from "../core/dims.ts";
import type { Pointwise } from "./fuse.ts";
import { guaranteed, type Target } from "./target.ts";

/**
 * Where a value lives. `input`: written before a run. `weight`: frozen, loaded once. `param`: trained.
 * `state`: kept between runs and programs (gradients, moments, rings, caches). `temp`: planned into shared memory.
 */
export type Role = "input" | "weight" | "param" | "state" | "temp";

/** A tensor of a graph. */
export interface Value extends TensorType {
  readonly graph: Graph;
  readonly id: number;
  readonly name: string;
  readonly role: Role;
  /** Whether a trained parameter lies upstream, so that a gradient has somewhere to go. */
  readonly trained: boolean;
  /** A value that is a part of another one (flat storage); `offset` in elements. */
  readonly within?: Place;
}

/** A part of a resident value, `offset` in elements. */
export interface Place {
  readonly parent: Value;
  readonly offset: number;
}

/** A part of a value as one kernel sees it, in four-byte words; `offset` is aligned. */
export interface Range {
  readonly value: Value;
  readonly offset: number;
  readonly length: number;
}

/** One dispatch, as text and values. Bindings: reads, then writes, then the uniform, all in group 0. */
export interface Kernel {
  /** What profiles and errors call it, such as `"matmul nt"`. */
  readonly name: string;
  readonly wgsl: string;
  readonly read: readonly (Value | Range)[];
  readonly write: readonly (Value | Range)[];
  /** Words of the uniform `p`, if the kernel has one; floats as their bits ({@linkcode floatBits}). */
  readonly uniform?: readonly number[];
  /** A number is folded into two dimensions where it is too large for one (read it with `flat_workgroup`). */
  readonly workgroups: number | readonly [number, number?, number?];
  /** Loop iterations of one invocation, in the worst case and over all of its loops. */
  readonly trips: number;
}

/** The inputs or outputs of a node. */
export type Values = readonly Value[];
/** One `U` for each of `T`. */
export type Each<T extends Values, U> = { readonly [K in keyof T]: U };

/**
 * The gradient of one input, given that of the first output.
 * `undefined`: another input's rule has counted this input's share (they are the same value).
 */
export type Rule<A, In extends Values, Out extends Values> = (node: Node<A, In, Out>, dy: Value) => Value | undefined;

/** An op over `In` inputs and `Out` outputs; `grad` has one entry per input. Only the first output is differentiable. */
export interface Op<A, In extends Values, Out extends Values> {
  readonly name: string;
  infer(inputs: In, attrs: A): Each<Out, TensorType>;
  kernels(node: Node<A, In, Out>, target: Target): Kernel[];
  readonly grad?: Each<In, Rule<A, In, Out> | null>;
  /** Inputs that may be packed weights: the op's kernels unpack them. */
  readonly packed?: readonly number[];
  /** Set where the op treats every element alike: who makes an input may do its work too. */
  readonly pointwise?: Pointwise;
  /**
   * One node that does the work of `node` and of `user`, the only reader of its first output; see fuse.ts. Its op takes
   * all values from the node, as recompute.ts repeats it with others.
   */
  absorb?(node: AnyNode, user: AnyNode): AnyNode | undefined;
  /** Where a node has this input, its first output is that one's memory, changed: only what was absorbed may ask for it. */
  readonly inPlace?: number;
  /** Gradients do not pass. */
  readonly stops?: boolean;
}

/** An op applied. */
export interface Node<A, In extends Values, Out extends Values> {
  readonly op: Op<A, In, Out>;
  readonly inputs: In;
  readonly outputs: Out;
  readonly attrs: A;
  /** The path in the model, such as `model.layers.3.self_attn.q_proj`. */
  readonly scope: string;
}

// A graph holds ops of every arity; here, and only here, the arity is forgotten.
/** A node of any arity. */
// deno-lint-ignore no-explicit-any
export type AnyNode = Node<any, any, any>;

/** One value. */
export type V1 = readonly [Value];
/** Two values. */
export type V2 = readonly [Value, Value];
/** Three values. */
export type V3 = readonly [Value, Value, Value];
/** Four values. */
export type V4 = readonly [Value, Value, Value, Value];
/** Five values. */
export type V5 = readonly [Value, Value, Value, Value, Value];
/** No value: the op writes in place. */
export type V0 = readonly [];

/** Declare an op; the arities are inferred. */
export function defineOp<A, In extends Values, Out extends Values>(op: Op<A, In, Out>): Op<A, In, Out> {
  return op;
}

/** The bits of `x` as f32, for a kernel's uniform. */
export function floatBits(x: number): number {
  return new Uint32Array(new Float32Array([x]).buffer)[0]!;
}

/** Options of {@linkcode Graph.leaf}. */
export interface LeafOptions {
  readonly dtype?: DType;
  readonly within?: Place;
}

/** Nodes in execution order, for one target. */
export class Graph {
  readonly nodes: AnyNode[] = [];
  readonly values: Value[] = [];
  /** Outputs that live inside a resident value instead of scratch memory. */
  readonly places: Map<Value, Place> = new Map();
  readonly target: Target;
  /** What layers make of values below this id is computed again where later nodes read it; see recompute.ts. */
  recomputed = 0;
  readonly #seen = new Map<string, AnyNode>();
  readonly #ops = new Map<object, number>();
  readonly #leaves = new Map<string, Value>();
  readonly #scope: string[] = [];

  /** An empty graph; without a target it is made for any device. */
  constructor(target: Target = guaranteed) {
    this.target = target;
  }

  /** The leaves by name, in the order of their first use. */
  get leaves(): ReadonlyMap<string, Value> {
    return this.#leaves;
  }

  /**
   * The leaf called `name`; asking twice gives the same one.
   *
   * @throws {TypeError} if it exists with another role, shape, dtype or place, or is packed and no frozen weight.
   * @throws {RangeError} if it does not fit into its place, or a size is not a positive whole number.
   */
  leaf(role: Exclude<Role, "temp">, name: string, shape: Shape, { dtype = "f32", within }: LeafOptions = {}): Value {
    const known = this.#leaves.get(name);
    if (known) {
      const moved = within && (known.within?.parent !== within.parent || known.within.offset !== within.offset);
      if (!moved && known.role === role && known.dtype === dtype && String(known.shape) === String(shape)) return known;
      throw new TypeError(
        `Cannot use "${name}" as ${role} ${dtype} [${shape}]${moved ? " at another place" : ""}: ` +
          `it is already ${known.role} ${known.dtype} [${known.shape}]`,
      );
    }
    checkShape(`"${name}"`, shape);
    if (isPacked(dtype) && role !== "weight") {
      throw new TypeError(`Cannot make "${name}" a ${role} in ${dtype}: only frozen weights are packed`);
    }
    if (within) this.#checkPlace({ name, shape, dtype }, within);
    const value = this.#value(name, role, { shape, dtype }, role === "param", within);
    this.#leaves.set(name, value);
    return value;
  }

  /**
   * Apply an op and return its outputs; an identical node is not added twice.
   *
   * @throws {TypeError} if an input belongs to another graph, or `attrs` are not plain data.
   * @throws {RangeError} if an output has a size that is not a positive whole number.
   */
  add<A, In extends Values, Out extends Values>(op: Op<A, In, Out>, inputs: In, attrs: A): Out {
    for (const v of inputs) {
      if (v.graph !== this) throw new TypeError(`Cannot apply ${op.name} as "${v.name}" belongs to another graph`);
    }
    inputs.forEach(({ name, dtype }, i) => {
      if (!isPacked(dtype) || op.packed?.includes(i)) return;
      throw new TypeError(`Cannot apply ${op.name} to "${name}" as it is packed as ${dtype}: the op reads plain words`);
    });
    const types: readonly TensorType[] = op.infer(inputs, attrs);
    for (const { shape } of types) checkShape(`an output of ${op.name}`, shape);
    const key = types.length > 0
      ? `${this.#idOf(op)}(${inputs.map((v) => v.id)})${JSON.stringify(attrs, attrText)}`
      : undefined;
    const same = key === undefined ? undefined : this.#seen.get(key);
    if (same) return same.outputs;
    const trained = !op.stops && inputs.some((v) => v.trained);
    const label = this.#scope.length > 0 ? `${this.scopePath}:${op.name}` : op.name;
    const outputs = types.map((type, i) =>
      this.#value(i === 0 ? label : `${label}.${i}`, "temp", type, trained && i === 0)
    );
    const node: AnyNode = { op, inputs, outputs, attrs, scope: this.scopePath };
    this.nodes.push(node);
    if (key !== undefined) this.#seen.set(key, node);
    return outputs as Values as Out;
  }

  /** The path of the scopes that are open, joined by dots. */
  get scopePath(): string {
    return this.#scope.join(".");
  }

  /** Run `body` with `name` pushed on the path that labels nodes, GPU objects, profiles and errors. */
  scope<T>(name: string, body: () => T): T {
    if (name === "") return body();
    this.#scope.push(name);
    try {
      return body();
    } finally {
      this.#scope.pop();
    }
  }

  /**
   * Let `value`, the output of a node, live at `place`, so that producing it writes the resident value.
   *
   * @throws {TypeError} if it is no temporary of this graph, or is placed already.
   * @throws {RangeError} if it does not fit.
   */
  place(value: Value, place: Place): void {
    this.#checkPlace(value, place);
    if (value.graph !== this || value.role !== "temp" || this.places.has(value)) {
      throw new TypeError(`Cannot place "${value.name}" in "${place.parent.name}": it lives elsewhere already`);
    }
    this.places.set(value, place);
  }

  #checkPlace({ name, shape, dtype }: Pick<Value, "name" | "shape" | "dtype">, { parent, offset }: Place): void {
    const inside = Number.isInteger(offset) && offset >= 0 && offset + size(shape) <= size(parent.shape);
    if (!inside) {
      throw new RangeError(
        `Cannot place "${name}" [${shape}] at ${offset} of "${parent.name}": it has [${parent.shape}]`,
      );
    }
    const packed = isPacked(dtype) || isPacked(parent.dtype);
    if (packed && (dtype !== parent.dtype || offset % SEGMENTS[dtype].elements !== 0)) {
      throw new TypeError(
        `Cannot place "${name}" ${dtype} at ${offset} of "${parent.name}" ${parent.dtype}: ` +
          `packed parts have the format of the whole and start at multiples of ${SEGMENTS[dtype].elements}`,
      );
    }
    if (parent.graph !== this || parent.role === "temp") {
      throw new TypeError(`Cannot place "${name}" in "${parent.name}": it is no leaf of this graph`);
    }
  }

  /** Ops are told apart by identity: two may have one name. */
  #idOf(op: object): number {
    const id = this.#ops.get(op) ?? this.#ops.size;
    this.#ops.set(op, id);
    return id;
  }

  #value(name: string, role: Role, { shape, dtype }: TensorType, trained: boolean, within?: Place): Value {
    const value: Value = {
      graph: this,
      id: this.values.length,
      name,
      role,
      shape,
      dtype,
      trained,
      ...(within ? { within } : {}),
    };
    this.values.push(value);
    return value;
  }
}

function checkShape(what: string, shape: Shape): void {
  if (shape.every((n) => Number.isSafeInteger(n) && n > 0)) return;
  throw new RangeError(`Cannot make ${what} [${shape}]: sizes must be positive whole numbers`);
}

/** JSON turns NaN into null and a Map into {}, which would merge nodes that differ. */
function attrText(_: string, value: unknown): unknown {
  if (typeof value === "number" && !Number.isFinite(value)) return `${value} (number)`;
  if (typeof value === "function" || value instanceof Map || value instanceof Set) {
    throw new TypeError(
      "Cannot use functions, maps or sets as attributes of an op: nodes are told apart by their JSON",
    );
  }
  return value;
}
