// The table of commands.
import type { Entry } from "./command.ts";
import { combine } from "./combine.ts";
import { finetune } from "./finetune.ts";
import { doctor } from "./doctor.ts";
import { download } from "./download.ts";
import { evaluate } from "./evaluate.ts";
import { generate } from "./generate.ts";
import { inspect } from "./inspect.ts";
import { merge } from "./merge.ts";
import { parity } from "./parity.ts";
import { quantize } from "./quantize.ts";
import { tune } from "./tune.ts";

/** Every command, in the order of the help. */
export const commands: ReadonlyMap<string, Entry> = new Map(
  [finetune, download, generate, evaluate, merge, combine, quantize, inspect, doctor, tune, parity].map((
    entry,
  ) => [entry.name, entry]),
);
