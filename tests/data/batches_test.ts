import { assert, assertAlmostEquals, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { ConfigError } from "../../src/core/errors.ts";
import { type Batch, checkBatch } from "../../src/data/batch.ts";
import { batches, collate, epochPlan, stepsPerEpoch } from "../../src/data/batches.ts";
import { type Example, trainedTokens } from "../../src/data/labels.ts";

/** A row of `length` tokens of which the first `given` are not trained; every id is the row's number. */
function row(length: number, { id = 7, given = 0 } = {}): Example {
  return {
    ids: new Uint32Array(length).fill(id),
    labels: Int32Array.from({ length }, (_, t) => t < given ? -100 : id),
  };
}

const rows = Array.from({ length: 1003 }, (_, i) => row(5 + (i * 37) % 96, { id: i }));

Deno.test("trained tokens are the labels after the first that are not -100", () => {
  assertEquals([5, 5, -100, 7].map((_, i) => trainedTokens([5, 5, -100, 7].slice(0, i))), [0, 0, 1, 1]);
  assertEquals(trainedTokens([3, -100, 4, 5]), 2);
  assertEquals(trainedTokens(row(6, { given: 3 }).labels), 3);
  assertEquals(trainedTokens([9]), 0);
});

Deno.test("a batch is padded on the right, with mask and labels", () => {
  assertEquals(collate([row(3), row(2, { id: 8, given: 1 })], { padId: 2 }), {
    input_ids: [[7, 7, 7], [8, 8, 2]],
    attention_mask: [[1, 1, 1], [1, 1, 0]],
    labels: [[7, 7, 7], [-100, 8, -100]],
  });
  const width = (options: Parameters<typeof collate>[1]) => collate([row(9)], options).input_ids[0]!.length;
  assertEquals([width({ lengthMultiple: 8 }), width({ lengthMultiple: 8, maxLength: 12 }), width({})], [16, 12, 9]);
  assertEquals(width({ lengthMultiple: 8, maxLength: 4 }), 9); // a row is never cut here
});

Deno.test("an epoch holds every row once, in full batches and one last partial one", () => {
  for (const shuffle of [true, false]) {
    const plan = epochPlan(rows, { batchSize: 8, shuffle });
    assertEquals(plan.batches.map((b) => b.length), [...Array(125).fill(8), 3]);
    assertEquals(plan.batches.flat().sort((a, b) => a - b), rows.map((_, i) => i));
  }
  assertEquals(epochPlan(rows, { batchSize: 8, shuffle: false }).batches[1], [8, 9, 10, 11, 12, 13, 14, 15]);
  assertEquals(epochPlan([row(4)], { batchSize: 8 }), { batches: [[0]], padding: 0 });
  assertEquals(epochPlan([], { batchSize: 8 }), { batches: [], padding: 0 });
  assertThrows(() => epochPlan(rows, { batchSize: 0 }), RangeError, "batchSize");
});

Deno.test("the order depends on seed and epoch only, so that resuming is computing it again", () => {
  const order = (options: { seed?: number; epoch?: number }) => epochPlan(rows, { batchSize: 8, ...options }).batches;
  assertEquals(order({ seed: 1, epoch: 3 }), order({ seed: 1, epoch: 3 }));
  assertNotEquals(order({ seed: 1, epoch: 3 }), order({ seed: 1, epoch: 4 }));
  assertNotEquals(order({ seed: 1, epoch: 3 }), order({ seed: 2, epoch: 3 }));
  const whole = [...batches({ examples: rows }, { batchSize: 8, epoch: 2 })];
  for (const k of [0, 1, 57, 125]) {
    const resumed = epochPlan(rows, { batchSize: 8, epoch: 2 }).batches.slice(k);
    assertEquals(resumed.map((ids) => collate(ids.map((i) => rows[i]!))), whole.slice(k));
  }
});

Deno.test("rows of similar length share a batch, and batches do not come sorted", () => {
  const grouped = epochPlan(rows, { batchSize: 8 });
  const mixed = epochPlan(rows, { batchSize: 8, groupByLength: false });
  // Lengths are uniform over 5 … 100: the mean is 52.5, and the longest of 8 about 5 + 95·8/9 = 89.
  assertAlmostEquals(mixed.padding, 1 - 52.5 / 89.4, 0.03);
  assert(grouped.padding < 0.06, `padding ${grouped.padding}`);
  const lengths = grouped.batches.map((b) => Math.max(...b.map((i) => rows[i]!.ids.length)));
  const half = (values: number[]) => values.reduce((a, b) => a + b) / values.length;
  assertAlmostEquals(half(lengths.slice(0, 62)), half(lengths.slice(62)), 15);
  console.log(`  padding ${(100 * mixed.padding).toFixed(1)} % mixed, ${(100 * grouped.padding).toFixed(1)} % grouped`);
});

Deno.test("padding share by hand", () => {
  const plan = epochPlan([row(4), row(2), row(5)], { batchSize: 2, shuffle: false, lengthMultiple: 4 });
  assertAlmostEquals(plan.padding, 1 - (4 + 2 + 5) / (2 * 4 + 8), 1e-12);
});

Deno.test("steps per epoch round up twice", () => {
  assertEquals(stepsPerEpoch(1003, { batchSize: 8 }), 126);
  assertEquals(stepsPerEpoch(1003, { batchSize: 8, gradientAccumulation: 4 }), 32);
  assertEquals(stepsPerEpoch(1, { batchSize: 8, gradientAccumulation: 4 }), 1);
  assertEquals(stepsPerEpoch(0, { batchSize: 8 }), 0);
  assertThrows(() => stepsPerEpoch(5, { batchSize: 8, gradientAccumulation: 0.5 }), RangeError, "gradientAccumulation");
});

Deno.test("a wrong batch is refused with all of its problems", () => {
  const good: Batch = { input_ids: [[1, 2], [3, 0]], attention_mask: [[1, 1], [1, 0]], labels: [[1, 2], [3, -100]] };
  assertEquals(checkBatch(good, { vocabSize: 4, positions: 2 }), { B: 2, T: 2 });
  const problems = (batch: Batch, positions = 8): readonly string[] =>
    assertThrows(() => checkBatch(batch, { vocabSize: 4, positions }), ConfigError).problems;
  assertEquals(
    problems({ input_ids: [[1, 4], [-1, 1.5, NaN]], attention_mask: [[1, 2]], labels: [[-1, 4], [-100, 3]] }),
    [
      "input_ids[0][1] must be an integer in [0, 4): received 4",
      "input_ids[1] must have 2 values like input_ids[0]: received 3",
      "input_ids[1][0] must be an integer in [0, 4): received -1",
      "input_ids[1][1] must be an integer in [0, 4): received 1.5",
      "input_ids[1][2] must be an integer in [0, 4): received NaN",
      "attention_mask must have 2 rows like input_ids: received 1",
      "attention_mask[0][1] must be 0 or 1: received 2",
      "labels[0][0] must be -100 or an integer in [0, 4): received -1",
      "labels[0][1] must be -100 or an integer in [0, 4): received 4",
    ],
  );
  assertEquals(problems(good, 1).length, 1);
  assertEquals([problems({ input_ids: [] }).length, problems({ input_ids: [[]] }).length], [1, 1]);
  assertEquals(problems({ input_ids: [Array(100).fill(9)] }, 200).at(-1), "and 80 more");
});
