// One measured line, the table of them, and the comparison of two runs.

/** Unit of a rate. */
export type RateUnit = "GFLOP/s" | "GB/s" | "tokens/s";

/** One measured line. */
export interface Row {
  readonly family: string;
  readonly name: string;
  /** Sizes, such as `"512x768"`. */
  readonly shape: string;
  /** Largest error against the f64 reference, relative to its largest value; undefined where nothing is compared. */
  readonly error?: number;
  /** Milliseconds of one dispatch list, step or call. */
  readonly median: number;
  readonly best: number;
  /** At the best time: others who use the machine can only make it longer. */
  readonly rate: number;
  readonly unit: RateUnit;
  /** Of the measured peak: of multiply-adds for GFLOP/s, of copies for GB/s. */
  readonly share_of_peak?: number;
  /** The best rate that is known of the same work on such a device (references.ts), and this one beside it. */
  readonly reference?: number;
  readonly ratio?: number;
  /** What is known of a training step. */
  readonly step?: StepFigures;
  /** What is known of a model in a format of fewer bits. */
  readonly quantized?: QuantizedFigures;
  /** What else there is to say. */
  readonly note?: string;
}

/** What is known of a model in a format of fewer bits. */
export interface QuantizedFigures {
  /** Bytes of all weights, and how many of the weights are packed. */
  readonly bytes: number;
  readonly packed: number;
  /** Of the packed weights: the largest error, and the root mean square of the errors relative to that of the weights. */
  readonly largest: number;
  readonly rms: number;
  /** On held-out text, and how much it exceeds that of f32. */
  readonly loss: number;
  readonly difference: number;
}

/** What is known of a training step beside its time. */
export interface StepFigures {
  /** Steps that were queued without a wait, and how often. */
  readonly steps: number;
  readonly rounds: number;
  /** Milliseconds of JavaScript's thread to queue one step; on a software driver to encode it (submit computes there). */
  readonly encode: number;
  readonly dispatches: number;
  /** Dispatches of one layer, and nodes that need none as others do their work. */
  readonly perLayer: number;
  readonly joined: number;
  /** Bytes of temporaries, and the most that the device held. */
  readonly scratchBytes: number;
  readonly peakBytes: number;
  /** Seconds of the first step in a new process, without and with what the driver has compiled before. */
  readonly first?: { readonly cold: number; readonly warm: number };
  /** Milliseconds that a step may take on an H100. */
  readonly target?: number;
}

/** What the device reaches in registers and in copies, measured in the same run. */
export interface Peaks {
  /** GFLOP/s of multiply-adds in registers. */
  readonly flops: number;
  /** GB/s read and written by the copy kernel. */
  readonly bytes: number;
}

/** A figure that has, or may have, a limit. */
export interface Check {
  readonly name: string;
  readonly value: number;
  /** The most that it should be on this device. */
  readonly limit?: number;
  readonly met?: boolean;
}

/** A run, as `--json` prints it and `--compare` reads it. */
export interface Report {
  readonly device: string;
  readonly date: string;
  readonly peaks: Peaks;
  readonly rows: readonly Row[];
  /** Ratios and what they should be. */
  readonly checks?: readonly Check[];
}

/** The share of the roof that belongs to the unit. */
export function shareOf({ flops, bytes }: Peaks, rate: number, unit: "GFLOP/s" | "GB/s"): number {
  return rate / (unit === "GFLOP/s" ? flops : bytes);
}

const COLUMNS: readonly (readonly [title: string, width: number])[] = [
  ["family", -11],
  ["name", -34],
  ["shape", -22],
  ["error", 8],
  ["median ms", 10],
  ["best ms", 10],
  ["rate", 18],
  ["peak", 6],
  ["ratio", 6],
];

/** The line of titles. */
export function header(): string {
  return aligned(COLUMNS.map(([title]) => title));
}

/** One line of the table. */
export function line(
  { family, name, shape, error, median, best, rate, unit, share_of_peak, ratio, note }: Row,
): string {
  const cells = [
    family,
    name,
    shape,
    error === undefined ? "" : error.toExponential(1),
    digits(median),
    digits(best),
    `${digits(rate)} ${unit.padEnd(8)}`,
    share_of_peak === undefined ? "" : `${(100 * share_of_peak).toFixed(0)} %`,
    ratio === undefined ? "" : ratio.toFixed(2),
  ];
  return `${aligned(cells)}${note === undefined ? "" : `  ${note}`}`.trimEnd();
}

/** One line of a check. */
export function checkLine({ name, value, limit, met }: Check): string {
  const verdict = limit === undefined ? "" : `  ${met ? "met" : "MISSED"}, at most ${limit.toFixed(2)}`;
  return `${name.padEnd(44)} ${value.toFixed(3).padStart(8)}${verdict}`;
}

function aligned(cells: readonly string[]): string {
  return cells.map((cell, i) => {
    const width = COLUMNS[i]![1];
    return width < 0 ? cell.padEnd(-width) : cell.padStart(width);
  }).join(" ");
}

function digits(x: number): string {
  if (!Number.isFinite(x)) return "-";
  return x >= 100 ? x.toFixed(0) : x >= 10 ? x.toFixed(1) : x >= 0.1 ? x.toFixed(2) : x.toPrecision(2);
}

/** Share of its rate that a row may lose. */
const LOSS = 0.1;

/** Rows of `now` that lost more than a tenth of their rate, in words. */
export function slower(now: readonly Row[], before: readonly Row[]): string[] {
  const key = ({ family, name, shape }: Row) => `${family} ${name} ${shape}`;
  const known = new Map(before.map((row) => [key(row), row]));
  return now.flatMap((row) => {
    const old = known.get(key(row));
    if (!old || row.rate >= (1 - LOSS) * old.rate) return [];
    return [`${key(row)}: ${digits(row.rate)} ${row.unit}, was ${digits(old.rate)}`];
  });
}
