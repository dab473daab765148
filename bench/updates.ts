// Updates of a model one after the other, queued as `train` queues them but without its looks at the figures: when to
// wait, and for what, is up to who measures.
import type { Model } from "../mod.ts";
import type { Executable } from "../src/gpu/executable.ts";
import { type Optimizer, RING_SLOTS } from "../src/optim/mod.ts";
import type { Arranged } from "../src/objectives/task.ts";
import { endTraining, microStep, readRing, type StepOptions, trainedLayout, updateStep } from "../src/train/step.ts";

/** Settings of the updates. */
export interface UpdateSettings {
  readonly optimizer: Optimizer;
  readonly lr: number;
  /** Norm that gradients are clipped to; 0 for none. */
  readonly maxNorm: number;
  /** Apply weight decay to biases and norms too. */
  readonly decayAll: boolean;
  /** Compute again in the backward pass what layers have computed (false). */
  readonly recompute?: boolean;
}

/** A sequence of updates. */
export interface Updates {
  /** Queue update `i`, counted from 0; nothing is waited for. */
  queue(batch: Arranged, i: number): Promise<void>;
  /** The loss of update `i`, which is among the last; waits until the GPU is idle. */
  loss(i: number): Promise<number>;
  /** What one update runs, once it was queued. */
  programs(): Executable[];
  /** Free what belongs to training. */
  end(): void;
}

/** Updates of what is trained in `model`. */
export function updates(
  { state }: Model,
  { optimizer, lr, maxNorm, decayAll, recompute = false }: UpdateSettings,
): Updates {
  const options: StepOptions = { optimizer, gradientAccumulation: 1, smoothing: 0, decayAll, recompute };
  return {
    async queue(batch, i) {
      const scalars = {
        ...{ seed: 1, step: i, lr, slot: i % RING_SLOTS, maxNorm },
        corrections: optimizer.corrections(i + 1),
        lossScale: 1 / batch.items,
      };
      await microStep(state, batch, scalars, options);
      await updateStep(state, scalars, options);
    },
    loss: async (i) => (await readRing(state))[i % RING_SLOTS]!.loss,
    programs: () => [...state.programs.values()].map(({ executable }) => executable),
    end: () => endTraining(state, trainedLayout(state, options)),
  };
}
