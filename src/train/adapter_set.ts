// Several adapters on one model: all of a folder loaded and saved, one removed.
import { CheckpointError, printable, UsageError } from "../core/errors.ts";
import { release } from "../gpu/store.ts";
import { isAdapterName, namedAdapters } from "../io/adapter_file.ts";
import { statOrUndefined } from "../io/files.ts";
import { DEFAULT_NAME, loadAdapter, type LoadAdapterOptions, saveAdapter, setAdapter } from "./adapters.ts";
import { frozenName, type ModelState } from "./state.ts";
import { knownAdapter } from "./tensors.ts";

/** See {@linkcode Model.loadAdapters}. */
export async function loadAdapters(
  state: ModelState,
  path: string,
  { warn = () => {} }: Pick<LoadAdapterOptions, "warn">,
): Promise<string[]> {
  if (!(await statOrUndefined(path))?.isDirectory) {
    throw new CheckpointError("adapter/not-found", "Cannot open adapters as there is no such folder", { path });
  }
  const own = await statOrUndefined(`${path}/adapter_config.json`) === undefined ? [] : [DEFAULT_NAME];
  const names = [...own, ...await namedAdapters(path)];
  const [first] = names;
  if (first === undefined) {
    throw new CheckpointError("adapter/no-config", "Cannot open adapters as the folder has none", { path });
  }
  const taken = names.filter((name) => state.adapters.has(name));
  if (taken.length > 0) {
    const list = taken.map((name) => `"${printable(name)}"`).join(", ");
    throw new UsageError("adapter/exists", `Cannot add adapters called ${list} as the model has them already`);
  }
  for (const name of names) {
    const from = name === DEFAULT_NAME && own.length > 0 ? path : `${path}/${name}`;
    await loadAdapter(state, from, { name, warn: (text) => warn(`${printable(name)}: ${text}`) });
  }
  if (!state.merged) setAdapter(state, first);
  return names;
}

/** See {@linkcode Model.saveAdapters}. */
export async function saveAdapters(state: ModelState, path: string): Promise<void> {
  const names = [...state.adapters.keys()];
  if (names.length === 0) throw new CheckpointError("adapter/none", "Cannot save adapters as the model has none");
  const wrong = names.filter((name) => !isAdapterName(name)).map((name) => `"${printable(name)}"`);
  if (wrong.length > 0) {
    throw new UsageError(
      "adapter/name",
      `Cannot save adapters called ${wrong.join(", ")}: no folder can have that name`,
    );
  }
  for (const name of names) await saveAdapter(state, name === DEFAULT_NAME ? path : `${path}/${name}`, { name });
}

/** See {@linkcode Model.deleteAdapter}. */
export function deleteAdapter(state: ModelState, name: string): void {
  const { layout, tensors } = knownAdapter(state, name);
  const called = `"${printable(name)}"`;
  if (state.merged?.adapters.includes(name)) {
    throw new CheckpointError("merge/merged", `Cannot delete ${called} as it is merged: unmerge() first`);
  }
  if (state.training && state.active === name) {
    throw new UsageError("train/running", `Cannot delete ${called} as it is being trained`);
  }
  for (const [key, { executable, adapters }] of state.programs) {
    if (!adapters.includes(name)) continue;
    executable.destroy();
    state.programs.delete(key);
  }
  const prefix = `${layout.name} `;
  const pages = [...state.store.buffers.keys()].filter((key) =>
    key.startsWith(prefix) && /^\w+\.\d+$/.test(key.slice(prefix.length))
  );
  release(state.store, [...pages, ...[...tensors.keys()].map((tensor) => frozenName(name, tensor))]);
  state.adapters.delete(name);
  if (state.active === name) state.active = undefined;
  if (state.disabled === name) state.disabled = undefined;
}
