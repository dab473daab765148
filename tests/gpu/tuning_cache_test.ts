// The cache of measured choices: what it is kept under, and files that are not ours.
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { closeDevice, openDevice } from "../../src/gpu/device.ts";
import { readTuning, tuningKey, writeTuning } from "../../src/gpu/tuning_cache.ts";
import { withFolder } from "../temp_folder.ts";

const info = {
  ...{ vendor: "65541", architecture: "", device: "0", description: "llvmpipe (LLVM 15.0.6, 256 bits)" },
  ...{ subgroupMinSize: 8, subgroupMaxSize: 8, isFallbackAdapter: false },
};

Deno.test("tuning cache: the key names adapter, driver and Deno", () => {
  const key = tuningKey(info);
  for (const part of ["65541", "llvmpipe", "LLVM 15.0.6", Deno.version.deno]) assertStringIncludes(key, part);
  assert(key !== tuningKey({ ...info, description: "llvmpipe (LLVM 19.1.0, 256 bits)" }));
  assert(key !== tuningKey({ ...info, device: "1" }));
});

Deno.test("tuning cache: choices of several devices stand side by side, for this user only", async () => {
  await withFolder(async (folder) => {
    const path = `${folder}/new/tuning.json`;
    assertEquals(await readTuning("a", { path }), undefined);
    await writeTuning("a", { "matmul nn large": "32x4" }, path);
    await writeTuning("b", { "matmul nt large": "32x8" }, path);
    await writeTuning("a", { "matmul tn large": "16x8" }, path);
    assertEquals(await readTuning("a", { path }), { "matmul tn large": "16x8" });
    assertEquals(await readTuning("b", { path }), { "matmul nt large": "32x8" });
    assertEquals(await readTuning("c", { path }), undefined);
    assertEquals((await Deno.stat(path)).mode! & 0o777, 0o600);
    assertEquals((await Deno.stat(`${folder}/new`)).mode! & 0o777, 0o700);
  });
});

const strangers: readonly (readonly [content: string, why: string])[] = [
  ["{", "Cannot"],
  ["[]", 'no "graft-tuning" file'],
  ['{"format": "other", "version": 1, "devices": {}}', 'no "graft-tuning" file'],
  ['{"format": "graft-tuning", "version": 2, "devices": {}}', "version 2 is not known"],
  ['{"format": "graft-tuning", "version": 1, "devices": {"a": {"matmul nn large": 3}}}', "must map"],
  ['{"format": "graft-tuning", "version": 1}', "must map"],
  ["x".repeat(2 ** 20 + 1), "1048577 bytes"],
];

for (const [content, why] of strangers) {
  Deno.test(`tuning cache: ${content.slice(0, 70)} is left alone with a warning that names it`, async () => {
    await withFolder(async (folder) => {
      const path = `${folder}/tuning.json`;
      await Deno.writeTextFile(path, content);
      const warnings: string[] = [];
      assertEquals(await readTuning("a", { path, warn: (text) => warnings.push(text) }), undefined);
      assertEquals(await Deno.readTextFile(path), content);
      assertEquals(warnings.length, 1);
      assertStringIncludes(warnings[0]!, path);
      assertStringIncludes(warnings[0]!, why);
      await writeTuning("a", { "matmul nn large": "32x4" }, path);
      assertEquals(await readTuning("a", { path }), { "matmul nn large": "32x4" });
    });
  });
}

Deno.test("tuning cache: openDevice reads it, takes choices instead, or leaves them", async () => {
  await withFolder(async (folder) => {
    const before = Deno.env.get("XDG_CACHE_HOME");
    Deno.env.set("XDG_CACHE_HOME", folder);
    const open = async (options: Parameters<typeof openDevice>[0]) => {
      const device = await openDevice(options);
      closeDevice(device);
      return device;
    };
    try {
      const { tuningKey: key, target } = await open({});
      assertEquals(target.tuning, undefined);
      await writeTuning(key, { "matmul nn large": "16x8" }, `${folder}/graft/tuning.json`);
      assertEquals((await open({})).target.tuning, { "matmul nn large": "16x8" });
      assertEquals((await open({ tuning: false })).target.tuning, undefined);
      assertEquals((await open({ tuning: { "matmul nn large": "16x4" } })).target.tuning, {
        "matmul nn large": "16x4",
      });
      assertEquals((await open({ kind: "gpu" })).target.tuning, undefined);
    } finally {
      if (before === undefined) Deno.env.delete("XDG_CACHE_HOME");
      else Deno.env.set("XDG_CACHE_HOME", before);
    }
  });
});
