// Several adapters on one model: all of a folder loaded and saved, one removed.
import { CheckpointError, printable, UsageError } from "../core/errors.ts";
import { release } from "../gpu/store.ts";
import { isAdapterName, namedAdapters, readAdapterFolder } from "../io/adapter_file.ts";
import { statOrUndefined } from "../io/files.ts";
import { DEFAULT_NAME, loadAdapter, type LoadAdapterOptions, saveAdapter, setAdapter } from "./adapters.ts";
import { STACKED_ON } from "./stack.ts";
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
  const from = (name: string) => name === DEFAULT_NAME && own.length > 0 ? path : `${path}/${name}`;
  // Those that lie on others come after them.
  const below = new Map<string, string | undefined>();
  for (const name of names) {
    const { [STACKED_ON]: on } = (await readAdapterFolder(from(name))).config;
    below.set(name, typeof on === "string" ? on : undefined);
  }
  const depth = (name: string | undefined, seen = 0): number =>
    name === undefined || seen > names.length ? seen : depth(below.get(name), seen + 1);
  for (const name of [...names].sort((a, b) => depth(a) - depth(b))) {
    const on = below.get(name);
    const options = { name, warn: (text: string) => warn(`${printable(name)}: ${text}`) };
    await loadAdapter(state, from(name), on === undefined ? options : { ...options, on });
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
  const upper = [...state.adapters.values()].find(({ under }) => under === name);
  if (upper) {
    throw new UsageError("adapter/stacked", `Cannot delete ${called} as "${printable(upper.name)}" lies on it`);
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
