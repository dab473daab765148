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
    if (!(cause instanceof DeviceError) || cause.code !== "device/validation") throw cause;
    const reason = await explain(device, wgsl) ?? cause.message;
    throw new DeviceError("device/shader", `Cannot compile ${label}: ${reason}`, { cause });
  }
}

/** The first error of the compiler with the lines around it; nothing if the text is not what is wrong. */
async function explain(device: GraftDevice, wgsl: string): Promise<string | undefined> {
  device.gpu.pushErrorScope("validation");
  const module = device.gpu.createShaderModule({ code: wgsl });
  device.gpu.popErrorScope();
  const { messages } = await module.getCompilationInfo();
  const first = messages.find(({ type }) => type === "error");
  if (!first) return undefined;
  const { message, lineNum, linePos } = first;
  const lines = wgsl.split("\n");
  const from = Math.max(0, lineNum - 3);
  const shown = lines.slice(from, lineNum + 2).flatMap((text, i) => {
    const number = String(from + i + 1).padStart(5);
    return from + i + 1 === lineNum
      ? [`> ${number}  ${text}`, `${" ".repeat(8 + linePos)}^`]
      : [`  ${number}  ${text}`];
  });
  return `${message} at ${lineNum}:${linePos}\n${shown.join("\n")}`;
}
