// Paths that users give, and those of the bundled model and data.
import { IoError, printable } from "../core/errors.ts";
import { statOrUndefined } from "../io/files.ts";
import { parseHubName } from "../io/hub_cache.ts";

/** What the project ships, relative to its root. */
const ASSETS = "examples/assets";

/** Folder of the bundled base model, and of the bundled data sets. */
export interface Bundled {
  readonly model: string;
  readonly data: string;
  /** Text of the domain that the base model knows. */
  readonly old: string;
  /** Openings for samples, one a line. */
  readonly prompts: string;
}

/** The bundled files; undefined where the code was not loaded from a folder (such as from JSR). */
export function bundled(): Bundled | undefined {
  const root = import.meta.dirname;
  if (root === undefined) return undefined;
  const assets = shorten(`${root.replace(/[\\/]src[\\/]cli$/, "")}/${ASSETS}`);
  return {
    model: `${assets}/base`,
    data: `${assets}/sotu`,
    old: `${assets}/old/valid.jsonl`,
    prompts: `${assets}/prompts.txt`,
  };
}

/** A path below the working folder relative to it; others as they are. Without the permission, as it is. */
export function shorten(path: string): string {
  try {
    const here = `${Deno.cwd()}/`;
    return path.startsWith(here) ? path.slice(here.length) : path;
  } catch {
    return path;
  }
}

/** What is wrong with a path that must exist; empty where nothing is. */
export async function pathProblems(
  name: string,
  path: string | undefined,
  kind: "file" | "folder" | "any",
): Promise<string[]> {
  if (path === undefined) return [];
  const info = await statOrUndefined(path);
  const shown = printable(path);
  if (info === undefined) {
    const hub = kind === "folder" && parseHubName(path)
      ? ` (a model of the Hub must be downloaded first: deno task download ${path})`
      : "";
    return [`${name}: there is no "${shown}"${hub}`];
  }
  if (kind === "folder" && !info.isDirectory) return [`${name}: "${shown}" is no folder`];
  return kind === "file" && !info.isFile ? [`${name}: "${shown}" is no file`] : [];
}

/**
 * Make sure that Deno may write to `path`, before hours of work end in a refusal.
 *
 * @throws {IoError} `io/permission` naming the flag.
 */
export function requireWritable(path: string): void {
  if (Deno.permissions.querySync({ name: "write", path }).state === "granted") return;
  throw new IoError("io/permission", "Cannot write to this folder as Deno has no permission", {
    path,
    hint: `Run Deno with --allow-write=${printable(path)}.`,
  });
}
