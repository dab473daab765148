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

function variable(name: string): string | undefined {
  if (Deno.permissions.querySync({ name: "env", variable: name }).state !== "granted") return undefined;
  return Deno.env.get(name);
}
