// Reading whole files, strictly: text is UTF-8 or refused, JSON goes through the strict reader, and what the file
// system says becomes an IoError with a code such as "io/enospc".
import { FormatError, GraftError, IoError } from "../core/errors.ts";
import { type Json, parseJson } from "./strict_json.ts";
import { decodeUtf8 } from "./utf8.ts";

/** Longest text file that is read at once, in bytes; V8's strings end at about 512 Mi characters. */
const MAX_TEXT_BYTES = 256 * 2 ** 20;

const HINTS: Readonly<Record<string, string>> = {
  enospc: "The disk is full: free some space, or write to another disk.",
  edquot: "The quota of this user is used up: free some space, or write to another disk.",
  erofs: "This file system is read-only: choose another folder.",
  eacces: "This user may not do that here: change the permissions, or choose another folder.",
  enoent: "Check the spelling of the path.",
};

/**
 * `cause` as an {@linkcode IoError} that names the action and the path; errors of Graft, and those that do not come
 * from the file system, are returned as they are.
 */
export function ioError(cause: unknown, action: string, path: string): unknown {
  if (!(cause instanceof Error) || cause instanceof GraftError) return cause;
  if (cause instanceof Deno.errors.NotCapable) {
    const flag = cause.message.match(/--allow-\w+/)?.[0] ?? "--allow-read";
    const hint = `Run Deno with ${flag}=${path} (a link needs it for where it points to as well).`;
    return new IoError("io/permission", `Cannot ${action} as Deno has no permission`, { path, hint, cause });
  }
  const code = (cause as { code?: unknown }).code;
  const known = typeof code === "string" ? code : cause.name in Deno.errors ? cause.name : undefined;
  if (known === undefined) return cause;
  const hint = HINTS[known.toLowerCase()];
  return new IoError(`io/${known.toLowerCase()}`, `Cannot ${action}: ${cause.message}`, {
    path,
    cause,
    ...(hint === undefined ? {} : { hint }),
  });
}

/** The result of `act`, with errors of the file system as {@linkcode ioError} makes them. */
export async function withIoErrors<T>(action: string, path: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    throw ioError(error, action, path);
  }
}

/** What is at `path`, links followed, or `undefined` where nothing is. */
export async function statOrUndefined(path: string): Promise<Deno.FileInfo | undefined> {
  try {
    return await Deno.stat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return undefined;
    throw ioError(error, "look at this path", path);
  }
}

/**
 * Text of a file; a byte order mark is dropped.
 *
 * @throws {FormatError} `text/utf8` with the byte offset, `text/too-large` above 256 MiB.
 * @throws {IoError}
 */
export async function readText(path: string): Promise<string> {
  return await withIoErrors("read this file", path, async () => {
    const { size } = await Deno.stat(path);
    if (size > MAX_TEXT_BYTES) {
      const message = `Cannot read text as the file may have ${MAX_TEXT_BYTES} bytes: received ${size}`;
      throw new FormatError("text/too-large", message, { path });
    }
    return decodeUtf8(await Deno.readFile(path), { path });
  });
}

/**
 * Value of a JSON file, read strictly.
 *
 * @throws {FormatError} as {@linkcode readText}, `json/syntax` and `json/duplicate-key`.
 * @throws {IoError}
 */
export async function readJson(path: string): Promise<Json> {
  return parseJson(await readText(path), { path });
}

/** Options of {@linkcode encodeJson}. */
export interface EncodeJsonOptions {
  /** Spaces for each level; 0 writes one line. */
  readonly indent?: number;
}

/**
 * JSON text with sorted keys and a line break at the end, as Python's `json.dumps(indent=2, sort_keys=True)` plus "\n".
 * Keys whose value is `undefined` are left out.
 *
 * @throws {FormatError} `json/not-finite` for NaN and infinities, which JSON.stringify would write as null.
 */
export function encodeJson(value: unknown, { indent = 2 }: EncodeJsonOptions = {}): string {
  return JSON.stringify(sorted(value, "$"), null, indent) + "\n";
}

function sorted(value: unknown, place: string): unknown {
  if (typeof value === "number" && !Number.isFinite(value)) {
    throw new FormatError("json/not-finite", `Cannot write ${place} as JSON: received ${value}`);
  }
  if (Array.isArray(value)) return value.map((v, i) => sorted(v, `${place}[${i}]`));
  if (typeof value !== "object" || value === null) return value;
  const out: Record<string, unknown> = Object.create(null);
  for (const key of Object.keys(value).sort()) {
    out[key] = sorted((value as Record<string, unknown>)[key], `${place}.${key}`);
  }
  return out;
}
