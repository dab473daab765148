// The writing protocol with a file system that fails at its N-th call, that writes short, and with planted links.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { GraftError, IoError, UsageError } from "../../src/core/errors.ts";
import {
  type FileSystem,
  removeLeftovers,
  requireEmpty,
  writeFile,
  writeFiles,
  writeFolder,
} from "../../src/io/atomic_write.ts";
import { readJson, readText } from "../../src/io/files.ts";
import { withFolder } from "../temp_folder.ts";

async function listing(folder: string): Promise<Record<string, string>> {
  const out: Record<string, string> = {};
  for await (const { name, isFile } of Deno.readDir(folder)) {
    out[name] = isFile ? await Deno.readTextFile(`${folder}/${name}`) : "/";
  }
  return out;
}

class Full extends Error {
  readonly code = "ENOSPC";
}

/** Deno's file system, whose operations also go through `step`. */
function watched(step: (operation: string) => void, writeAtMost = Infinity): FileSystem {
  return {
    lstat: (path) => (step("lstat"), Deno.lstat(path)),
    mkdir: (path, options) => (step("mkdir"), Deno.mkdir(path, options)),
    readDir: (path) => (step("readDir"), Deno.readDir(path)),
    readFile: (path, options) => (step("readFile"), Deno.readFile(path, options)),
    remove: (path, options) => (step("remove"), Deno.remove(path, options)),
    rename: (from, to) => (step("rename"), Deno.rename(from, to)),
    async open(path, options) {
      step("open");
      const file = await Deno.open(path, options);
      const write = file.write.bind(file);
      const sync = file.sync.bind(file);
      file.write = (bytes) => (step("write"), write(bytes.subarray(0, writeAtMost)));
      file.sync = () => (step("sync"), sync());
      return file;
    },
  };
}

Deno.test("writeFile: short writes are continued, every file and the folder are synced before and after renames", async () => {
  await withFolder(async (folder) => {
    const log: string[] = [];
    await writeFile(`${folder}/x`, "abcdefgh", { fs: watched((op) => log.push(op), 3) });
    assertEquals(await listing(folder), { x: "abcdefgh" });
    assertEquals(log, ["mkdir", "open", "write", "write", "write", "sync", "rename", "open", "sync"]);
  });
});

Deno.test("writeFiles: failing at each operation leaves old or new, never a mixture taken for one, and no leftover", async () => {
  const old = { "a": "old a", "config": "old" };
  const fresh = new Map([["config", "new"], ["a", "new a"], ["b", "new b"]]);
  let runs = 0;
  for (let failAt = 0, done = false; !done; failAt++) {
    await withFolder(async (folder) => {
      for (const [name, text] of Object.entries(old)) await Deno.writeTextFile(`${folder}/${name}`, text);
      let n = 0;
      const fs = watched((operation) => {
        // Clearing up after the failure works again, as it does on a full disk.
        if (n++ === failAt) throw new Full(operation);
      });
      try {
        await writeFiles(folder, fresh, { fs, last: "config" });
        done = true;
      } catch (error) {
        assert(error instanceof IoError && error.code === "io/enospc" && error.message.includes(folder), String(error));
      }
      const found = await listing(folder);
      assertEquals(Object.keys(found).filter((name) => name.includes(".tmp-")), []);
      if (found["config"] === "old") assertEquals(found, old);
      if (found["config"] === "new") assertEquals(found, Object.fromEntries(fresh));
    });
    runs++;
  }
  assert(runs > 12);
  console.log(`writeFiles survived a full disk at each of ${runs - 1} operations`);
});

Deno.test("writeFolder: failing at each operation leaves the old folder or the new one", async () => {
  let runs = 0;
  for (let failAt = 0, done = false; !done; failAt++) {
    await withFolder(async (parent) => {
      const target = `${parent}/checkpoint-5`;
      await Deno.mkdir(target);
      await Deno.writeTextFile(`${target}/x`, "old");
      let n = 0;
      const fs = watched((operation) => {
        if (n++ === failAt) throw new Full(operation);
      });
      try {
        await writeFolder(target, (folder) => writeFile(`${folder}/x`, "new", { fs }), { fs, replace: true });
        done = true;
      } catch (error) {
        assert(error instanceof IoError && error.code === "io/enospc", String(error));
      }
      const { x } = await listing(target);
      assert(x === "old" || x === "new");
      await removeLeftovers(parent);
      assertEquals(await listing(parent), { "checkpoint-5": "/" });
    });
    runs++;
  }
  assert(runs > 10);
});

Deno.test("writeFolder: new, empty and taken targets", async () => {
  await withFolder(async (parent) => {
    const target = `${parent}/deep/out`;
    const fill = (folder: string) => writeFile(`${folder}/x`, "1");
    await writeFolder(`${target}/`, fill);
    assertEquals(await listing(target), { x: "1" });
    const error = await assertRejects(() => writeFolder(target, fill), UsageError, "received 1 files");
    assertEquals(error.code, "out/not-empty");
    await Deno.mkdir(`${parent}/empty`);
    await writeFolder(`${parent}/empty`, fill);
    assertEquals(await listing(`${parent}/empty`), { x: "1" });
    await assertRejects(
      () => writeFolder(`${parent}/thrown`, () => Promise.reject(new TypeError("of the caller"))),
      TypeError,
      "of the caller",
    );
    assertEquals(Object.keys(await listing(parent)).sort(), ["deep", "empty"]);
  });
});

Deno.test("writeFiles: nothing is written through a planted link", async () => {
  if ((await Deno.permissions.query({ name: "write" })).state !== "granted") {
    console.log("skipped, links need unscoped --allow-read and --allow-write");
    return;
  }
  await withFolder(async (folder) => {
    await Deno.mkdir(`${folder}/out`);
    await Deno.writeTextFile(`${folder}/secret`, "keep");
    for (const name of ["a", "config"]) await Deno.symlink(`${folder}/secret`, `${folder}/out/${name}`);
    await writeFiles(`${folder}/out`, new Map([["a", "1"], ["config", "2"]]), { last: "config" });
    assertEquals(await Deno.readTextFile(`${folder}/secret`), "keep");
    assertEquals(await listing(`${folder}/out`), { a: "1", config: "2" });
  });
});

Deno.test("leftovers of killed runs do not count and are removed", async () => {
  await withFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/a.tmp-123-0123abcd`, "half");
    await Deno.mkdir(`${folder}/checkpoint-5.tmp-9-0123abcd`);
    await requireEmpty(folder);
    await writeFiles(folder, new Map([["config", "1"]]), { last: "config" });
    assertEquals(await listing(folder), { config: "1" });
    await requireEmpty(`${folder}/missing`);
    const error = await assertRejects(() => requireEmpty(`${folder}/config`), GraftError);
    assertEquals(error.code, "io/enotdir");
  });
});

Deno.test({
  name: "a folder without permission is an error that names the flag",
  permissions: "none",
  async fn() {
    const error = await assertRejects(() => writeFile("/tmp/graft-none/x", "x"), IoError, "--allow-write=");
    assertEquals(error.code, "io/permission");
  },
});

Deno.test("readText and readJson: strict, with the place", async () => {
  await withFolder(async (folder) => {
    const path = `${folder}/config.json`;
    const code = async (content: Uint8Array | string) => {
      await writeFile(path, content);
      try {
        await readJson(path);
      } catch (error) {
        assert((error as Error).message.includes("config.json"));
        return (error as GraftError).code;
      }
      return "ok";
    };
    assertEquals(await code('\ufeff{"a":1}'), "ok");
    assertEquals(await code(Uint8Array.of(0x22, 0xff, 0x22)), "text/utf8");
    assertEquals(await code('{"a":1,"a":2}'), "json/duplicate-key");
    assertEquals(await code(""), "json/syntax");
    const missing = await assertRejects(() => readText(`${folder}/none`), IoError);
    assertEquals(missing.code, "io/enoent");
    const directory = await assertRejects(() => readText(folder), IoError);
    assertEquals(directory.code, "io/eisdir");
  });
});
