// The file in which `deno task tune` keeps its choices: ~/.cache/graft/tuning.json (XDG_CACHE_HOME), for this user only.
//
//   {"format": "graft-tuning", "version": 1, "devices": {KEY: {KERNEL: CANDIDATE, …}, …}}
//
// KEY names adapter and driver. WebGPU hides the driver's version, so what Deno tells of the adapter (Mesa's description
// has its LLVM) stands beside Deno's own version, whose shader compiler changes the kernels too.
import { userCache } from "../core/env.ts";
import { GraftError, printable } from "../core/errors.ts";
import type { Tuning } from "../graph/target.ts";
import { writeFile } from "../io/atomic_write.ts";
import { encodeJson, readJson, statOrUndefined, withIoErrors } from "../io/files.ts";
import { isJsonObject, type Json } from "../io/strict_json.ts";

const FORMAT = "graft-tuning", VERSION = 1;

/** Longest file that is read: a choice takes 40 bytes. */
const MAX_BYTES = 2 ** 20;

/** Choices by device. */
type Devices = Readonly<Record<string, Tuning>>;

/** Where the choices are kept; undefined without a home folder. */
export function tuningPath(): string | undefined {
  const caches = userCache();
  return caches === undefined ? undefined : `${caches}/graft/tuning.json`;
}

/** What choices are kept under. */
export function tuningKey({ vendor, architecture, device, description }: Omit<GPUAdapterInfo, "__brand">): string {
  return [vendor, architecture, device, description, `deno ${Deno.version.deno}`].filter((x) => x !== "").join(" | ");
}

/** Options of {@linkcode readTuning}. */
export interface ReadOptions {
  readonly path?: string | undefined;
  /** Called when a file is there that cannot be used. */
  readonly warn?: (text: string) => void;
}

/** The choices for `key`; undefined without any. A file that cannot be used is left alone and named in a warning. */
export async function readTuning(
  key: string,
  { path = tuningPath(), warn = (text) => console.error(text) }: ReadOptions = {},
): Promise<Tuning | undefined> {
  if (path === undefined || Deno.permissions.querySync({ name: "read", path }).state !== "granted") return undefined;
  const found = await devicesIn(path);
  if (typeof found !== "string") return found[key];
  warn(`warning: ${printable(path)} is not used: ${found} (deno task tune writes it anew)`);
  return undefined;
}

/**
 * Keep the choices for `key` beside those of other devices; a file that cannot be used is replaced.
 *
 * @throws {IoError}
 */
export async function writeTuning(key: string, choices: Tuning, path: string): Promise<void> {
  const found = await devicesIn(path);
  const devices = { ...(typeof found === "string" ? {} : found), [key]: choices };
  const folder = path.slice(0, path.lastIndexOf("/"));
  await withIoErrors("make this folder", folder, () => Deno.mkdir(folder, { recursive: true, mode: 0o700 }));
  await writeFile(path, encodeJson({ format: FORMAT, version: VERSION, devices }));
  if (Deno.build.os !== "windows") await withIoErrors("protect this file", path, () => Deno.chmod(path, 0o600));
}

/** What the file holds, or why it cannot be used. */
async function devicesIn(path: string): Promise<Devices | string> {
  try {
    const stat = await statOrUndefined(path);
    if (stat === undefined) return {};
    if (!stat.isFile) return "it is no file";
    if (stat.size > MAX_BYTES) return `it has ${stat.size} bytes`;
    return devicesOf(await readJson(path));
  } catch (error) {
    if (error instanceof GraftError) return printable(error.message);
    throw error;
  }
}

function devicesOf(json: Json): Devices | string {
  if (!isJsonObject(json) || json.format !== FORMAT) return `it is no "${FORMAT}" file`;
  if (json.version !== VERSION) return `version ${printable(String(json.version))} is not known`;
  const { devices } = json;
  const good = isJsonObject(devices) && Object.values(devices).every(isTuning);
  return good ? devices as Devices : '"devices" must map devices to choices';
}

function isTuning(value: Json): value is Record<string, string> {
  return isJsonObject(value) && Object.values(value).every((name) => typeof name === "string");
}
