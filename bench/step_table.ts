// The table of training steps as Markdown.
import type { Row } from "./row.ts";

const TITLES = [
  ...["model", "[B x T]", "ms a step", "tokens/s", "target ms", "met", "share of FMA peak", "dispatches"],
  ...["encode ms", "first step cold / warm, s", "memory, MiB", "steps"],
];

/** Lines of a Markdown table; rows without figures of a step are left out. */
export function stepTable(rows: readonly Row[]): string[] {
  const cells = rows.flatMap((row) => row.step ? [rowCells(row, row.step)] : []);
  const widths = TITLES.map((title, i) => Math.max(title.length, ...cells.map((cell) => cell[i]!.length)));
  const line = (texts: readonly string[]) => `| ${texts.map((text, i) => text.padEnd(widths[i]!)).join(" | ")} |`;
  return [line(TITLES), line(widths.map((width) => "-".repeat(width))), ...cells.map(line)];
}

function rowCells({ name, shape, median, rate, share_of_peak }: Row, step: NonNullable<Row["step"]>): string[] {
  const { target, first, dispatches, encode, peakBytes, steps, rounds } = step;
  return [
    name,
    shape.replace("x", " x "),
    median.toPrecision(3),
    rate.toFixed(0),
    target === undefined ? "" : `${target}`,
    target === undefined ? "" : median <= target ? "yes" : "no",
    share_of_peak === undefined ? "" : `${(100 * share_of_peak).toFixed(0)} %`,
    `${dispatches}`,
    encode.toFixed(2),
    first ? `${first.cold.toFixed(2)} / ${first.warm.toFixed(2)}` : "",
    (peakBytes / 2 ** 20).toFixed(0),
    `${rounds} x ${steps}`,
  ];
}
