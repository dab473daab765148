// A model folder: the family and sizes of config.json, and whether every weight and the tokenizer are there.
import { printable } from "../core/errors.ts";
import { loadTokenizer } from "../data/tokenizer.ts";
import { type ModelFolder, openModelFolder } from "../io/hf.ts";
import { openSafetensors } from "../io/safetensors.ts";
import { architectureOf } from "../models/mod.ts";
import { taskOf } from "../objectives/tasks.ts";
import { QUANTIZE, type Quantize, weightFormats } from "../train/formats.ts";
import { countElements, type Inventory } from "../train/leaves.ts";
import { takeInventory } from "../train/load.ts";
import { matchWeights, unusedTensors } from "../train/weights.ts";
import { weightBytes } from "./estimate.ts";
import { attempt, type Findings, sortTensors, tensorFacts } from "./findings.ts";
import { bytes, digits } from "./format.ts";
import { valueProblems } from "./inspect_tensors.ts";

/** Names listed before it says how many more there are. */
const LISTED = 5;

/** Look at a model folder; `values` reads all weights. */
export async function inspectModel(path: string, { values }: { readonly values: boolean }): Promise<Findings> {
  const problems: string[] = [], warnings: string[] = [];
  const facts: (readonly [string, string])[] = [];
  const folder = await attempt(problems, () => openModelFolder(path));
  if (!folder) return { kind: "model", facts, tensors: [], problems, warnings };
  try {
    warnings.push(...folder.warnings);
    const tensors = sortTensors([...folder.tensors].map(([name, info]) => ({ name, ...info })));
    const architecture = await attempt(problems, () => architectureOf(folder.config));
    if (architecture) {
      const { type, layers, D, V, positions, tied, cache: { K, E } } = architecture;
      const inventory = takeInventory(architecture, taskOf(folder.config, architecture));
      const head = tied ? "tied to the embedding" : "of its own";
      facts.push(
        ["family", `${type}: ${layers} layers, width ${D}, ${K} key/value heads of ${E}`],
        ["tokens", `vocabulary ${digits(V)}, ${digits(positions)} positions, output projection ${head}`],
        [
          "size",
          `${digits(countElements(inventory.weights.values()))} parameters in ${inventory.sites.size} linear maps`,
        ],
        ["modules", moduleNames([...inventory.sites.keys()])],
      );
      const names = await attempt(problems, () => matchWeights(folder, architecture, inventory));
      if (names) {
        facts.push(["on device", sizes(folder, names, inventory)]);
        facts.push(["matched", `${names.size} of ${inventory.weights.size} weights`]);
        const unused = unusedTensors(folder, names).map(printable);
        if (unused.length > 0) {
          const more = unused.length > LISTED ? ` and ${unused.length - LISTED} more` : "";
          warnings.push(`not used: ${unused.slice(0, LISTED).join(", ")}${more}`);
        }
      }
      await inspectTokenizer(path, V, { facts, problems, warnings });
    }
    facts.push(...tensorFacts(tensors, folder.bytes));
    if (values) problems.push(...await folderValues(path));
    return { kind: "model", facts, tensors, problems, warnings };
  } finally {
    folder.close();
  }
}

/** Bytes on the device in every format that the folder can be kept in. */
function sizes(folder: ModelFolder, names: ReadonlyMap<string, string>, inventory: Inventory): string {
  const size = (quantize: Quantize) =>
    bytes(weightBytes(inventory, weightFormats(folder, { names, inventory, quantize })));
  const held = [...new Set(folder.quantized.values())].join(" and ");
  if (held !== "") return `${size("none")} in ${held}, as it is quantized`;
  const packed = QUANTIZE.filter((format) => format !== "none").map((format) => `${size(format)} in ${format}`);
  return [`${size("none")} as f32`, ...packed].join(", ");
}

interface Lists {
  readonly facts: (readonly [string, string])[];
  readonly problems: string[];
  readonly warnings: string[];
}

async function inspectTokenizer(path: string, rows: number, { facts, problems, warnings }: Lists): Promise<void> {
  const found: string[] = [];
  const tokenizer = await attempt(found, () => loadTokenizer(path, { rows }));
  if (!tokenizer) {
    const missing = found.every((problem) => problem.startsWith("tokenizer/missing"));
    (missing ? warnings : problems).push(...found);
    return;
  }
  const { vocabSize, bosId, eosIds, padId, chatTemplate } = tokenizer;
  const ids = `begin ${bosId ?? "none"}, end ${eosIds.join(", ") || "none"}, padding ${padId ?? "none"}`;
  facts.push(["tokenizer", `${digits(vocabSize)} tokens; ${ids}${chatTemplate ? "; with a chat template" : ""}`]);
}

function moduleNames(paths: readonly string[]): string {
  return [...new Set(paths.map((path) => path.split(".").at(-1)!))].map(printable).join(", ");
}

async function folderValues(path: string): Promise<string[]> {
  const problems: string[] = [];
  for await (const { name } of Deno.readDir(path)) {
    if (!name.endsWith(".safetensors")) continue;
    const file = await attempt(problems, () => openSafetensors(`${path}/${name}`));
    if (!file) continue;
    problems.push(...await valueProblems(`${path}/${name}`, file));
    file.close();
  }
  return problems;
}
