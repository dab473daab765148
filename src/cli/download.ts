// `download`: a model from the Hugging Face Hub into the cache that Python uses too. The only command that may use the
// network.
import { hubCache, hubToken } from "../core/env.ts";
import { printable } from "../core/errors.ts";
import { parseHubName } from "../io/hub_cache.ts";
import type { DownloadProgress } from "../io/hub_download.ts";
import { readText } from "../io/files.ts";
import { refuse } from "./arguments.ts";
import { defineCommand, type Entry } from "./command.ts";
import { bytes, percent, plural } from "./format.ts";
import { pathProblems, requireWritable } from "./paths.ts";
import { path, text } from "./settings.ts";
import type { Terminal } from "./terminal.ts";

const schema = {
  cache: path("folder of the cache (huggingface_hub's: HF_HUB_CACHE, HF_HOME or ~/.cache/huggingface/hub)", {
    placeholder: "DIR",
  }),
  tokenFile: path("file with a token for gated and private models (HF_TOKEN)"),
  endpoint: text("address of the Hub or of a mirror", { default: "https://huggingface.co", placeholder: "URL" }),
};

/** The command. */
export const download: Entry = defineCommand({
  name: "download",
  summary: "Fetches a model from the Hugging Face Hub into the cache shared with Python.",
  schema,
  operands: {
    name: "ORG/NAME[@REVISION]",
    help: "a model of the Hub, such as HuggingFaceTB/SmolLM2-135M",
    min: 1,
    max: 1,
  },
  examples: [
    "deno task download HuggingFaceTB/SmolLM2-135M",
    "deno task download org/private@v1.0 --token-file token.txt",
  ],
  async run({ cache = hubCache(), tokenFile, endpoint }, { operands, terminal, signal }) {
    const asked = operands[0]!, hub = parseHubName(asked);
    refuse("usage/download", [
      ...(hub ? [] : [`ORG/NAME[@REVISION] must name a model of the Hub: received "${printable(asked)}"`]),
      ...(cache === undefined ? ["--cache must be given: no home folder is known"] : []),
      ...(/^https?:\/\/[^/\s]+$/.test(endpoint)
        ? []
        : [`--endpoint must be an address such as https://huggingface.co`]),
      ...await pathProblems("--token-file", tokenFile, "file"),
    ]);
    const token = tokenFile === undefined ? hubToken() : (await readText(tokenFile)).trim();
    refuse("usage/download", token?.startsWith("hf_") === false ? ["the token must begin with hf_"] : []);
    requireWritable(cache!);
    const progress = progressLine(terminal);
    // Loaded only here: no other command needs the client of the Hub.
    const { downloadModel } = await import("../io/hub_download.ts");
    const done = await downloadModel({ ...hub!, cache: cache!, endpoint, token, progress, signal });
    terminal.say(
      `${printable(hub!.name)}: ${plural(done.files.length, "file")}, ${bytes(done.bytes)}, commit ${
        done.commit.slice(0, 8)
      }`,
    );
    terminal.say(`in ${printable(done.folder)}`);
    terminal.say(`Next: deno task finetune --model ${asked} --data …`);
    terminal.result({ model: hub!.name, revision: hub!.revision, ...done });
    return 0;
  },
});

/** Where nothing can be redrawn: a line every tenth of the way. */
const LINES = 10;

function progressLine(terminal: Terminal): (progress: DownloadProgress) => void {
  let shown = -1;
  return ({ file, done, total }) => {
    const line = `${bytes(done)} of ${bytes(total)} (${percent(done / Math.max(1, total))}) · ${file}`;
    if (terminal.redraws) return terminal.redraw(line);
    const part = Math.floor(LINES * done / Math.max(1, total));
    if (part > shown) terminal.note(line);
    shown = Math.max(shown, part);
  };
}
