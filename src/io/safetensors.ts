// Reading safetensors files: from memory, or lazily from disk so that large files need not fit in memory.
import { FormatError, ModelError, printable, SecurityError } from "../core/errors.ts";
import { ioError, withIoErrors } from "./files.ts";
import { headerLength, parseHeader, type SafetensorsHeader, type TensorInfo } from "./safetensors_header.ts";
import { asBytes } from "./tensor_dtype.ts";

export type { TensorInfo } from "./safetensors_header.ts";

/** An open safetensors file. */
export interface SafetensorsFile {
  /** The strings under `__metadata__`. */
  readonly metadata: ReadonlyMap<string, string>;
  /** Tensors in the order of their data. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /**
   * Bytes of a tensor, little-endian and row-major. Of a file in memory they are a view.
   *
   * @throws {ModelError} `model/missing-tensor` where there is no such tensor.
   * @throws {FormatError} `st/size` where the file became shorter since it was opened.
   */
  read(name: string): Promise<Uint8Array<ArrayBuffer>>;
  /** Close the file; reading is over. Closing twice is fine. */
  close(): void;
}

/** Options of {@linkcode parseSafetensors}. */
export interface ParseSafetensorsOptions {
  /** The file, for messages. */
  readonly path?: string;
}

/**
 * A safetensors file in memory.
 *
 * @throws {FormatError} `st/…`, one code for each rule of the format.
 */
export function parseSafetensors(
  bytes: Uint8Array,
  { path }: ParseSafetensorsOptions = {},
): SafetensorsFile {
  const options = { fileBytes: bytes.length, ...(path === undefined ? {} : { path }) };
  const header = parseHeader(bytes.subarray(8, 8 + headerLength(bytes.subarray(0, 8), options)), options);
  return {
    metadata: header.metadata,
    tensors: header.tensors,
    read(name) {
      const { begin, end } = find(header, name, path);
      return Promise.resolve(asBytes(bytes.subarray(header.dataStart + begin, header.dataStart + end)));
    },
    close() {},
  };
}

/**
 * Open a safetensors file. The header is read and checked against the size of the file; tensors are read on demand.
 *
 * @throws {FormatError} `st/…`, one code for each rule of the format.
 * @throws {SecurityError} `path/not-regular` for folders, pipes and devices.
 * @throws {IoError}
 */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  // Opening a pipe waits for a writer, so this is asked first.
  const { isFile } = await withIoErrors("open this file", path, () => Deno.stat(path));
  if (!isFile) {
    throw new SecurityError("path/not-regular", "Cannot read this path as it is not a regular file", { path });
  }
  const file = await withIoErrors("open this file", path, () => Deno.open(path));
  try {
    // Not file.stat(): Deno resolves links there and asks for permission to where they point.
    const fileBytes = await withIoErrors("read this file", path, () => file.seek(0, Deno.SeekMode.End));
    const options = { fileBytes, path };
    const length = headerLength(await readExactly(file, 0, Math.min(8, fileBytes), path), options);
    const header = parseHeader(await readExactly(file, 8, length, path), options);
    return lazyFile(file, header, path);
  } catch (error) {
    file.close();
    throw error;
  }
}

function lazyFile(file: Deno.FsFile, header: SafetensorsHeader, path: string): SafetensorsFile {
  let open = true;
  // The position belongs to the file, so reads wait for each other.
  let last: Promise<unknown> = Promise.resolve();
  return {
    metadata: header.metadata,
    tensors: header.tensors,
    async read(name) {
      const { begin, end } = find(header, name, path);
      const bytes = last.then(() => readExactly(file, header.dataStart + begin, end - begin, path));
      last = bytes.catch(() => {});
      return await bytes;
    },
    close() {
      if (open) file.close();
      open = false;
    },
  };
}

async function readExactly(
  file: Deno.FsFile,
  from: number,
  count: number,
  path: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(count);
  try {
    await file.seek(from, Deno.SeekMode.Start);
    for (let done = 0; done < count;) {
      const got = await file.read(bytes.subarray(done));
      if (got === null) {
        const message =
          `Cannot read safetensors as the file became shorter: ${count} bytes expected at ${from}, received ${done}`;
        throw new FormatError("st/size", message, { path });
      }
      done += got;
    }
  } catch (error) {
    throw ioError(error, "read this file", path);
  }
  return bytes;
}

function find({ tensors }: SafetensorsHeader, name: string, path: string | undefined): TensorInfo {
  const info = tensors.get(name);
  if (info !== undefined) return info;
  throw new ModelError(
    "model/missing-tensor",
    `Cannot read tensor "${printable(name)}" as the file has none of that name`,
    {
      ...(path === undefined ? {} : { path }),
    },
  );
}
