// What the rates of rows are held against: the best that was reached for the same work, by hand-written kernels or by
// others, on an H100 and on Mesa's software driver with two cores (../shared/design/performance.md). Rows without one
// have no figure of the same work.
import type { GraftDevice } from "../mod.ts";
import type { Row } from "./row.ts";

/** A rate in the unit of the row. */
export type References = Readonly<Record<string, number>>;

/** Norms, optimizers and copies on an H100 reach the rate of the copy kernel. */
const H100_COPY = 3000;

/** Tokens a second of a step that takes `ms`. */
const tokens = (B: number, T: number, ms: number): number => 1000 * B * T / ms;

/** On an H100: the best WGSL kernels, and eager PEFT in f32 for steps. By "family name shape", "family name" or "family". */
export const H100: References = {
  "matmul 512³ nn": 18_800,
  "matmul 1024³ nn": 35_300,
  "matmul 2048³ nn": 42_200,
  "matmul 4096³ nn": 42_900,
  "matmul 4096x768·3072 nn": 42_100,
  "matmul 4096x768·3072 nt": 39_100,
  "matmul 4096x768·3072 tn": 44_600,
  "matmul 1024x3072·768 nn": 36_900,
  "attention forward 1x128 12/12 heads of 64": 8_700,
  "attention backward 1x128 12/12 heads of 64": 9_400,
  "attention forward 8x512 12/12 heads of 64": 15_500,
  "attention backward 8x512 12/12 heads of 64": 15_200,
  "attention forward 4x1024 12/12 heads of 64": 16_800,
  "attention backward 4x1024 12/12 heads of 64": 17_800,
  "norm layer norm 8192x768": 2_800,
  "norm layer norm dx 8192x768": 2_800,
  "norm rms norm 8192x768": 2_800,
  "norm rms norm dx 8192x768": 2_800,
  "norm softmax 8192x768": 2_800,
  "norm softmax dx 8192x768": 2_800,
  "loss cross-entropy, dlogits": 2_800,
  "lora linear 1024x768·2304": 33_900,
  "lora lora linear 1024x768·2304 r 8": 33_900, // of the product without an adapter
  "elementwise": H100_COPY,
  "optimizer": H100_COPY,
  "step stories260K, random 8x128": tokens(8, 128, 21.3),
  "step GPT-2 124M, random 1x128": tokens(1, 128, 19.9),
  "step GPT-2 124M, random 8x512": tokens(8, 512, 67.3),
  "step SmolLM2-135M, random 8x512": tokens(8, 512, 135.8),
  "step Qwen3-0.6B, random 4x512": tokens(4, 512, 182.8),
};

/** On the software driver with two cores: the best kernels of ../shared/kernels. */
export const SOFTWARE: References = {
  "matmul 512³ nn": 26,
  "matmul 512³ nt": 23.5,
  "matmul 512³ tn": 23,
  "matmul 1024³ nn": 24.7,
  "matmul 1024³ nt": 23.4,
  "matmul 1024³ tn": 22.4,
  "matmul lora x·Aᵀ": 20,
  "matmul lora dhᵀ·x": 7,
  "attention forward 1x128 12/12 heads of 64": 9.7,
  "attention forward 1x512 4/4 heads of 64": 20.3,
  "attention backward 1x512 4/4 heads of 64": 33.9,
  "attention forward 1x1024 2/2 heads of 64": 23.8,
  "attention backward 1x1024 2/2 heads of 64": 30.9,
  "norm layer norm 512x768": 2.4,
  "norm layer norm dx 512x768": 2.9,
  "norm rms norm 512x768": 2.5,
  "norm rms norm dx 512x768": 2.9,
  "norm softmax 512x768": 2.7,
  "loss cross-entropy, dlogits 32x50257": 5.05,
  "lora linear 128x768·2304": 22, // of the product with 1024 rows
  "lora lora linear 128x768·2304 r 8": 22,
  "elementwise": 6.6,
  "elementwise copy": 5.8,
  "elementwise gelu (tanh)": 4.8,
  "elementwise gelu (tanh) dx": 5.3,
  "elementwise swiglu": 5.8,
  "optimizer": 6.2,
};

/** The row with what it is held against on this device, where there is a figure. */
export function withReference(row: Row, device: Pick<GraftDevice, "software" | "name">): Row {
  const table = device.software ? SOFTWARE : /H100/.test(device.name) ? H100 : {};
  const { family, name, shape, rate } = row;
  const reference = [`${family} ${name} ${shape}`, `${family} ${name}`, family].map((key) => table[key])
    .find((found) => found !== undefined);
  return reference === undefined ? row : { ...row, reference, ratio: rate / reference };
}
