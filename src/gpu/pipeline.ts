// Pipelines by WGSL text. Errors show the lines of the expanded shader around the position.
import { debugLevel } from "../core/env.ts";
import { DeviceError } from "../core/errors.ts";
import type { GraftDevice } from "./device.ts";
import { checked } from "./device.ts";

/**
 * The pipeline of a shader, compiled once for each text.
 *
 * @throws {DeviceError} `device/shader` with the place in the expanded text.
 */
export async function pipelineFor(device: GraftDevice, wgsl: string, label: string): Promise<GPUComputePipeline> {
  const known = device.pipelines.get(wgsl);
  if (known) return known;
  if (debugLevel() >= 4) console.error(`--- ${label}\n${wgsl}`);
  try {
    const pipeline = await checked(device, `compile ${label}`, () => {
      const module = device.gpu.createShaderModule({ label, code: wgsl });
      return device.gpu.createComputePipeline({ label, layout: "auto", compute: { module, entryPoint: "main" } });
    });
    device.pipelines.set(wgsl, pipeline);
    return pipeline;
  } catch (cause) {
    if (!(cause instanceof DeviceError)) throw cause;
    throw new DeviceError("device/shader", `Cannot compile ${label}: ${await explain(device, wgsl, cause.message)}`, {
      cause,
    });
  }
}

async function explain(device: GraftDevice, wgsl: string, fallback: string): Promise<string> {
  device.gpu.pushErrorScope("validation");
  const info = await device.gpu.createShaderModule({ code: wgsl }).getCompilationInfo();
  await device.gpu.popErrorScope();
  const [first] = info.messages.filter(({ type }) => type === "error");
  if (!first) return fallback;
  const lines = wgsl.split("\n");
  const from = Math.max(0, first.lineNum - 3);
  const shown = lines.slice(from, first.lineNum + 2).map((text, i) => {
    const number = from + i + 1;
    return `${number === first.lineNum ? ">" : " "} ${number}  ${text}`;
  });
  return `${first.message}\n${shown.join("\n")}`;
}
