import { assert, assertAlmostEquals, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { below, normal, pcg, permutation, random, randomKey, uniform } from "../../src/core/random.ts";

Deno.test("pcg equals PCG-RXS-M-XS in 64-bit integer arithmetic", () => {
  const reference = (x: bigint): bigint => {
    const mask = 0xffffffffn;
    const state = (x * 747796405n + 2891336453n) & mask;
    const word = (((state >> ((state >> 28n) + 4n)) ^ state) * 277803737n) & mask;
    return (word >> 22n) ^ word;
  };
  for (const x of [0, 1, 2, 77, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff]) {
    assertEquals(BigInt(pcg(x)), reference(BigInt(x)));
  }
});

Deno.test("keys differ with seed, purpose, order and kind, and not with the call", () => {
  const key = randomKey(42, "shuffle", 0);
  assertEquals(key, randomKey(42, "shuffle", 0));
  for (
    const other of [
      randomKey(43, "shuffle", 0),
      randomKey(42, "dropout", 0),
      randomKey(42, 0, "shuffle"),
      randomKey(42, "shuffle", 1),
      randomKey(42, "shuffle", "0"),
      randomKey(42, "shuf", "fle", 0),
      randomKey(42 + 2 ** 32, "shuffle", 0),
    ]
  ) assertNotEquals(other, key);
  assertThrows(() => randomKey(-1), RangeError, "received -1");
  assertThrows(() => randomKey(0.5), RangeError);
});

Deno.test("uniform and normal have the moments of their distributions", () => {
  const N = 40_000;
  const key = randomKey(7, "moments");
  const moments = (f: typeof uniform) => {
    const values = Array.from({ length: N }, (_, i) => f(key, i));
    const mean = values.reduce((a, b) => a + b) / N;
    return [mean, values.reduce((a, b) => a + (b - mean) ** 2, 0) / N];
  };
  // Four standard errors: 4·√(1/12/N) = 0.006 and 4·√(1/N) = 0.02; a variance has about the same spread.
  const [mean, variance] = moments(uniform);
  assertAlmostEquals(mean!, 0.5, 0.006);
  assertAlmostEquals(variance!, 1 / 12, 0.003);
  const [zero, one] = moments(normal);
  assertAlmostEquals(zero!, 0, 0.02);
  assertAlmostEquals(one!, 1, 0.03);
});

Deno.test("neighbouring counters and streams are uncorrelated", () => {
  const N = 20_000;
  const a = randomKey(1, "a");
  const b = randomKey(1, "b");
  const product = (f: (i: number) => number) =>
    Array.from({ length: N }, (_, i) => f(i)).reduce((x, y) => x + y) / N / (1 / 12);
  // A correlation of N independent pairs has standard error 1/√N = 0.007.
  assertAlmostEquals(product((i) => (uniform(a, i) - 0.5) * (uniform(a, i + 1) - 0.5)), 0, 0.03);
  assertAlmostEquals(product((i) => (uniform(a, i) - 0.5) * (uniform(b, i) - 0.5)), 0, 0.03);
});

Deno.test("below stays in range, permutation holds every index once and depends on the key", () => {
  const key = randomKey(3);
  const seen = new Set(Array.from({ length: 200 }, (_, i) => below(key, i, 7)));
  assertEquals([...seen].sort(), [0, 1, 2, 3, 4, 5, 6]);
  assertEquals([...permutation(key, 1000)].sort((x, y) => x - y), Array.from({ length: 1000 }, (_, i) => i));
  assertNotEquals(permutation(key, 1000), permutation(randomKey(4), 1000));
  assertEquals(permutation(key, 0).length, 0);
  assert(random(key, 5) === random(key, 5));
});
