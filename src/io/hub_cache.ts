// The cache that Graft shares with Python's huggingface_hub:
//   models--org--name/refs/<revision>                     the commit that the name stood for when it was fetched
//   models--org--name/blobs/<hash>                        contents
//   models--org--name/snapshots/<commit>/<file>           links to them
import { hubCache } from "../core/env.ts";
import { statOrUndefined } from "./files.ts";

/** A repository of the Hub at a revision: a branch, a tag or a commit. */
export interface HubName {
  readonly name: string;
  readonly revision: string;
}

const NAME = /^([\w.-]{1,96}\/[\w.-]{1,96})(?:@([\w./-]{1,200}))?$/;

/** `"org/name"` or `"org/name@revision"`; undefined where the text is neither. */
export function parseHubName(text: string): HubName | undefined {
  const [, name, revision = "main"] = NAME.exec(text) ?? [];
  if (name === undefined || `/${name}/${revision}/`.match(/\/\.{1,2}\/|\/\/|--|\.git\//)) return undefined;
  return { name, revision };
}

/** Whether a revision is a commit, which never changes. */
export function isCommit(revision: string): boolean {
  return /^[0-9a-f]{40}$/.test(revision);
}

/** The folder of a repository in the cache. */
export function repositoryFolder(cache: string, { name }: Pick<HubName, "name">): string {
  return `${cache}/models--${name.replace("/", "--")}`;
}

/** The folder that holds the files of a model in the cache; undefined where it was not downloaded. */
export async function cachedSnapshot(cache: string, hub: HubName): Promise<string | undefined> {
  const folder = repositoryFolder(cache, hub);
  const commit = isCommit(hub.revision) ? hub.revision : await readRef(`${folder}/refs/${hub.revision}`);
  if (commit === undefined) return undefined;
  const snapshot = `${folder}/snapshots/${commit}`;
  return (await statOrUndefined(snapshot))?.isDirectory ? snapshot : undefined;
}

async function readRef(path: string): Promise<string | undefined> {
  if (!(await statOrUndefined(path))?.isFile) return undefined;
  const commit = (await Deno.readTextFile(path)).trim();
  return isCommit(commit) ? commit : undefined;
}

/** `"org/name"` of a folder inside a cache, and the path itself of any other folder. */
export function hubNameOf(path: string): string {
  const [, repository] = /[/\\]models--([^/\\]+)[/\\]snapshots[/\\][0-9a-f]{40}[/\\]?$/.exec(path) ?? [];
  return repository?.replace("--", "/") ?? path;
}

/** The folder of a model: `path` where there is something, else the snapshot in the cache that `path` names, else `path`. */
export async function resolveModelFolder(path: string): Promise<string> {
  const hub = parseHubName(path), cache = hubCache();
  if (!hub || cache === undefined || await statOrUndefined(path)) return path;
  return await cachedSnapshot(cache, hub) ?? path;
}
