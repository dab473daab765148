// Names that come out of files of strangers (shards of an index, tokenizer files) may only mean a regular file in the
// folder itself. Deno's permissions compare paths as text and follow links, so links are resolved here. The one link
// that may leave: a snapshot of the Hugging Face cache points to the `blobs` folder of the same repository.
import { printable, SecurityError } from "../core/errors.ts";
import { ioError } from "./files.ts";

/**
 * Path of the regular file `name` directly inside the folder `root`, or `undefined` where there is none.
 *
 * @throws {SecurityError} `path/escape` for a name with a folder in it or a link that leaves the folder,
 * `path/not-regular` for folders, pipes and devices.
 * @throws {IoError}
 */
export async function fileInside(root: string, name: string): Promise<string | undefined> {
  if (!isPlainName(name)) {
    const hint = "The folder was not made by a trustworthy tool; do not use it.";
    throw new SecurityError("path/escape", `Cannot use the file name "${quote(name)}" as it must be a plain name`, {
      path: root,
      hint,
    });
  }
  const path = `${root}/${name}`;
  try {
    await Deno.lstat(path);
    const [from, to] = await Promise.all([Deno.realPath(root), Deno.realPath(path)]);
    const folder = to.slice(0, Math.max(to.lastIndexOf("/"), to.lastIndexOf("\\")));
    if (folder !== from && folder !== blobsOf(from)) {
      throw new SecurityError(
        "path/escape",
        `Cannot use "${quote(name)}" as the link leaves its folder: received ${printable(to)}`,
        { path: root, hint: "Put the file itself in place of the link." },
      );
    }
    const { isFile } = await Deno.stat(path);
    if (isFile) return path;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return await dangling(path, name, root);
    if (error instanceof Deno.errors.FilesystemLoop || (error as { code?: unknown }).code === "ELOOP") {
      throw new SecurityError("path/escape", `Cannot use "${quote(name)}" as its links form a loop`, { path: root });
    }
    throw ioError(error, "look at this path", path);
  }
  throw new SecurityError("path/not-regular", `Cannot read "${quote(name)}" as it is not a regular file`, {
    path: root,
  });
}

// A link to nothing is an error of its own: an incomplete cache, or an attempt to probe for files.
async function dangling(path: string, name: string, root: string): Promise<undefined> {
  const info = await Deno.lstat(path).catch(() => undefined);
  if (info === undefined) return undefined;
  throw new SecurityError("path/escape", `Cannot use "${quote(name)}" as the link points to nothing`, { path: root });
}

function isPlainName(name: string): boolean {
  // deno-lint-ignore no-control-regex
  return name !== "" && name !== "." && name !== ".." && name.length <= 255 && !/[/\\:\u0000]/.test(name) &&
    name.isWellFormed();
}

/** `…/models--org--name/blobs` of a root `…/models--org--name/snapshots/<revision>`. */
function blobsOf(root: string): string | undefined {
  return root.match(/^(.*[/\\](?:models|datasets)--[^/\\]+)[/\\]snapshots[/\\][^/\\]+$/)?.[1]?.concat("/blobs");
}

function quote(name: string): string {
  return printable(name.length > 100 ? `${name.slice(0, 100)}…` : name);
}
