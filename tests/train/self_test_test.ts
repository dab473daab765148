import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { DeviceError } from "../../src/core/errors.ts";
import { selfTest } from "../../src/train/self_test.ts";
import { gpuTest } from "../device.ts";

for (const kind of ["software", "gpu", "default"] as const) {
  gpuTest(`self-test: known answers and figures, ${kind} kernels`, async (device) => {
    const before = device.memory.bytes;
    const results = await selfTest(device);
    for (const { name, detail } of results) console.log(`${name.padEnd(36)} ${detail}`);
    assert(results.every(({ ok }) => ok));
    assertEquals(results.length, 8);
    assertEquals(device.memory.bytes, before);
    if (kind !== "software") return;
    const start = performance.now();
    await selfTest(device); // pipelines exist now
    console.log(`self-test: ${(performance.now() - start).toFixed(0)} ms`);
  }, kind === "software" ? {} : { kind });
}

gpuTest("self-test: a device that computes wrongly is named with what failed", async (device) => {
  // Pipelines that do nothing stand for a driver that drops work.
  const broken = { ...device, pipelines: new Map(), name: "Broken Driver" };
  const gpu = new Proxy(device.gpu, {
    get(target, key) {
      const value = Reflect.get(target, key);
      if (key === "createShaderModule") {
        return (d: GPUShaderModuleDescriptor) =>
          target.createShaderModule({ ...d, code: d.code.replace("select(0.0, 1.0,", "select(0.0, 0.0,") });
      }
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const error = await assertRejects(() => selfTest({ ...broken, gpu }), DeviceError) as DeviceError;
  assertEquals(error.code, "device/self-test");
  assertStringIncludes(error.message, 'Cannot trust "Broken Driver": NaN and infinity by their bits: 3 of 8');
});
