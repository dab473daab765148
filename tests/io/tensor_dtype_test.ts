// Conversions against arithmetic on the bits, for every 16-bit pattern.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { ModelError } from "../../src/core/errors.ts";
import { fromF32, type TensorDType, toF32 } from "../../src/io/tensor_dtype.ts";

const patterns = Uint16Array.from({ length: 65536 }, (_, i) => i);

/** Value of a binary float of `fraction` bits behind the exponent, from its definition. */
function fromBits(bits: number, exponentBits: number, fraction: number): number {
  const sign = bits >>> (exponentBits + fraction) ? -1 : 1;
  const exponent = (bits >>> fraction) & (2 ** exponentBits - 1);
  const mantissa = bits & (2 ** fraction - 1);
  const bias = 2 ** (exponentBits - 1) - 1;
  if (exponent === 2 ** exponentBits - 1) return mantissa === 0 ? sign * Infinity : NaN;
  if (exponent === 0) return sign * mantissa * 2 ** (1 - bias - fraction);
  return sign * (1 + mantissa / 2 ** fraction) * 2 ** (exponent - bias);
}

function bytesOf(view: ArrayBufferView<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** The same bytes at an odd address. */
function shifted(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(bytes.length + 1).subarray(1);
  out.set(bytes);
  return out;
}

Deno.test("toF32: all 65,536 patterns of F16 and BF16 are exact", () => {
  for (const [dtype, exponentBits, fraction] of [["F16", 5, 10], ["BF16", 8, 7]] as const) {
    for (const bytes of [bytesOf(patterns), shifted(bytesOf(patterns))]) {
      const values = toF32(dtype, bytes);
      for (let i = 0; i < 65536; i++) {
        assert(Object.is(values[i], fromBits(i, exponentBits, fraction)), `${dtype} ${i}`);
      }
    }
  }
});

Deno.test("fromF32: all 65,536 patterns of F16 and BF16 survive the way through f32", () => {
  for (const [dtype, stored, exponentBits, fraction] of [["F16", "f16", 5, 10], ["BF16", "bf16", 8, 7]] as const) {
    const values = toF32(dtype, bytesOf(patterns));
    const { bytes, overflowed } = fromF32(values, stored);
    const back = new Uint16Array(bytes.buffer);
    assertEquals(overflowed, 0);
    for (let i = 0; i < 65536; i++) {
      if (Number.isNaN(values[i])) {
        assert(Number.isNaN(fromBits(back[i]!, exponentBits, fraction)));
      } else assertEquals(back[i], i);
    }
  }
});

Deno.test("fromF32: rounds to nearest, ties to even, and counts what became infinite", () => {
  const round = (value: number, dtype: "f16" | "bf16") => {
    const { bytes, overflowed } = fromF32(Float32Array.of(value), dtype);
    return [toF32(dtype === "f16" ? "F16" : "BF16", bytes)[0], overflowed];
  };
  // Steps above 1 are 2^-10 for f16 and 2^-7 for bf16.
  assertEquals(round(1 + 2 ** -11, "f16"), [1, 0]);
  assertEquals(round(1 + 3 * 2 ** -11, "f16"), [1 + 2 ** -9, 0]);
  assertEquals(round(1 + 2 ** -11 + 2 ** -20, "f16"), [1 + 2 ** -10, 0]);
  assertEquals(round(1 + 2 ** -8, "bf16"), [1, 0]);
  assertEquals(round(1 + 3 * 2 ** -8, "bf16"), [1 + 2 ** -6, 0]);
  assertEquals(round(1 + 2 ** -8 + 2 ** -20, "bf16"), [1 + 2 ** -7, 0]);
  assertEquals(round(65519.996, "f16"), [65504, 0]);
  assertEquals(round(65520, "f16"), [Infinity, 1]);
  assertEquals(round(-1e5, "f16"), [-Infinity, 1]);
  assertEquals(round(Infinity, "f16"), [Infinity, 0]);
  assertEquals(round(3.4028234663852886e38, "bf16"), [Infinity, 1]);
  assertEquals(round(3.39e38, "bf16")[1], 0);
  assertEquals(round(-Infinity, "bf16"), [-Infinity, 0]);
  assertEquals(round(2 ** -25, "f16"), [0, 0]);
  assertEquals(round(2 ** -24, "f16"), [2 ** -24, 0]);
  const quiet = new Float32Array(Uint32Array.of(0x7f800001).buffer); // a NaN whose set bit the short form lacks
  assert(Number.isNaN(toF32("BF16", fromF32(quiet, "bf16").bytes)[0]));
});

Deno.test("toF32: other types", () => {
  const half = 1 + 2 ** -24; // half way between two f32
  assertEquals([...toF32("F64", shifted(bytesOf(Float64Array.of(half, half + 2 ** -40, -0, 1e300))))], [
    1,
    1 + 2 ** -23,
    -0,
    Infinity,
  ]);
  assertEquals([...toF32("F32", bytesOf(Float32Array.of(0.1, NaN)))], [Math.fround(0.1), NaN]);
  assertEquals([...toF32("BOOL", Uint8Array.of(0, 1))], [0, 1]);
  assertEquals([...toF32("U8", Uint8Array.of(0, 255))], [0, 255]);
  assertEquals([...toF32("I8", Uint8Array.of(0x80))], [-128]);
  assertEquals([...toF32("I16", bytesOf(Int16Array.of(-32768)))], [-32768]);
  assertEquals([...toF32("U16", bytesOf(Uint16Array.of(65535)))], [65535]);
  assertEquals([...toF32("I32", bytesOf(Int32Array.of(-5, 16777217)))], [-5, 16777216]);
  assertEquals([...toF32("U32", bytesOf(Uint32Array.of(4294967295)))], [4294967296]);
  assertEquals([...toF32("I64", bytesOf(BigInt64Array.of(-3n, 2n ** 53n - 1n)))], [-3, 2 ** 53]);
  assertEquals([...toF32("U64", bytesOf(BigUint64Array.of(7n)))], [7]);
});

Deno.test("toF32: what is not a weight is refused", () => {
  const bytes = bytesOf(BigInt64Array.of(2n ** 53n + 1n));
  for (const dtype of ["I64", "U64"] as const) {
    assertEquals(assertThrows(() => toF32(dtype, bytes), ModelError, "below 2^53").code, "model/dtype");
  }
  const quantized: TensorDType[] = ["F4", "F6_E2M3", "F6_E3M2", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "C64"];
  for (const dtype of quantized) {
    const options = { name: "w\u001b", path: "m.safetensors" };
    const error = assertThrows(() => toF32(dtype, bytes, options), ModelError, "not supported");
    assertEquals(error.code, "model/dtype");
    assert(!error.message.includes("\u001b"));
  }
});

Deno.test("toF32 and fromF32: four million elements take well under a second", () => {
  const bytes = new Uint8Array(2 ** 23);
  for (const dtype of ["F16", "BF16"] as const) {
    const start = performance.now();
    const values = toF32(dtype, bytes);
    fromF32(values, dtype === "F16" ? "f16" : "bf16");
    assert(performance.now() - start < 3000); // about 60 ms on a quiet core
  }
});
