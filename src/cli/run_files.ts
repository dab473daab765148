// Files of a run beside the adapter: config.yaml, and metrics.jsonl with a line for every step and evaluation.
import { withIoErrors } from "../io/files.ts";
import { writeFile } from "../io/atomic_write.ts";

/** The files that grow during a run. */
export interface RunFiles {
  /** Append the figures of a step. */
  step(figures: Readonly<Record<string, number>>): Promise<void>;
  /** Append an evaluation: `eval_loss` for the domain "new", `eval_old_loss` for "old". */
  log(step: number, domains: Readonly<Record<string, Readonly<Record<string, number>>>>): Promise<void>;
}

/**
 * Make the folder of a run.
 *
 * @throws {IoError}
 */
export async function openRunFiles(folder: string, settings: string): Promise<RunFiles> {
  await withIoErrors("make this folder", folder, () => Deno.mkdir(folder, { recursive: true }));
  await writeFile(`${folder}/config.yaml`, settings);
  const path = `${folder}/metrics.jsonl`;
  const append = (figures: Readonly<Record<string, number>>) =>
    withIoErrors(
      "append to this file",
      path,
      () => Deno.writeTextFile(path, `${JSON.stringify(figures)}\n`, { append: true }),
    );
  return {
    step: append,
    log: (step, domains) => {
      const figures = Object.entries(domains).flatMap(([name, values]) =>
        Object.entries(values).map(([key, value]) => [`eval_${name === "new" ? "" : `${name}_`}${key}`, value] as const)
      );
      return append({ step, ...Object.fromEntries(figures) });
    },
  };
}
