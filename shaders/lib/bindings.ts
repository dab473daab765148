// The storage buffers of a kernel whose options change which ones there are, and its uniform behind them.

/** Declarations of `"name: type"` in the order in which kernels bind them: reads, writes, then `p: P`. */
export function declareBuffers(reads: readonly string[], writes: readonly string[]): string {
  return [
    ...reads.map((b, i) => `@group(0) @binding(${i}) var<storage, read> ${b};`),
    ...writes.map((b, i) => `@group(0) @binding(${reads.length + i}) var<storage, read_write> ${b};`),
    `@group(0) @binding(${reads.length + writes.length}) var<uniform> p: P;`,
  ].join("\n");
}
