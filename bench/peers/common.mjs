// What the JavaScript peers share: the benchmark's files (see inputs.ts), and the report as one line of JSON.
//
//   deno run -A SCRIPT INPUTS_FOLDER BACKEND lora|full STEPS
import { readFileSync } from "node:fs";

export const [folder, backend, mode] = Deno.args;
const steps = Number(Deno.args[3]);

const words = (file, Kind) => {
  const bytes = readFileSync(`${folder}/${file}`);
  return new Kind(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
};

export const layout = JSON.parse(readFileSync(`${folder}/layout.json`, "utf8"));

/** Tensors by name. */
export function weights() {
  const all = words(mode === "lora" ? "base.bin" : "init.bin", Float32Array);
  return layout.layout.map(({ name, shape, offset }) => {
    const size = shape.reduce((a, b) => a * b, 1);
    return { name, shape, data: all.slice(offset, offset + size) };
  });
}

/** A[D, r] of every layer. */
export function loraA() {
  const { L, D, r } = layout;
  const all = words("loraA.bin", Float32Array);
  return Array.from({ length: L }, (_, i) => all.slice(i * D * r, (i + 1) * D * r));
}

/** 0 where position t may look at s, -1e9 elsewhere: [T, T]. */
export function causalMask() {
  const { T } = layout;
  return Float32Array.from({ length: T * T }, (_, i) => i % T > Math.floor(i / T) ? -1e9 : 0);
}

/** Batches of x and y, B·T ids each; y is x one position on. */
function batches() {
  const { B, T } = layout;
  const tokens = words(mode === "lora" ? "tokensB.i32" : "tokensA.i32", Int32Array);
  const at = (k, shift) =>
    Int32Array.from({ length: B * T }, (_, i) => tokens[(k * B + Math.floor(i / T)) * (T + 1) + i % T + shift]);
  return Array.from({ length: tokens.length / B / (T + 1) }, (_, k) => ({ x: at(k, 0), y: at(k, 1) }));
}

/** Time `step(batch, index)`, which ends when its update is done and returns the loss; print the report and exit. */
export async function measure(step) {
  const data = batches(), ms = [], losses = [];
  for (let i = 0; i < steps; i++) {
    const start = performance.now();
    losses.push(await step(data[i % data.length], i));
    ms.push(performance.now() - start);
  }
  console.log(JSON.stringify({ ms, losses }));
  Deno.exit(0);
}
