// Packed formats against independent arithmetic in f64, and against numbers worked out by hand.
import { assert, assertEquals } from "@std/assert";
import { wordsOf } from "../../src/core/dims.ts";
import { dequantizeNf4, LEVELS, MAP, nf4Maxima, quantizeMaxima, quantizeNf4 } from "../../src/io/nf4.ts";
import { pack, packInt8, packNf4, quantizeInt8, unpack, unpackInt8, unpackNf4 } from "../../src/io/packing.ts";
import { normal } from "../ops/harness.ts";

const SIZES = [1, 63, 64, 65, 256, 1000, 1024, 3000, 40_000];
const values = (count: number) => Float32Array.from(normal(count, count), (x) => 0.03 * x);

Deno.test("nf4: every value gets the nearest level of its block's maximum", () => {
  const maxima = [1, 2, 3, 4.5, 0.25];
  const x = Float32Array.from({ length: 300 }, (_, i) => i % 64 === 0 ? maxima[i / 64]! : Math.sin(i) * 0.2);
  const { codes } = quantizeNf4(x);
  x.forEach((value, i) => {
    const code = i % 2 === 0 ? codes[i >> 1]! >> 4 : codes[i >> 1]! & 15;
    const wanted = value / maxima[Math.floor(i / 64)]!;
    const error = Math.abs(LEVELS[code]! - wanted);
    for (const level of LEVELS) assert(error <= Math.abs(level - wanted) + 1e-7, `element ${i}`);
  });
});

Deno.test("nf4: two codes a byte, the first in the high half; a block of zeros stays zero", () => {
  const x = new Float32Array(130);
  x.set([1, -1, 0.08, 0]);
  const { codes, absmax } = quantizeNf4(x);
  assertEquals([...codes.subarray(0, 2)], [0xf0, 0x87]); // levels 15, 0 and 8, 7
  assertEquals([codes.length, absmax.length], [65, 3]);
  assertEquals([...dequantizeNf4(quantizeNf4(x), 130).subarray(64)], Array(66).fill(0));
});

Deno.test("nf4: the dynamic map has 7 decades of 2^i middles, both signs, zero and one", () => {
  assertEquals(MAP.length, 256);
  assertEquals([MAP[127], MAP[255]], [0, 1]);
  // By hand: i = 0 has the middle of [0.1, 1], i = 1 those of [0.1, 0.55] and [0.55, 1], and so on.
  const close = (at: number, value: number) => assert(Math.abs(MAP[at]! / value - 1) < 1e-6, `MAP[${at}] = ${MAP[at]}`);
  close(128, 0.55e-6);
  close(129, 0.325e-5);
  close(130, 0.775e-5);
  close(131, 0.2125e-4);
  close(254, 1 - 0.9 / 128);
  close(0, -(1 - 0.9 / 128));
  for (let m = 1; m < 128; m++) {
    const e = Math.floor(Math.log2(m)), middle = 0.1 + 0.9 * (m - 2 ** e + 0.5) / 2 ** e;
    close(127 + m, 10 ** (e - 6) * middle);
    assertEquals(MAP[127 - m], -MAP[127 + m]!);
  }
});

Deno.test("nf4: the maxima are rounded to the map in groups of 256 around their mean", () => {
  const maxima = values(700).map(Math.abs);
  const { absmax, nested, offset } = quantizeMaxima(maxima);
  const mean = maxima.reduce((a, b) => a + b, 0) / 700;
  assert(Math.abs(offset / mean - 1) < 1e-6);
  assertEquals([absmax.length, nested.length], [700, 3]);
  const found = nf4Maxima({ absmax, nested, offset });
  for (let g = 0; g < 3; g++) {
    const group = [...maxima.subarray(256 * g, 256 * (g + 1))].map((x) => x - offset);
    const most = Math.max(...group.map(Math.abs));
    assertEquals(nested[g], Math.fround(most));
    group.forEach((x, b) => {
      const best = Math.min(...[...MAP].map((level) => Math.abs(level * most - x)));
      assert(Math.abs(found[256 * g + b]! - offset - x) <= best + 1e-8, `block ${256 * g + b}`);
    });
  }
});

Deno.test("int8: rounded to 1/127 of the block's maximum, which is kept", () => {
  const x = values(200);
  const { codes, scales } = quantizeInt8(x);
  assertEquals(scales.length, 4);
  x.forEach((value, i) => {
    const block = x.subarray(i - i % 64, i - i % 64 + 64);
    const most = Math.max(...block.map(Math.abs));
    assert(Math.abs(value - codes[i]! * most / 127) <= most / 254 * (1 + 1e-6));
    if (Math.abs(value) === most) assertEquals(Math.abs(codes[i]!), 127);
  });
});

for (const dtype of ["f16", "bf16", "int8", "nf4"] as const) {
  Deno.test(`${dtype}: packing loses what the format loses and nothing else`, () => {
    for (const count of SIZES) {
      const x = values(count);
      const words = pack(dtype, x);
      assertEquals(words.length, wordsOf(dtype, count));
      const found = unpack(dtype, words, count);
      assertEquals(pack(dtype, found).length, words.length);
      // Half a unit in the last place of f16 and bf16; half a step of int8; the widest gap of nf4 is 0.304 of absmax,
      // and its second quantization adds less than a fiftieth. Below 6e-5, f16 has steps of 6e-8.
      const bound = { f16: 2 ** -11, bf16: 2 ** -8, int8: 1 / 254, nf4: 0.152 + 0.02 }[dtype];
      x.forEach((value, i) => {
        const block = x.subarray(i - i % 64, i - i % 64 + 64);
        const scale = dtype.endsWith("f16") || dtype === "bf16" ? Math.abs(value) : Math.max(...block.map(Math.abs));
        assert(Math.abs(found[i]! - value) <= bound * scale * (1 + 1e-5) + 3e-8, `${count}: element ${i}`);
      });
    }
  });
}

Deno.test("segments give back codes and scales bit for bit", () => {
  for (const count of SIZES) {
    const int8 = quantizeInt8(values(count)), nf4 = quantizeNf4(values(count));
    assertEquals(unpackInt8(packInt8(int8), count), int8);
    assertEquals(unpackNf4(packNf4(nf4, count), count), nf4);
  }
});

Deno.test("packed matrices take 16, 16, 8.5 and 4.25 bits an element", () => {
  const bits = (["f16", "bf16", "int8", "nf4"] as const).map((dtype) => 32 * wordsOf(dtype, 2 ** 20) / 2 ** 20);
  assertEquals(bits, [16, 16, 8.5, 4.25]);
});
