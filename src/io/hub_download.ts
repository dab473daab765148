/**
 * From the Hugging Face Hub into the shared cache: the commit of a revision, its files, their contents, then the links.
 *
 * @module
 */
import { downloadFile, HubApiError, listFiles, modelInfo } from "@huggingface/hub";
import { FormatError, GraftError, IoError, ModelError, printable } from "../core/errors.ts";
import { withIoErrors } from "./files.ts";
import { fetchBlob } from "./hub_blob.ts";
import { type HubFile, wantedFiles } from "./hub_files.ts";
import { type HubName, isCommit, repositoryFolder } from "./hub_cache.ts";

export type { HubName };

/** How far a download is. */
export interface DownloadProgress {
  readonly file: string;
  /** Bytes of all files that are there, and of all files. */
  readonly done: number;
  readonly total: number;
}

/** Options of {@linkcode downloadModel}. */
export interface DownloadOptions extends HubName {
  /** Folder of the cache. */
  readonly cache: string;
  /** `"https://huggingface.co"` by default; a mirror or a test server otherwise. */
  readonly endpoint?: string;
  /** For gated and private models; begins with `hf_`. */
  readonly token?: string | undefined;
  readonly progress?: (progress: DownloadProgress) => void;
  readonly signal?: AbortSignal;
}

/** What was downloaded. */
export interface Download {
  /** The folder with the files. */
  readonly folder: string;
  readonly commit: string;
  readonly files: readonly string[];
  readonly bytes: number;
}

/**
 * Download the safetensors, configuration and tokenizer files of a model. What is in the cache is not fetched again;
 * an interrupted download goes on where it stopped.
 *
 * @throws {ModelError} `hub/not-found`, `hub/access`, `model/pickle`, `model/no-weights`.
 * @throws {IoError} `hub/network` when the Hub cannot be reached, and errors of the file system.
 * @throws {FormatError} `hub/answer`, `hub/checksum` when what arrives is not what it should be.
 *
 * @example Usage
 * ```ts no-eval
 * import { loadModel, openDevice } from "@graft/graft";
 * import { downloadModel } from "@graft/graft/hub";
 *
 * const { folder } = await downloadModel({ name: "HuggingFaceTB/SmolLM2-135M", revision: "main", cache: "models" });
 * const model = await loadModel(await openDevice(), folder);
 * console.log(model.parameters.total);
 * ```
 */
export async function downloadModel(options: DownloadOptions): Promise<Download> {
  const { name, revision, cache, endpoint = "https://huggingface.co", token, progress = () => {} } = options;
  const signal = options.signal ?? new AbortController().signal;
  const get: typeof fetch = (input, init) => fetch(input, { ...init, signal });
  const hub = { hubUrl: endpoint, fetch: get, ...(token === undefined ? {} : { accessToken: token }) };
  try {
    const { sha: commit } = await modelInfo({ ...hub, name, revision, additionalFields: ["sha"] });
    if (!isCommit(commit)) throw badAnswer(name, `its commit is ${JSON.stringify(commit)}`);
    const files = wantedFiles(name, await filesOf({ ...hub, repo: name, revision: commit }));
    const root = repositoryFolder(cache, { name });
    const folder = `${root}/snapshots/${commit}`;
    await makeFolders([`${root}/blobs`, folder]);
    const total = files.reduce((sum, { size }) => sum + size, 0);
    let before = 0;
    for (const file of files) {
      await fetchBlob(`${root}/blobs/${file.hash}`, file, {
        source: async (start) => {
          // Xet's own protocol saves traffic of repeated blocks; plain ranges are enough here, and can be resumed.
          const blob = await downloadFile({ ...hub, repo: name, path: file.path, revision: commit, xet: false });
          if (blob?.size !== file.size) throw badAnswer(name, `${file.path} has ${blob?.size ?? "no"} bytes`);
          return blob.slice(start).stream();
        },
        progress: (bytes) => progress({ file: file.path, done: before + bytes, total }),
        signal,
      });
      await link(`${folder}/${file.path}`, file.hash);
      before += file.size;
    }
    // Last: a name that stands for a snapshot stands for a whole one.
    if (!isCommit(revision)) await writeRef(`${root}/refs/${revision}`, commit);
    return { folder, commit, files: files.map(({ path }) => path), bytes: total };
  } catch (error) {
    throw hubError(error, { name, revision, endpoint });
  }
}

type ListOptions = Parameters<typeof listFiles>[0];

async function filesOf(options: ListOptions): Promise<HubFile[]> {
  const files: HubFile[] = [];
  for await (const { type, path, size, oid, lfs } of listFiles(options)) {
    if (type !== "file" || path.includes("/")) continue;
    const hash = lfs?.oid ?? oid ?? "";
    const algorithm = lfs ? "sha256" : "git-sha1";
    const valid = (lfs ? /^[0-9a-f]{64}$/ : /^[0-9a-f]{40}$/).test(hash) && Number.isSafeInteger(size) && size >= 0;
    if (!valid) throw badAnswer(String(options.repo), `the hash of ${printable(path)} is "${printable(hash)}"`);
    files.push({ path, size, hash, algorithm });
  }
  return files;
}

function badAnswer(name: string, what: string): FormatError {
  return new FormatError("hub/answer", `Cannot download ${name}: the Hub says that ${what}`);
}

async function makeFolders(paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    await withIoErrors("make a folder of the cache", path, () => Deno.mkdir(path, { recursive: true }));
  }
}

async function link(path: string, hash: string): Promise<void> {
  await withIoErrors("link a downloaded file", path, async () => {
    const known = await Deno.readLink(path).catch(() => undefined);
    if (known === `../../blobs/${hash}`) return;
    await Deno.remove(path).catch(() => undefined);
    await Deno.symlink(`../../blobs/${hash}`, path);
  });
}

async function writeRef(path: string, commit: string): Promise<void> {
  await makeFolders([path.slice(0, path.lastIndexOf("/"))]);
  await withIoErrors("write a name of the cache", path, () => Deno.writeTextFile(path, commit));
}

type Asked = Required<Pick<DownloadOptions, "name" | "revision" | "endpoint">>;

function hubError(cause: unknown, { name, revision, endpoint }: Asked): unknown {
  if (cause instanceof GraftError || cause instanceof Deno.errors.NotCapable) return cause;
  if (cause instanceof DOMException && cause.name === "AbortError") return cause;
  const status = cause instanceof HubApiError ? cause.statusCode : undefined;
  if (status === 401 || status === 403) {
    return new ModelError("hub/access", `Cannot download ${name} as the Hub refuses access (${status})`, {
      cause,
      hint: `Check the spelling. If the model is gated, accept its licence at ${endpoint}/${name} and give your ` +
        "token: HF_TOKEN, or --token-file.",
    });
  }
  if (status === 404) {
    return new ModelError("hub/not-found", `Cannot download ${name} as the Hub has no such model at ${revision}`, {
      cause,
      hint: `Look for it at ${endpoint}/models.`,
    });
  }
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new IoError("hub/network", `Cannot download ${name} from ${endpoint}: ${printable(reason)}`, {
    cause,
    hint: "Check the network, then repeat the command: it goes on where it stopped.",
  });
}
