// One step looked at instead of only run, as the environment asks: FINITE=1, DEBUG=2 and PROFILE=trace.json.
import { debugLevel, finiteCheck, profilePath } from "../core/env.ts";
import { IoError } from "../core/errors.ts";
import { type Executable, run } from "./executable.ts";
import { interpret } from "./interpret.ts";
import { chromeTrace, profile, timingTable } from "./profile.ts";

/** Traces written by this process: each path once. */
const written = new Set<string>();

/**
 * Run the program once, as `run` does, and look at it in the ways that the environment asks for.
 *
 * - `FINITE=1`: one dispatch at a time, stopping at the first output that is not finite.
 * - `PROFILE=trace.json`: the first program observed is timed and written as a Chrome trace (needs `--allow-write`).
 * - `DEBUG=2` or more: time by kernel on stderr, every time.
 *
 * The program runs exactly once, whatever is asked: states that it updates move on by one step. With `FINITE=1` it is
 * not timed.
 *
 * @throws {NumericError} `num/non-finite` with `FINITE=1`.
 * @throws {DeviceError} `device/timestamps` if times are asked for and the device has none.
 * @throws {IoError} `io/profile` if the trace cannot be written.
 */
export async function observe(executable: Executable): Promise<void> {
  if (finiteCheck()) return await interpret(executable);
  const path = profilePath();
  const trace = path !== undefined && !written.has(path) ? path : undefined;
  const table = debugLevel() >= 2;
  if (trace === undefined && !table) return run(executable);
  const timings = await profile(executable);
  if (table) console.error(`${executable.name}: time by kernel\n${timingTable(timings)}`);
  if (trace === undefined) return;
  written.add(trace);
  try {
    await Deno.writeTextFile(trace, chromeTrace(timings));
  } catch (cause) {
    throw new IoError("io/profile", `Cannot write the profile: ${(cause as Error).message}`, {
      cause,
      path: trace,
      hint: "PROFILE names a file that this run may write (--allow-write).",
    });
  }
}
