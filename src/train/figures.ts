// The figures of a run: updates that are queued but not read yet, and how fast they go.
import { NumericError } from "../core/errors.ts";
import { RING_SLOTS } from "../core/scalars.ts";
import type { RingRow } from "./step.ts";

/** The figures of one update. */
export interface StepRecord {
  /** Updates done, from 1. */
  readonly step: number;
  /** Updates of the run. */
  readonly steps: number;
  /** Passes over the data done, with fractions. */
  readonly epoch: number;
  /** Mean over the labels of the window, before the update. */
  readonly loss: number;
  /** That of this update, at its place in the schedule. */
  readonly learningRate: number;
  /** Before clipping. */
  readonly gradNorm: number;
  /** Tokens without padding, since the start. */
  readonly tokens: number;
  /** Tokens without padding, over the run so far but for its first look. */
  readonly tokensPerSecond: number;
  /** Seconds until the run ends, at this speed. */
  readonly secondsLeft: number;
  /** On the last record of an epoch, where there is evaluation data. */
  readonly evalLoss?: number;
}

/** An update that is queued; its loss is on the GPU. */
export interface QueuedUpdate {
  readonly record: Omit<StepRecord, "loss" | "gradNorm" | "tokensPerSecond" | "secondsLeft" | "evalLoss">;
  /** Where its rows came from. */
  readonly place: string;
}

/** The updates since the last look. */
export interface Figures {
  /** Note an update. */
  add(update: QueuedUpdate): void;
  /** Whether it is time to look. */
  due(): boolean;
  /**
   * The figures of all updates since the last look.
   *
   * @throws {NumericError} `num/loss` if one is not finite.
   */
  collect(ring: readonly RingRow[]): StepRecord[];
  /** Leave out of the speed what happened since {@linkcode Figures.collect}. */
  resume(): void;
}

/** Milliseconds between two looks, about. */
const LOOK_MS = 1000;

/** Figures that are looked at every second, or after `logEvery` updates where those are more. */
export function createFigures({ logEvery }: { readonly logEvery: number }): Figures {
  const queued: QueuedUpdate[] = [];
  let every = 1, clock = performance.now(), counted = 0, looks = 0;
  const measured = { tokens: 0, steps: 0, ms: 0 };
  return {
    add: (update) => void queued.push(update),
    due: () => queued.length >= every,
    collect(ring) {
      const ms = performance.now() - clock;
      const { tokens } = queued.at(-1)!.record;
      // The first look times compilation: it says nothing about the speed of the others.
      if (looks++ === 1) Object.assign(measured, { tokens: 0, steps: 0, ms: 0 });
      measured.tokens += tokens - counted;
      measured.steps += queued.length;
      measured.ms += ms;
      counted = tokens;
      every = Math.max(1, Math.min(logEvery, RING_SLOTS / 2, Math.round(LOOK_MS * queued.length / ms)));
      return queued.splice(0).map(({ record, place }) => {
        const row = ring[(record.step - 1) % RING_SLOTS]!;
        if (row.nonFinite || !Number.isFinite(row.loss)) throw lossError(record.step, place, row);
        return {
          ...record,
          loss: row.loss,
          gradNorm: row.gradNorm,
          tokensPerSecond: 1000 * measured.tokens / measured.ms,
          secondsLeft: (record.steps - record.step) * measured.ms / measured.steps / 1000,
        };
      });
    },
    resume: () => void (clock = performance.now()),
  };
}

function lossError(step: number, place: string, { loss, gradNorm }: RingRow): NumericError {
  const found = `Cannot go on as step ${step} has loss ${loss} and a gradient of norm ${gradNorm} (${place})`;
  return new NumericError("num/loss", found, {
    hint: "No update with such a gradient is made: the trained tensors are finite. Try a lower learning rate; " +
      "FINITE=1 finds the first value that is not finite.",
  });
}
