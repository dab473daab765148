// One file of the Hub, fetched into a blob of the cache. What arrives goes to `<blob>.incomplete`, so that an
// interrupted download goes on where it stopped; the file gets its name only when size and hash are right.
import { createHash, type Hash } from "node:crypto";
import { FormatError, GraftError } from "../core/errors.ts";
import { ioError, statOrUndefined } from "./files.ts";
import type { HubFile } from "./hub_files.ts";

/** Where a file comes from: its bytes from `start` on. */
export type Source = (start: number) => Promise<ReadableStream<Uint8Array>>;

/** Options of {@linkcode fetchBlob}. */
export interface FetchBlobOptions {
  readonly source: Source;
  /** Told how many bytes are there. */
  readonly progress: (bytes: number) => void;
  readonly signal: AbortSignal;
}

/** Tries for one file: connections break. */
const TRIES = 4;

/**
 * Fetch `file` into `blob`, unless it is there.
 *
 * @throws {FormatError} `hub/checksum` if what arrived is not what the Hub announced.
 * @throws whatever the source throws when all tries failed.
 */
export async function fetchBlob(blob: string, file: HubFile, options: FetchBlobOptions): Promise<void> {
  const { progress, signal } = options;
  if ((await statOrUndefined(blob))?.size === file.size) return progress(file.size);
  for (let tries = 1;; tries++) {
    try {
      await append(`${blob}.incomplete`, file, options);
      break;
    } catch (error) {
      signal.throwIfAborted();
      if (tries === TRIES || error instanceof GraftError || error instanceof Deno.errors.NotCapable) throw error;
    }
  }
  await verify(`${blob}.incomplete`, file);
  await Deno.rename(`${blob}.incomplete`, blob);
}

async function append(path: string, file: HubFile, { source, progress, signal }: FetchBlobOptions): Promise<void> {
  const handle = await open(path);
  try {
    let { size } = await handle.stat();
    if (size > file.size) { // of another version
      await handle.truncate();
      size = 0;
    }
    progress(size);
    if (size === file.size) return;
    await handle.seek(0, Deno.SeekMode.End);
    for await (const chunk of await source(size)) {
      signal.throwIfAborted();
      if (size + chunk.length > file.size) throw new RangeError("more bytes arrived than were announced");
      await write(handle, chunk, path);
      size += chunk.length;
      progress(size);
    }
    if (size < file.size) throw new RangeError(`the connection ended after ${size} of ${file.size} bytes`);
    await handle.sync();
  } finally {
    handle.close();
  }
}

async function open(path: string): Promise<Deno.FsFile> {
  try {
    return await Deno.open(path, { read: true, write: true, create: true });
  } catch (error) {
    throw ioError(error, "write a downloaded file", path);
  }
}

async function write(handle: Deno.FsFile, chunk: Uint8Array, path: string): Promise<void> {
  try {
    for (let done = 0; done < chunk.length;) done += await handle.write(chunk.subarray(done));
  } catch (error) {
    throw ioError(error, "write a downloaded file", path);
  }
}

async function verify(path: string, { path: name, size, hash, algorithm }: HubFile): Promise<void> {
  const digest = hasher(algorithm, size);
  for await (const chunk of (await Deno.open(path)).readable) digest.update(chunk);
  const received = digest.digest("hex");
  if (received === hash) return;
  await Deno.remove(path);
  throw new FormatError("hub/checksum", `Cannot use ${name} as its hash must be ${hash}: received ${received}`, {
    hint: "What was downloaded is deleted. Try again; a proxy or a mirror may have changed the file.",
  });
}

function hasher(algorithm: HubFile["algorithm"], size: number): Hash {
  return algorithm === "sha256" ? createHash("sha256") : createHash("sha1").update(`blob ${size}\0`);
}
