// Which files of a repository Graft fetches: what it can read, once, and nothing that could run code.
import { ModelError, printable } from "../core/errors.ts";

/** A file of a repository. */
export interface HubFile {
  readonly path: string;
  readonly size: number;
  /** SHA-256 of a large file; Git's SHA-1 of any other. */
  readonly hash: string;
  readonly algorithm: "sha256" | "git-sha1";
}

const TEXTS = new Set([
  ...["config.json", "generation_config.json", "adapter_config.json", "LICENSE", "LICENSE.txt", "LICENSE.md"],
  ...["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json"],
  ...["merges.txt", "vocab.txt", "chat_template.jinja"],
]);
const INDEX = "model.safetensors.index.json";
const SHARD = /^model-\d+-of-\d+\.safetensors$/;
const PICKLE = /\.(?:bin|pt|pth|ckpt|pkl|pickle|msgpack|h5|ot)$/;

/**
 * The files to fetch, small ones first.
 *
 * @throws {ModelError} `model/pickle` for repositories that only have pickled weights, `model/no-weights` for others
 * without weights.
 */
export function wantedFiles(name: string, files: readonly HubFile[]): HubFile[] {
  const paths = new Set(files.map(({ path }) => path));
  const weights = (path: string) =>
    path === "adapter_model.safetensors" ||
    (paths.has("model.safetensors") ? path === "model.safetensors" : path === INDEX || SHARD.test(path));
  const wanted = files.filter(({ path }) => TEXTS.has(path) || weights(path));
  if (!wanted.some(({ path }) => weights(path))) throw noWeights(name, files);
  return wanted.sort((a, b) => a.size - b.size || (a.path < b.path ? -1 : 1));
}

function noWeights(name: string, files: readonly HubFile[]): ModelError {
  const pickles = files.filter(({ path }) => PICKLE.test(path)).map(({ path }) => printable(path));
  if (pickles.length === 0) {
    return new ModelError("model/no-weights", `Cannot download ${name} as it has no model.safetensors`);
  }
  return new ModelError(
    "model/pickle",
    `Cannot download ${name} as its weights are not safetensors: received ${pickles.slice(0, 5).join(", ")}`,
    {
      hint: "Such files can run code when they are opened. Convert the model at " +
        "https://huggingface.co/spaces/safetensors/convert, then download the revision that it names (@refs/pr/N).",
    },
  );
}
