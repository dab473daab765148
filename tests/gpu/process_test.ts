// Processes that must not end as if all were well, nor by a panic. It opens no device itself, so that it can run in a
// test process apart from those that do.
import { assert, assertEquals, assertStringIncludes } from "@std/assert";

/** Run one case of misuse_main.ts in a process of its own. */
async function inProcess(name: string): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  const root = new URL("../../", import.meta.url);
  const script = new URL("misuse_main.ts", import.meta.url).href;
  const env = "--allow-env=XDG_RUNTIME_DIR,DENO_WEBGPU_BACKEND";
  const flags = ["run", "--no-prompt", "--quiet", env, "--config", new URL("deno.json", root).pathname];
  const { code, stdout, stderr } = await new Deno.Command("deno", {
    args: [...flags, script, name],
    env: { NO_COLOR: "1", XDG_RUNTIME_DIR: "/tmp" },
  }).output();
  return { code, out: new TextDecoder().decode(stdout), err: new TextDecoder().decode(stderr) };
}

for (const name of ["empty", "detached", "long", "unaligned"]) {
  Deno.test(`process: an upload of ${name} data ends with a message, not with a panic`, async () => {
    const { code, out, err } = await inProcess(name);
    assertEquals([code, out], [1, ""], err);
    assertStringIncludes(err, "DeviceError: Cannot upload");
    assert(!err.includes("panicked"), err);
  });
}

Deno.test("process: an error that nobody catches or reads ends it with exit code 1", async () => {
  for (const [name, word] of [["uncaptured", "maximum buffer size"], ["unseen", "has been destroyed"]] as const) {
    const { code, err } = await inProcess(name);
    assertEquals(code, 1, err);
    assertStringIncludes(err, word);
  }
});

Deno.test("process: bit-identical results in two of them and in 20 runs of each", async () => {
  const [a, b] = await Promise.all([inProcess("digest"), inProcess("digest")]);
  assertEquals([a.code, b.code], [0, 0], a.err);
  assertEquals(a.out, b.out);
  assertEquals(new Set(a.out.trim().split("\n")).size, 1, a.out);
});
