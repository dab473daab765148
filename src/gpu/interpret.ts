// "Eager mode" is an interpreter over the same list: one dispatch a submit, each output looked at.
import { size } from "../core/dims.ts";
import { NumericError } from "../core/errors.ts";
import type { Values } from "../graph/graph.ts";
import { readBack } from "./buffer.ts";
import { checked } from "./device.ts";
import type { Executable } from "./executable.ts";

/** Position of the first word that is not a finite f32, by its bits; -1 if all are. */
export function firstNonFinite(words: Uint32Array): number {
  return words.findIndex((w) => (w & 0x7f800000) >>> 0 === 0x7f800000);
}

/**
 * Run the program one dispatch at a time and stop at the first output that is not finite.
 *
 * @throws {NumericError} `num/non-finite` naming the op, its place in the model, the element and the sizes of its inputs.
 */
export async function interpret(executable: Executable): Promise<void> {
  const { device, dispatches, locate } = executable;
  for (const [i, { pipeline, group, grid: [x, y, z], kernel, node }] of dispatches.entries()) {
    const where = `${node.scope ? `${node.scope}: ` : ""}${kernel.name}`;
    await checked(device, `run ${where}`, () => {
      const encoder = device.gpu.createCommandEncoder();
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(x, y, z);
      pass.end();
      device.gpu.queue.submit([encoder.finish()]);
    });
    if (dispatches[i + 1]?.node === node) continue; // the node has more kernels to run
    for (const output of (node.outputs as Values).filter(({ dtype }) => dtype === "f32")) {
      const [words] = await readBack(device, output.name, [{ ...locate(output), length: size(output.shape) }]);
      const at = firstNonFinite(words!);
      if (at < 0) continue;
      const value = new Float32Array(words!.buffer)[at];
      const inputs = (node.inputs as Values).map((v) => `${v.name} [${v.shape}]`).join(", ");
      throw new NumericError(
        "num/non-finite",
        `Cannot go on as ${where} (dispatch ${
          i + 1
        } of ${dispatches.length}) made ${value} at element ${at} of [${output.shape}] from ${inputs}`,
      );
    }
  }
}
