// Settings files: YAML 1.2 (JSON is a part of it), read and written through Deno's standard library.
// @ts-types="./yaml_parse.d.ts"
import { parse } from "@std/yaml/parse";
// @ts-types="./yaml_stringify.d.ts"
import { stringify } from "@std/yaml/stringify";
import { printable, UsageError } from "../core/errors.ts";
import { readText, statOrUndefined } from "../io/files.ts";
import { keyName, type Schema } from "./settings.ts";

/**
 * The content of a settings file.
 *
 * @throws {UsageError} `usage/config` if there is none, or it is no YAML.
 */
export async function readSettingsFile(path: string): Promise<unknown> {
  if (!(await statOrUndefined(path))?.isFile) {
    throw new UsageError("usage/config", "Cannot read settings as there is no such file", { path });
  }
  const text = await readText(path);
  try {
    return parse(text, { schema: "core" });
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    const [message = ""] = cause.message.split("\n");
    throw new UsageError("usage/config", `Cannot read settings as this is no YAML: ${printable(message)}`, {
      path,
      cause,
    });
  }
}

/** The text of a settings file with these settings; those that belong to one call only are left out. */
export function settingsText(schema: Schema, settings: Readonly<Record<string, unknown>>, heading: string): string {
  const kept = Object.entries(settings).filter(([name, value]) => value !== undefined && !schema[name]?.transient);
  const lines = Object.fromEntries(kept.map(([name, value]) => [keyName(name), value]));
  return `# ${heading}\n${stringify(lines, { schema: "core", lineWidth: -1 })}`;
}
