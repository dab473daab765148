// Time of every dispatch: one pass each with timestamps, as a Chrome trace and as a table by op.
import { DeviceError } from "../core/errors.ts";
import { createQueryBuffer, destroyBuffer, readBack } from "./buffer.ts";
import { checked } from "./device.ts";
import { begin, type Executable } from "./executable.ts";

/** Time of one dispatch. */
export interface Timing {
  /** Kernel, such as `"matmul nt"`. */
  readonly name: string;
  /** Place in the model. */
  readonly scope: string;
  /** Milliseconds after the first dispatch began. */
  readonly start: number;
  /** Milliseconds. */
  readonly ms: number;
}

/** Dispatches measured at once: a query set holds at most 4,096 timestamps. */
const PART = 2048;

/**
 * Run the program once and time every dispatch.
 *
 * @throws {DeviceError} `device/timestamps` if the device has none.
 */
export async function profile(executable: Executable): Promise<Timing[]> {
  const { device, dispatches } = executable;
  if (!device.timestamps) {
    throw new DeviceError("device/timestamps", `Cannot profile on ${device.name}: it has no timestamps`);
  }
  begin(executable);
  const raw: bigint[] = [];
  for (let from = 0; from < dispatches.length; from += PART) {
    const part = dispatches.slice(from, from + PART);
    raw.push(...await timestamps(executable, part));
  }
  const first = raw[0] ?? 0n;
  const ms = (t: bigint) => Number(t - first) / 1e6;
  return dispatches.map(({ kernel, node }, i) => ({
    name: kernel.name,
    scope: node.scope,
    start: ms(raw[2 * i]!),
    ms: ms(raw[2 * i + 1]!) - ms(raw[2 * i]!),
  }));
}

async function timestamps({ device }: Executable, part: Executable["dispatches"]): Promise<BigUint64Array> {
  const count = 2 * part.length;
  const querySet = await checked(device, "profile", () => device.gpu.createQuerySet({ type: "timestamp", count }));
  const resolved = await createQueryBuffer(device, count);
  try {
    await checked(device, "profile", () => {
      const encoder = device.gpu.createCommandEncoder();
      part.forEach(({ pipeline, group, grid: [x, y, z] }, i) => {
        const pass = encoder.beginComputePass({
          timestampWrites: { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 },
        });
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, group);
        pass.dispatchWorkgroups(x, y, z);
        pass.end();
      });
      encoder.resolveQuerySet(querySet, 0, count, resolved, 0);
      device.gpu.queue.submit([encoder.finish()]);
    });
    const [words] = await readBack(device, "timestamps", [{ buffer: resolved, offset: 0, length: 2 * count }]);
    return new BigUint64Array(words!.buffer);
  } finally {
    destroyBuffer(device, resolved);
    querySet.destroy();
  }
}

/** Timings as a Chrome trace (open it in chrome://tracing or Perfetto). */
export function chromeTrace(timings: readonly Timing[]): string {
  const traceEvents = timings.map(({ name, scope, start, ms }) => ({
    name,
    cat: scope,
    ph: "X",
    ts: 1000 * start,
    dur: 1000 * ms,
    pid: 1,
    tid: 1,
    args: { scope },
  }));
  return JSON.stringify({ traceEvents });
}

/** Time by kernel, slowest first: `"matmul nt  42.1 ms  61.0 %  24 x"`. */
export function timingTable(timings: readonly Timing[]): string {
  const sums = new Map<string, { ms: number; count: number }>();
  for (const { name, ms } of timings) {
    const sum = sums.get(name) ?? { ms: 0, count: 0 };
    sums.set(name, { ms: sum.ms + ms, count: sum.count + 1 });
  }
  const total = timings.reduce((sum, { ms }) => sum + ms, 0);
  return [...sums].sort((a, b) => b[1].ms - a[1].ms).map(([name, { ms, count }]) =>
    `${name.padEnd(32)} ${ms.toFixed(2).padStart(10)} ms ${(100 * ms / total).toFixed(1).padStart(5)} % ${count} x`
  ).join("\n");
}
