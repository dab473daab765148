// The numbers that change from step to step, in one small u32 input of sixteen words that is written before every run.
// A compiled program never changes, so what is not a shape or a setting has to come in here.
//
// Whole numbers are stored as they are, real ones as the bits of their f32. The shaders have the same layout in
// shaders/lib/scalars.ts (the folders may not import each other; a test compares them).

/** Name of the input leaf; its dtype is u32 and its shape [{@linkcode SCALARS_WORDS}]. */
export const SCALARS = "scalars";

/** Words of the input leaf. */
export const SCALARS_WORDS = 16;

/** Updates that the ring of losses holds between two reads. */
export const RING_SLOTS = 256;

/** Which word of {@linkcode SCALARS} holds what. */
export const ScalarWord = {
  /** u32: seed of the run, first word of every random key. */
  SEED: 0,
  /** u32: number of micro-batches before this one, second word of every random key. */
  STEP: 1,
  /** f32: learning rate of the update. */
  LR: 2,
  /** f32: first bias correction of the optimizer, 1 - β₁ᵗ for the Adam family. */
  CORRECTION1: 3,
  /** f32: second bias correction of the optimizer, 1 - β₂ᵗ for the Adam family. */
  CORRECTION2: 4,
  /** f32: what the summed loss is multiplied by, 1 / (labels of the accumulation window). */
  LOSS_SCALE: 5,
  /** u32: 1 for the first micro-batch of an accumulation window, else 0. */
  FIRST: 6,
  /** u32: row of the ring that the update writes, below {@linkcode RING_SLOTS}. */
  SLOT: 7,
  /** f32: largest global norm of the gradients; 0 for no clipping. */
  MAX_NORM: 8,
  /** f32: what a method's own term of the loss is multiplied by, 1 / (micro-batches of the window). */
  PENALTY: 9,
  /** u32: how many ranks an allocation takes away, and flags; see shaders/allocation.ts. */
  ALLOCATE: 10,
} as const;

/** Name of a word of {@linkcode SCALARS}. */
export type ScalarName = keyof typeof ScalarWord;

/** What {@linkcode encodeScalars} stores; see {@linkcode ScalarWord} for the units. */
export interface Scalars {
  /** Integer in [0, 2^32); larger seeds are cut to their lower 32 bits. */
  readonly seed?: number;
  readonly step?: number;
  readonly lr?: number;
  /** The optimizer's `corrections(t)`. */
  readonly corrections?: { readonly c1: number; readonly c2: number };
  readonly lossScale?: number;
  readonly first?: boolean;
  readonly slot?: number;
  readonly maxNorm?: number;
  readonly penalty?: number;
  readonly allocate?: number;
}

/**
 * The sixteen words of {@linkcode SCALARS}, ready to be written.
 *
 * @throws {RangeError} listing every number that its word cannot hold.
 */
export function encodeScalars(
  {
    seed = 0,
    step = 0,
    lr = 0,
    corrections: { c1, c2 } = { c1: 1, c2: 1 },
    lossScale = 1,
    first = true,
    slot = 0,
    maxNorm = 0,
    penalty = 1,
    allocate = 0,
  }: Scalars,
): Uint32Array<ArrayBuffer> {
  const problems: string[] = [];
  const whole = (name: string, value: number, end: number) => {
    if (!Number.isSafeInteger(value) || value < 0 || value >= end) {
      problems.push(`${name} must be an integer in [0, ${end}): received ${value}`);
    }
  };
  const real = (name: string, value: number) => {
    if (!Number.isFinite(Math.fround(value)) || value < 0) {
      problems.push(`${name} must be finite and not negative: received ${value}`);
    }
  };
  whole("seed", seed, 2 ** 53);
  whole("step", step, 2 ** 32);
  whole("slot", slot, RING_SLOTS);
  whole("allocate", allocate, 2 ** 32);
  for (const [name, value] of Object.entries({ lr, c1, c2, lossScale, maxNorm, penalty })) real(name, value);
  if (problems.length > 0) throw new RangeError(`Cannot write the scalars of a step: ${problems.join("; ")}`);

  const words = new Uint32Array(SCALARS_WORDS);
  const floats = new Float32Array(words.buffer);
  words[ScalarWord.SEED] = seed >>> 0;
  words[ScalarWord.STEP] = step;
  floats[ScalarWord.LR] = lr;
  floats[ScalarWord.CORRECTION1] = c1;
  floats[ScalarWord.CORRECTION2] = c2;
  floats[ScalarWord.LOSS_SCALE] = lossScale;
  words[ScalarWord.FIRST] = first ? 1 : 0;
  words[ScalarWord.SLOT] = slot;
  floats[ScalarWord.MAX_NORM] = maxNorm;
  floats[ScalarWord.PENALTY] = penalty;
  words[ScalarWord.ALLOCATE] = allocate;
  return words;
}
