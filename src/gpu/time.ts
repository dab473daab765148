// Time of a program on the device: many replays in one pass between two timestamps, after a warm-up that also raises
// the clocks of a GPU (it idles at a sixth of them). Without timestamps: wall time of many replays and one wait.
import { createQueryBuffer, destroyBuffer, readBack } from "./buffer.ts";
import { checked, type GraftDevice } from "./device.ts";
import { begin, type Dispatch, type Executable } from "./executable.ts";

/** Times in milliseconds. */
export interface Times {
  readonly median: number;
  readonly best: number;
}

/** Options of {@linkcode time}. */
export interface TimeOptions {
  /** Which dispatches of the program are timed; all by default. */
  readonly dispatches?: readonly Dispatch[];
  /** Measurements. */
  readonly rounds?: number;
}

/** Milliseconds of work in one submit: long enough to hide its start and the wait for its end. */
const SUBMIT_MS = { software: 20, gpu: 50 };

/** Milliseconds of work before the first measurement. */
const WARM_MS = { software: 0, gpu: 300 };

/** Time one replay of the program's dispatches. */
export async function time(
  program: Executable,
  { dispatches = program.dispatches, rounds = 5 }: TimeOptions = {},
): Promise<Times> {
  const { device } = program;
  const kind = device.software ? "software" : "gpu";
  begin(program);
  await replay(device, dispatches, 1); // compiles on the driver
  const once = await replay(device, dispatches, 1);
  const repeats = Math.max(1, Math.min(2000, Math.ceil(SUBMIT_MS[kind] / Math.max(once, 1e-3))));
  for (let spent = 0; spent < WARM_MS[kind];) spent += repeats * await replay(device, dispatches, repeats);
  const times: number[] = [];
  for (let i = 0; i < rounds; i++) times.push(await replay(device, dispatches, repeats));
  return summary(times);
}

/** Median and best. */
export function summary(times: readonly number[]): Times {
  const sorted = times.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return { median, best: sorted[0]! };
}

/** Milliseconds of one of `repeats` replays in one pass. */
async function replay(device: GraftDevice, dispatches: readonly Dispatch[], repeats: number): Promise<number> {
  const { gpu } = device;
  const encode = (encoder: GPUCommandEncoder, timestampWrites?: GPUComputePassTimestampWrites) => {
    const pass = encoder.beginComputePass(timestampWrites ? { timestampWrites } : {});
    for (let i = 0; i < repeats; i++) {
      for (const { pipeline, group, grid: [x, y, z] } of dispatches) {
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, group);
        pass.dispatchWorkgroups(x, y, z);
      }
    }
    pass.end();
  };
  if (!device.timestamps) {
    const start = performance.now();
    await checked(device, "time", () => {
      const encoder = gpu.createCommandEncoder();
      encode(encoder);
      gpu.queue.submit([encoder.finish()]);
    });
    await gpu.queue.onSubmittedWorkDone();
    return (performance.now() - start) / repeats;
  }
  const querySet = gpu.createQuerySet({ type: "timestamp", count: 2 });
  const resolved = await createQueryBuffer(device, 2);
  try {
    await checked(device, "time", () => {
      const encoder = gpu.createCommandEncoder();
      encode(encoder, { querySet, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 });
      encoder.resolveQuerySet(querySet, 0, 2, resolved, 0);
      gpu.queue.submit([encoder.finish()]);
    });
    const [words] = await readBack(device, "timestamps", [{ buffer: resolved, offset: 0, length: 4 }]);
    const [start, end] = new BigUint64Array(words!.buffer);
    return Number(end! - start!) / 1e6 / repeats;
  } finally {
    destroyBuffer(device, resolved);
    querySet.destroy();
  }
}
