// What a method's file holds where that is not what it trains.

/** A tensor of an adapter as it is saved. */
export interface AdapterTensor {
  /** Sizes, outermost first. */
  readonly shape: readonly number[];
  /** The elements, row-major. */
  readonly data: Float32Array;
}

/** Settings and tensors as they are saved. */
export interface FileForm<C> {
  readonly config: C;
  readonly tensors: ReadonlyMap<string, AdapterTensor>;
}
