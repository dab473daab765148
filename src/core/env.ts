// Settings from the environment. A variable that may not be read counts as unset: nothing prompts.

/** Debug level: 1 programs and memory, 2 time of each op, 3 the graph, 4 WGSL. `DEBUG=0` and unset are silent. */
export function debugLevel(): number {
  return Number(variable("DEBUG")) || 0;
}

/** Where a Chrome trace is to be written, from `PROFILE=trace.json`. */
export function profilePath(): string | undefined {
  return variable("PROFILE") || undefined;
}

/** Whether `FINITE=1` asks for an interpreter that stops at the first non-finite value. */
export function finiteCheck(): boolean {
  return variable("FINITE") === "1";
}

/**
 * Make the driver's loader look at Vulkan alone, on Linux and where nothing else is set: otherwise OpenGL is loaded too,
 * complains about XDG_RUNTIME_DIR, can crash when the process ends, and would stand in for a missing Vulkan driver
 * without a word. Without permission for the two variables nothing happens.
 */
export function preferVulkan(): void {
  if (Deno.build.os !== "linux") return;
  for (const [name, value] of [["DENO_WEBGPU_BACKEND", "vulkan"], ["XDG_RUNTIME_DIR", "/tmp"]] as const) {
    if (granted(name) && Deno.env.get(name) === undefined) Deno.env.set(name, value);
  }
}

function granted(name: string): boolean {
  return Deno.permissions.querySync({ name: "env", variable: name }).state === "granted";
}

function variable(name: string): string | undefined {
  return granted(name) ? Deno.env.get(name) : undefined;
}

/** The user's folder for caches; undefined without a home. */
export function userCache(): string | undefined {
  const home = variable("HOME") ?? variable("USERPROFILE");
  return variable("XDG_CACHE_HOME") ?? (home && `${home}/.cache`);
}

/** Where Python keeps models of the Hugging Face Hub, by huggingface_hub's own rules; undefined without a home. */
export function hubCache(): string | undefined {
  const caches = userCache();
  const hub = variable("HF_HOME") ?? (caches && `${caches}/huggingface`);
  return variable("HF_HUB_CACHE") ?? variable("HUGGINGFACE_HUB_CACHE") ?? (hub && `${hub}/hub`);
}

/** The user's token for gated and private models of the Hub, from HF_TOKEN. */
export function hubToken(): string | undefined {
  return variable("HF_TOKEN") || undefined;
}
