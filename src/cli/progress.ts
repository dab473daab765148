// Progress of training: a bar that is redrawn on a terminal, otherwise a line every twentieth of the way.
import { clock, digits } from "./format.ts";
import type { Terminal } from "./terminal.ts";

/** What is shown of a step. */
export interface Progress {
  readonly step: number;
  readonly steps: number;
  readonly loss: number;
  readonly tokensPerSecond: number;
  readonly secondsLeft: number;
}

/** Cells of the bar. */
const CELLS = 16;

/** Lines of a whole run where nothing can be redrawn. */
const LINES = 20;

/** A function that shows where training is. */
export function progressBar(terminal: Terminal): (progress: Progress) => void {
  let shown = 0;
  return (progress) => {
    const { step, steps } = progress;
    if (terminal.redraws) {
      const line = `${bar(step / steps)} ${progressLine(progress)}`;
      return step < steps ? terminal.redraw(line) : terminal.note(line);
    }
    const part = Math.floor(LINES * step / steps);
    if (shown > 0 && part <= shown && step < steps) return;
    shown = Math.max(1, part);
    terminal.note(progressLine(progress));
  };
}

/** `step 40/120 · loss 3.214 · 5,120 tokens/s · 0:42 left` */
export function progressLine({ step, steps, loss, tokensPerSecond, secondsLeft }: Progress): string {
  const count = `step ${String(step).padStart(String(steps).length)}/${steps}`;
  return `${count} · loss ${loss.toFixed(3)} · ${digits(Math.round(tokensPerSecond))} tokens/s · ${
    clock(secondsLeft)
  } left`;
}

function bar(share: number): string {
  const full = Math.round(CELLS * Math.min(1, share));
  return "█".repeat(full) + "░".repeat(CELLS - full);
}
