import { assertEquals, assertThrows } from "@std/assert";
import { encodeScalars, SCALARS_WORDS, ScalarWord } from "../../src/core/scalars.ts";
import { scalarWords } from "../../shaders/lib/scalars.ts";

Deno.test("scalars: integers as they are, real numbers as the bits of their f32", () => {
  const words = encodeScalars({
    seed: 2 ** 32 + 42,
    step: 2 ** 32 - 1,
    lr: 1,
    corrections: { c1: 0.5, c2: 2 },
    lossScale: 0.25,
    first: false,
    slot: 255,
    maxNorm: 1.5,
  });
  assertEquals([...words.slice(0, 9)], [
    42,
    0xffffffff,
    0x3f800000,
    0x3f000000,
    0x40000000,
    0x3e800000,
    0,
    255,
    0x3fc00000,
  ]);
  assertEquals(words.length, SCALARS_WORDS);
  assertEquals(encodeScalars({})[ScalarWord.FIRST], 1);
});

Deno.test("scalars: all problems in one error", () => {
  const error = assertThrows(() => encodeScalars({ step: -1, slot: 256, lr: NaN, lossScale: 1e39 }), RangeError);
  for (const name of ["step", "slot", "lr", "lossScale"]) assertEquals(error.message.includes(name), true, name);
});

Deno.test("scalars: the shaders have the same layout", () => {
  const inShaders = [...scalarWords().matchAll(/const SCALAR_(\w+) = (\d+)u;/g)].map((m) => [m[1], Number(m[2])]);
  assertEquals(Object.fromEntries(inShaders), ScalarWord);
});
