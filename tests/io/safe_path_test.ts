// Names of strangers: what leaves the folder or is no regular file is refused; links of the Hugging Face cache work.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { SecurityError } from "../../src/core/errors.ts";
import { openSafetensors } from "../../src/io/safetensors.ts";
import { fileInside } from "../../src/io/safe_path.ts";
import { withFolder } from "../temp_folder.ts";

/** Deno makes links only with unscoped permissions. */
async function canLink(): Promise<boolean> {
  const states = await Promise.all((["read", "write"] as const).map((name) => Deno.permissions.query({ name })));
  const granted = states.every(({ state }) => state === "granted");
  if (!granted) console.log("skipped, links need unscoped --allow-read and --allow-write");
  return granted;
}

async function refused(root: string, name: string, code: string): Promise<void> {
  const error = await assertRejects(() => fileInside(root, name), SecurityError);
  assertEquals(error.code, code, name);
  assert(!error.message.includes("\u0000") && !error.message.includes("\u001b"), name);
}

Deno.test("fileInside: names that are more than a name", async () => {
  await withFolder(async (folder) => {
    const root = `${folder}/model`;
    await Deno.mkdir(`${root}/a`, { recursive: true });
    await Deno.writeTextFile(`${folder}/x`, "outside");
    await Deno.writeTextFile(`${root}/a/b`, "below");
    const names = [
      "../x",
      "/etc/passwd",
      "a/b",
      "C:\\x",
      "C:x",
      "..\\x",
      "%2e%2e/x",
      "x\u0000",
      "",
      ".",
      "..",
      "./x",
      "\ud800",
    ];
    for (const name of [...names, "x".repeat(300), "\u001b[2J/"]) await refused(root, name, "path/escape");
    assertEquals(await fileInside(root, "%2e%2e"), undefined);
    assertEquals(await fileInside(root, "missing.safetensors"), undefined);
    await Deno.writeTextFile(`${root}/..x é.json`, "fine");
    assertEquals(await fileInside(root, "..x é.json"), `${root}/..x é.json`);
  });
});

Deno.test("fileInside: links that leave, loop or point to nothing; folders", async () => {
  if (!await canLink()) return;
  await withFolder(async (folder) => {
    const root = `${folder}/model`;
    await Deno.mkdir(`${root}/sub`, { recursive: true });
    await Deno.writeTextFile(`${folder}/secret`, "secret");
    await Deno.writeTextFile(`${root}/real`, "real");
    await Deno.writeTextFile(`${root}/sub/x`, "x");
    await Deno.symlink(`${folder}/secret`, `${root}/absolute`);
    await Deno.symlink(`../secret`, `${root}/relative`);
    await Deno.symlink(`absolute`, `${root}/twice`);
    await Deno.symlink(`loop`, `${root}/loop`);
    await Deno.symlink(`${folder}/nothing`, `${root}/dangling`);
    await Deno.symlink("/dev/zero", `${root}/device`);
    await Deno.symlink("sub/x", `${root}/deeper`);
    await Deno.symlink("sub", `${root}/folder-link`);
    await Deno.symlink("real", `${root}/inside`);
    for (const name of ["absolute", "relative", "twice", "loop", "dangling", "device", "deeper"]) {
      await refused(root, name, "path/escape");
    }
    await refused(root, "sub", "path/not-regular");
    await refused(root, "folder-link", "path/not-regular");
    assertEquals(await fileInside(root, "inside"), `${root}/inside`);
    // The folder itself is the user's choice and may be a link.
    await Deno.symlink(root, `${folder}/link`);
    assertEquals(await fileInside(`${folder}/link`, "real"), `${folder}/link/real`);
  });
});

Deno.test("fileInside: a pipe is refused without opening it", async () => {
  if ((await Deno.permissions.query({ name: "run", command: "mkfifo" })).state !== "granted") {
    console.log("skipped, needs --allow-run=mkfifo");
    return;
  }
  await withFolder(async (folder) => {
    const { success } = await new Deno.Command("mkfifo", { args: [`${folder}/pipe`] }).output();
    assert(success);
    await refused(folder, "pipe", "path/not-regular");
    const error = await assertRejects(() => openSafetensors(`${folder}/pipe`), SecurityError);
    assertEquals(error.code, "path/not-regular");
  });
});

Deno.test("fileInside: snapshots of the Hugging Face cache link into the blobs of their own repository only", async () => {
  if (!await canLink()) return;
  await withFolder(async (folder) => {
    for (const repository of ["models--org--name", "models--org--other"]) {
      await Deno.mkdir(`${folder}/${repository}/blobs`, { recursive: true });
      await Deno.mkdir(`${folder}/${repository}/snapshots/abc`, { recursive: true });
      await Deno.writeTextFile(`${folder}/${repository}/blobs/123`, "{}");
    }
    const root = `${folder}/models--org--name/snapshots/abc`;
    await Deno.symlink("../../blobs/123", `${root}/config.json`);
    await Deno.symlink("../../../models--org--other/blobs/123", `${root}/other.json`);
    assertEquals(await fileInside(root, "config.json"), `${root}/config.json`);
    await refused(root, "other.json", "path/escape");
    // The same shape under another name is no cache.
    await Deno.rename(`${folder}/models--org--name`, `${folder}/plain`);
    await refused(`${folder}/plain/snapshots/abc`, "config.json", "path/escape");
  });
});
