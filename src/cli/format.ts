// Numbers and tables for people.

/** `1234567` → `"1,234,567"`. */
export function digits(n: number): string {
  return n.toLocaleString("en");
}

/** A number of things: `"1 step"`, `"2 steps"`. */
export function plural(n: number, what: string): string {
  return `${digits(n)} ${what}${n === 1 ? "" : "s"}`;
}

/** Bytes in a unit that suits: `"1.5 MiB"`. */
export function bytes(n: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  const unit = n < 1024 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(n) / 10));
  return `${(n / 1024 ** unit).toFixed(unit === 0 ? 0 : 1)} ${units[unit]}`;
}

/** Seconds as a clock shows them: `"0:09"`, `"1:02:03"`. */
export function clock(seconds: number): string {
  if (!Number.isFinite(seconds)) return "-:--";
  const whole = Math.max(0, Math.round(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n: number) => String(n).padStart(2, "0");
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** A share of one in per cent: `"3.9 %"`. */
export function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

/** Rows of words in columns; the first column is left-aligned, the others right-aligned. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) row.forEach((word, i) => widths[i] = Math.max(widths[i] ?? 0, [...word].length));
  const pad = (word: string, i: number) => {
    const space = " ".repeat(widths[i]! - [...word].length);
    return i === 0 ? word + space : space + word;
  };
  return rows.map((row) => `  ${row.map(pad).join("   ").trimEnd()}`).join("\n");
}
