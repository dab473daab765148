// How often generation looks at what the device has written: a look takes as long as many small runs.

/** Runs before the first look, and at most before one. */
const FIRST_LOOK = 4, MOST_RUNS = 64;

/** Milliseconds between looks: seldom enough that a look's 10 ms do not matter, often enough to be read as it is made. */
const LOOK_MS = { least: 120, most: 300 };

/** Counts the runs between two looks. */
export interface LookPace {
  /** Runs before the next look. */
  runs(): number;
  /** Make them, and learn from how long they took. */
  timed<T>(body: () => Promise<T>): Promise<T>;
}

/** A pace that finds its number of runs. */
export function lookPace(): LookPace {
  let runs = FIRST_LOOK;
  return {
    runs: () => runs,
    async timed(body) {
      const start = performance.now();
      const result = await body();
      const ms = performance.now() - start;
      if (ms < LOOK_MS.least) runs = Math.min(MOST_RUNS, 2 * runs);
      else if (ms > LOOK_MS.most) runs = Math.max(1, Math.floor(runs / 2));
      return result;
    },
  };
}
