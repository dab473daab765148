// Matrix products as every op asks for them: strided operands, batches, and what is fused into the store.
import type { ThenText } from "../../shaders/lib/product.ts";
import type { Kernel, Value } from "../graph/graph.ts";
import type { Target } from "../graph/target.ts";
import { cut } from "./product_cut.ts";
import { pieceKernel } from "./product_kernel.ts";

/** Largest row tile of a causal product. */
export const CAUSAL_ROWS = 128;

/** A matrix inside a value; b may be packed. All numbers are elements. */
export interface MatrixRef {
  readonly value: Value;
  /** First element. */
  readonly offset?: number;
  /** Elements from one stored row to the next. */
  readonly stride: number;
  /** Elements from one outer batch entry (a sequence) to the next. */
  readonly outer?: number;
  /** Elements from one inner batch entry (a head) to the next. */
  readonly inner?: number;
  /** Inner entries that share this matrix (grouped-query heads): entry h reads matrix floor(h / group). */
  readonly group?: number;
  /** Elements from one summed repetition to the next. */
  readonly repeat?: number;
  /** Behind a stored row there are words up to the next multiple of four that may be read and, of c, written. */
  readonly padded?: boolean;
}

/** c = alpha · a·b (+ low.alpha · low.a·low.b) (+ bias) (+ add or what `then` does with it), or c += with `accumulate`. */
export interface ProductCall {
  /** What profiles call it. */
  readonly name: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
  /** a[M, K]; with `ta` stored as [K, M]. */
  readonly a: MatrixRef;
  readonly ta?: boolean;
  /** b[K, N]; with `tb` stored as [N, K]. */
  readonly b: MatrixRef;
  readonly tb?: boolean;
  /** c[M, N]. */
  readonly c: MatrixRef;
  readonly alpha?: number;
  /** Add to what c holds. */
  readonly accumulate?: boolean;
  /** Batches: outer × inner products. */
  readonly batch?: { readonly outer: number; readonly inner: number };
  /** c is the sum over this many pairs of matrices (grouped-query gradients). */
  readonly repeat?: number;
  /**
   * Lower-triangular work, M = N = T rows: `"skip"` leaves tiles of c above the diagonal unwritten,
   * `"limit"` stops K at the end of c's row tile (a is zero beyond), `"start"` begins K at c's row tile.
   * Row tiles are no larger than, and divide, {@linkcode CAUSAL_ROWS}: rows of `a` must be zero from the diagonal up
   * to the next multiple of it.
   */
  readonly causal?: "skip" | "limit" | "start";
  /** bias[N], added to every row. */
  readonly bias?: Value;
  /** A matrix like c that is added. */
  readonly add?: MatrixRef;
  /** What is done to every element last; it may read `add`, which then is not added. */
  readonly then?: ThenText;
  /** A second, narrow product. */
  readonly low?: LowProduct;
  /** Outer batches are shares of one sum: only the first has the low product. */
  readonly shared?: boolean;
  /** Several products that share the operands, instead of one; M, N, K and R are then the largest. No inner batch. */
  readonly parts?: readonly ProductPart[];
}

/** Sizes of one product among several, and the words from where an operand starts to where its part starts. */
export interface ProductPart {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly a: number;
  readonly b: number;
  /** Of c and of what is added to it. */
  readonly c: number;
  readonly low?: { readonly R: number; readonly a: number; readonly b: number };
  readonly bias?: number;
}

/** alpha · low.a[M, R] · low.b[R, N], fused into the product above it. */
export interface LowProduct {
  readonly a: MatrixRef;
  readonly b: MatrixRef;
  /** b is stored [N, R]; like the large product's without. */
  readonly tb?: boolean;
  readonly R: number;
  readonly alpha: number;
}

/**
 * The dispatches of a product for the target's class, cut where an operand exceeds one binding.
 *
 * @throws {RangeError} if a single row of an operand exceeds one binding.
 */
export function productKernels(call: ProductCall, target: Target): Kernel[] {
  return cut(call, target).map((piece) => pieceKernel(piece, target));
}
