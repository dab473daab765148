// Writing that a crash cannot tear: every file gets a sibling temporary name that must be new, is written in a loop
// (writes may be short), fsynced, renamed over the final name, and the folder is fsynced last. A rename replaces a
// link instead of following it, so nothing is written through a link that somebody planted. The caller holds the lock
// of the folder: two writers of one folder at once are not supported.
import { UsageError } from "../core/errors.ts";
import { ioError } from "./files.ts";

/** The operations that writing needs; tests pass one that fails at the N-th call. */
export type FileSystem = Pick<typeof Deno, "lstat" | "mkdir" | "open" | "readDir" | "readFile" | "remove" | "rename">;

/** Where streamed content goes. */
export interface Sink {
  /** Append bytes. */
  write(bytes: Uint8Array): Promise<void>;
}

/** What a file shall hold: bytes, text, or a function that writes it piece by piece. */
export type FileContent = Uint8Array | string | ((sink: Sink) => Promise<void>);

/** Options of the writing functions. */
export interface WriteOptions {
  /** The file system; Deno's own unless a test says otherwise. */
  readonly fs?: FileSystem;
}

/** Options of {@linkcode writeFiles}. */
export interface WriteFilesOptions extends WriteOptions {
  /**
   * The file without which the others mean nothing, such as `"config.json"`. It is renamed last; an older one that
   * differs is removed before the others change, so that old and new are never taken for one.
   */
  readonly last?: string;
}

/** Options of {@linkcode writeFolder}. */
export interface WriteFolderOptions extends WriteOptions {
  /** Replace a folder that is not empty; otherwise it is an error. */
  readonly replace?: boolean;
}

const TEMPORARY = /\.tmp-[0-9]+-[0-9a-f]{8}$/;

function temporary(path: string): string {
  return `${path}.tmp-${Deno.pid}-${crypto.randomUUID().slice(0, 8)}`;
}

/**
 * Write one file: afterwards it holds all of the content, or what it held before.
 *
 * @throws {IoError} `io/enospc` and others, with the path.
 */
export async function writeFile(path: string, content: FileContent, { fs = Deno }: WriteOptions = {}): Promise<void> {
  const slash = path.lastIndexOf("/");
  const folder = slash < 0 ? "." : path.slice(0, slash) || "/";
  await writeFiles(folder, new Map([[path.slice(slash + 1), content]]), { fs });
}

/**
 * Write files of one folder, which is made where it is missing. No file of an older run changes before all new ones
 * are complete on disk. With `last`, leftovers of killed runs are removed.
 *
 * @throws {IoError} `io/enospc` and others, with the path; no temporary file stays.
 */
export async function writeFiles(
  folder: string,
  files: ReadonlyMap<string, FileContent>,
  { fs = Deno, last }: WriteFilesOptions = {},
): Promise<void> {
  const names = [...files.keys()].sort((a, b) => Number(a === last) - Number(b === last));
  const written: [temporary: string, path: string][] = [];
  let at = folder;
  try {
    await fs.mkdir(folder, { recursive: true });
    if (last !== undefined) await removeLeftovers(folder, { fs });
    for (const name of names) {
      at = `${folder}/${name}`;
      const path = temporary(at);
      written.push([path, at]);
      await writeNew(path, files.get(name)!, fs);
    }
    if (last !== undefined) await removeIfOther(`${folder}/${last}`, written.at(-1)![0], fs);
    for (const [from, to] of written) {
      at = to;
      await fs.rename(from, to);
    }
    at = folder;
    await syncFolder(folder, { fs });
  } catch (error) {
    for (const [path] of written) await fs.remove(path).catch(() => {});
    throw ioError(error, "write this file", at);
  }
}

/**
 * Make a folder whose files appear all at once. `fill` writes into a sibling folder with {@linkcode writeFile} or
 * {@linkcode writeFiles}; it is renamed when `fill` returns. Needs permission to write beside `path`.
 *
 * @throws {UsageError} `out/not-empty` where `path` has files already and `replace` is not set.
 * @throws {IoError}
 */
export async function writeFolder(
  path: string,
  fill: (folder: string) => Promise<void>,
  { fs = Deno, replace = false }: WriteFolderOptions = {},
): Promise<void> {
  const target = path.replace(/\/+$/, "");
  const slash = target.lastIndexOf("/");
  const parent = slash < 0 ? "." : target.slice(0, slash) || "/";
  if (!replace) await requireEmpty(target, { fs });
  const fresh = temporary(target);
  const old = temporary(target);
  try {
    await fs.mkdir(parent, { recursive: true });
    await fs.mkdir(fresh);
    await fill(fresh);
    await syncFolder(fresh, { fs });
    // A folder that is being deleted must not be visible half-deleted, so it moves away first.
    const aside = await moveAside(target, old, fs);
    try {
      await fs.rename(fresh, target);
    } catch (error) {
      if (aside) await fs.rename(old, target);
      throw error;
    }
    await syncFolder(parent, { fs });
    if (aside) await fs.remove(old, { recursive: true });
  } catch (error) {
    await fs.remove(fresh, { recursive: true }).catch(() => {});
    throw ioError(error, "write this folder", target);
  }
}

async function moveAside(from: string, to: string, fs: FileSystem): Promise<boolean> {
  try {
    await fs.rename(from, to);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/**
 * Refuse a folder that holds something other than leftovers of killed runs; a missing folder is fine.
 *
 * @throws {UsageError} `out/not-empty`.
 * @throws {IoError}
 */
export async function requireEmpty(folder: string, { fs = Deno }: WriteOptions = {}): Promise<void> {
  const found: string[] = [];
  try {
    for await (const { name } of fs.readDir(folder)) if (!TEMPORARY.test(name)) found.push(name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw ioError(error, "list this folder", folder);
  }
  if (found.length === 0) return;
  throw new UsageError(
    "out/not-empty",
    `Cannot write to this folder as it must be empty: received ${found.length} files`,
    {
      path: folder,
      hint: "Choose another folder, or remove this one.",
    },
  );
}

/**
 * Remove what killed runs left behind: entries of `folder` with a temporary name.
 *
 * @throws {IoError}
 */
export async function removeLeftovers(folder: string, { fs = Deno }: WriteOptions = {}): Promise<void> {
  try {
    for await (const { name } of fs.readDir(folder)) {
      if (TEMPORARY.test(name)) await fs.remove(`${folder}/${name}`, { recursive: true });
    }
  } catch (error) {
    throw ioError(error, "clear leftovers of this folder", folder);
  }
}

/**
 * Make renames in `folder` last through a loss of power.
 *
 * @throws {IoError}
 */
export async function syncFolder(folder: string, { fs = Deno }: WriteOptions = {}): Promise<void> {
  if (Deno.build.os === "windows") return; // folders cannot be opened there
  try {
    const handle = await fs.open(folder, { read: true });
    try {
      await handle.sync();
    } finally {
      handle.close();
    }
  } catch (error) {
    throw ioError(error, "sync this folder", folder);
  }
}

async function writeNew(path: string, content: FileContent, fs: FileSystem): Promise<void> {
  const file = await fs.open(path, { write: true, createNew: true });
  try {
    const write = async (bytes: Uint8Array): Promise<void> => {
      for (let done = 0; done < bytes.length;) done += await file.write(bytes.subarray(done));
    };
    if (typeof content === "function") await content({ write });
    else await write(typeof content === "string" ? new TextEncoder().encode(content) : content);
    await file.sync();
  } finally {
    file.close();
  }
}

async function removeIfOther(path: string, fresh: string, fs: FileSystem): Promise<void> {
  try {
    await fs.lstat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  const [before, after] = await Promise.all([fs.readFile(path).catch(() => undefined), fs.readFile(fresh)]);
  if (before?.length === after.length && before.every((byte, i) => byte === after[i])) return;
  await fs.remove(path);
}
