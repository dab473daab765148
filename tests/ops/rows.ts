// Helpers of op tables whose ops work on rows.
import type { DeviceOptions } from "../../src/gpu/device.ts";
import type { Numbers } from "./harness.ts";

/** The kernel classes; the software driver can run all of them. */
export const classes: readonly { readonly label: string; readonly device: DeviceOptions }[] = [
  { label: "software", device: {} },
  { label: "gpu", device: { kind: "gpu" } },
  { label: "default", device: { kind: "default" } },
];

/** `f` applied to each row of D numbers. */
export function rowsOf(x: Numbers, D: number, f: (row: Numbers, n: number) => ArrayLike<number>): Numbers {
  const rows = Array.from({ length: x.length / D }, (_, n) => f(x.subarray(n * D, (n + 1) * D), n));
  const y = new Float64Array(rows.reduce((sum, row) => sum + row.length, 0));
  let at = 0;
  for (const row of rows) {
    y.set(row, at);
    at += row.length;
  }
  return y;
}

/** `count` times `value`. */
export function constant(count: number, value: number): Numbers {
  return new Float64Array(count).fill(value);
}
