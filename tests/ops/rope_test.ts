import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { ModelError, ShapeError } from "../../src/core/errors.ts";
import type { DeviceOptions } from "../../src/gpu/device.ts";
import { Graph } from "../../src/graph/graph.ts";
import { rope, ropeAt } from "../../src/ops/rope.ts";
import { ropeTables } from "../../src/ops/rope_tables.ts";
import { type Numbers, type OpCase, opTable } from "./harness.ts";

interface Sizes {
  readonly B: number;
  readonly T: number;
  readonly heads: number;
  readonly E: number;
  readonly offset?: number;
  readonly turned?: number;
  readonly columns?: number;
}

/** As written in transformers: x·cos + rotate_half(x)·sin, with both halves of the table equal. */
function reference(x: Numbers, cos: Numbers, sin: Numbers, sizes: Sizes, at: (n: number) => number): Numbers {
  const { heads, E, turned = heads, columns = E } = sizes;
  const half = columns / 2, width = heads * E;
  return x.map((v, i) => {
    const n = Math.floor(i / width), j = i % E;
    if (j >= columns || Math.floor(i % width / E) >= turned) return v;
    const rotated = j < half ? -x[i + half]! : x[i - half]!;
    const angle = at(n) * half + j % half;
    return v * cos[angle]! + rotated * sin[angle]!;
  });
}

function ropeCase(name: string, sizes: Sizes, device?: DeviceOptions): OpCase {
  const { B, T, heads, E, offset = 0, columns = E } = sizes;
  const { cos, sin } = ropeTables({ positions: T + offset + 3, E: columns, theta: 100 });
  const shape = [T + offset + 3, columns / 2];
  return {
    op: "rope",
    name: `${name} [${B}x${T}] ${heads} heads of ${E}`,
    inputs: { x: { shape: [B * T, heads * E] }, cos: { shape, values: cos }, sin: { shape, values: sin } },
    wrt: ["x"],
    build: ({ x, cos, sin }) => rope(x!, { cos: cos!, sin: sin! }, sizes),
    reference: ({ x, cos, sin }) => reference(x!, cos!, sin!, sizes, (n) => offset + n % T),
    tolerance: 1.2e-7, // two products and a sum: at most three roundings of 2^-24, seldom of one sign
    ...(device ? { device } : {}),
  };
}

function atCase(
  name: string,
  position: readonly number[],
  { S, ...dims }: Omit<Sizes, "B" | "T" | "offset"> & { readonly S: number },
): OpCase {
  const { heads, E, columns = E } = dims;
  const sizes = { B: 1, T: S, ...dims };
  const { cos, sin } = ropeTables({ positions: 40, E: columns, theta: 100 });
  return {
    op: "rope at",
    name,
    inputs: {
      x: { shape: [S, heads * E] },
      cos: { shape: [40, columns / 2], values: cos },
      sin: { shape: [40, columns / 2], values: sin },
      position: { shape: [position.length], dtype: "u32", values: position },
    },
    wrt: ["x"],
    build: ({ x, cos, sin, position }) => ropeAt(x!, { cos: cos!, sin: sin! }, { position: position!, ...dims }),
    reference: ({ x, cos, sin }) => reference(x!, cos!, sin!, sizes, (n) => position[n % position.length]!),
    tolerance: 1.2e-7,
  };
}

opTable("rope", [
  ropeCase("vectors of four", { B: 3, T: 17, heads: 4, E: 8 }),
  ropeCase("vectors of two", { B: 2, T: 5, heads: 3, E: 12 }),
  ropeCase("single floats", { B: 2, T: 7, heads: 5, E: 6 }),
  ropeCase("one row", { B: 1, T: 1, heads: 1, E: 2 }),
  ropeCase("offset", { B: 2, T: 9, heads: 2, E: 64, offset: 11 }),
  ropeCase("gpu class", { B: 2, T: 33, heads: 2, E: 16 }, { kind: "gpu" }),
  ropeCase("rows above one binding (forced to 4 KiB)", { B: 3, T: 50, heads: 2, E: 8 }, { maxBinding: 4096 }),
  ropeCase("the first heads of a row", { B: 2, T: 9, heads: 6, E: 8, turned: 5 }),
  ropeCase("the first columns of a head", { B: 2, T: 9, heads: 3, E: 12, columns: 8 }),
  ropeCase("both, single floats", { B: 3, T: 5, heads: 4, E: 7, columns: 6, turned: 3 }),
  ropeCase("both, above one binding (forced to 4 KiB)", { B: 3, T: 50, heads: 2, E: 8, columns: 4, turned: 1 }, {
    maxBinding: 4096,
  }),
  atCase("the first columns, of the first heads", [5, 0, 39], { S: 3, heads: 3, E: 8, columns: 4, turned: 2 }),
  atCase("one position a row", [5, 0, 39], { S: 3, heads: 2, E: 8 }),
  atCase("one position for all rows", [17], { S: 3, heads: 1, E: 6 }),
]);

Deno.test("rope tables: hand-calculated angles", () => {
  const { cos, sin } = ropeTables({ positions: 3, E: 4, theta: 100 });
  assertEquals(cos, Float32Array.of(1, 1, Math.cos(1), Math.cos(0.1), Math.cos(2), Math.cos(0.2)));
  assertEquals(sin, Float32Array.of(0, 0, Math.sin(1), Math.sin(0.1), Math.sin(2), Math.sin(0.2)));
});

Deno.test("rope tables: linear divides every position by the factor, under both names of the type", () => {
  const plain = ropeTables({ positions: 9, E: 8 });
  for (const scaling of [{ rope_type: "linear", factor: 4 }, { type: "linear", factor: 4 }]) {
    const scaled = ropeTables({ positions: 33, E: 8, scaling });
    for (let t = 0; t < 9; t++) {
      assertEquals(scaled.sin.subarray(16 * t, 16 * t + 4), plain.sin.subarray(4 * t, 4 * t + 4));
    }
  }
});

Deno.test("rope tables: llama3 keeps short waves, divides long ones and blends between them", () => {
  // Llama 3.2: theta 500000, factor 32, low 1, high 4, 8192 positions; frequencies read back as the sine at position 1.
  const scaling = {
    rope_type: "llama3",
    factor: 32,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 8192,
  };
  const E = 64;
  const { sin } = ropeTables({ positions: 2, E, theta: 500000, scaling });
  for (let j = 0; j < E / 2; j++) {
    const f = 1 / 500000 ** (2 * j / E);
    const wave = 2 * Math.PI / f;
    const smooth = (8192 / wave - 1) / (4 - 1);
    const expected = wave > 8192 / 1 ? f / 32 : wave < 8192 / 4 ? f : (1 - smooth) * f / 32 + smooth * f;
    assertAlmostEquals(sin[E / 2 + j]! / Math.sin(expected), 1, 1e-7);
  }
});

Deno.test("rope tables: dynamic leaves the positions of the first training as they are", () => {
  const scaling = { type: "dynamic", factor: 4 };
  assertEquals(ropeTables({ positions: 9, E: 8, scaling }), ropeTables({ positions: 9, E: 8 }));
});

Deno.test("rope tables: longrope divides every frequency by its own factor, another one in longer texts", () => {
  const scaling = {
    rope_type: "longrope",
    short_factor: [1, 1.5, 2],
    long_factor: [2, 8, 40],
    original_max_position_embeddings: 64,
    factor: 16,
  };
  const amplitude = Math.sqrt(1 + Math.log(16) / Math.log(64));
  for (const [length, factors] of [[64, scaling.short_factor], [65, scaling.long_factor]] as const) {
    const { cos, sin } = ropeTables({ positions: 2, E: 6, theta: 100, scaling, length });
    factors.forEach((factor, j) => {
      const angle = 100 ** (-2 * j / 6) / factor;
      assertAlmostEquals(cos[3 + j]!, amplitude * Math.cos(angle), 1e-7);
      assertAlmostEquals(sin[3 + j]!, amplitude * Math.sin(angle), 1e-7);
    });
  }
  const given = ropeTables({ positions: 1, E: 6, scaling: { ...scaling, attention_factor: 1.25 }, length: 1 });
  assertEquals(given.cos, Float32Array.of(1.25, 1.25, 1.25));
  assertEquals(ropeTables({ positions: 1, E: 6, scaling: { ...scaling, factor: 0.5 } }).cos[0], 1);
});

Deno.test("rope tables: YaRN keeps columns that turn often, divides those that turn rarely, and is louder", () => {
  // Qwen2.5's long context: theta 1e6, factor 4, 32768 positions. By hand: 32 turns end at column 23.6, one at 39.7,
  // so columns to 23 are kept, those from 40 divided; cos and sin grow by 0.1 · ln 4 + 1.
  const E = 128, scaling = { rope_type: "yarn", factor: 4, original_max_position_embeddings: 32768 };
  const { cos, sin } = ropeTables({ positions: 2, E, theta: 1e6, scaling });
  for (let j = 0; j < E / 2; j++) {
    const f = 1 / 1e6 ** (2 * j / E);
    const divided = Math.min(1, Math.max(0, (j - 23) / 17));
    const expected = divided * f / 4 + (1 - divided) * f;
    assertAlmostEquals(sin[E / 2 + j]! / (1.1386294361119891 * Math.sin(expected)), 1, 1e-7);
    assertAlmostEquals(cos[j]!, 1.1386294361119891, 1e-7);
  }
  // DeepSeek-V2: 0.707 on both sides cancels; a given factor counts as it is; borders may stay broken numbers.
  const loud = (extra: object) => ropeTables({ positions: 1, E, theta: 1e6, scaling: { ...scaling, ...extra } }).cos[0];
  assertEquals(loud({ mscale: 0.707, mscale_all_dim: 0.707 }), 1);
  assertEquals(loud({ attention_factor: 2 }), 2);
  const borders = ropeTables({ positions: 2, E, theta: 1e6, scaling: { ...scaling, truncate: false } }).sin;
  const low = 64 * Math.log(32768 / (64 * Math.PI)) / Math.log(1e6);
  const high = 64 * Math.log(32768 / (2 * Math.PI)) / Math.log(1e6);
  const share = (30 - low) / (high - low), f = 1e6 ** (-60 / 128);
  assertAlmostEquals(borders[E / 2 + 30]! / (1.1386294361119891 * Math.sin(share * f / 4 + (1 - share) * f)), 1, 1e-7);
});

Deno.test("rope tables: what is not supported is named, and all that is missing", () => {
  const refuse = (scaling: Record<string, unknown>, text: string) => {
    const error = assertThrows(() => ropeTables({ positions: 1, E: 4, scaling }), ModelError, text);
    assertEquals(error.code, "config/rope_scaling");
  };
  refuse({ rope_type: "su", factor: 2 }, 'as "su": supported are default, linear, dynamic, llama3, yarn, longrope');
  const long = { rope_type: "longrope", factor: 2, original_max_position_embeddings: 64 };
  refuse({ ...long, short_factor: [1, 1] }, "long_factor must be 2 positive numbers: received nothing");
  refuse(
    { ...long, short_factor: [1, 0], long_factor: [1, 1] },
    "short_factor must be 2 positive numbers: received [1,0]",
  );
  refuse({ rope_type: "yarn", factor: 2 }, "original_max_position_embeddings must be a positive number");
  const yarn = { rope_type: "yarn", factor: 2, original_max_position_embeddings: 64 };
  refuse({ ...yarn, beta_fast: 1, beta_slow: 2 }, "beta_fast must be above beta_slow: received 1 and 2");
  refuse({ ...yarn, attention_factor: "x" }, "attention_factor must be a positive number: received x");
  refuse({ type: "toString" }, 'as "toString"');
  refuse({ rope_type: "linear" }, "factor must be a positive number: received undefined");
  refuse(
    { rope_type: "llama3", factor: 8, low_freq_factor: "1" },
    "low_freq_factor must be a positive number: received 1;",
  );
  refuse({ rope_type: "llama3", factor: 8 }, "original_max_position_embeddings");
});

Deno.test("rope: shapes and positions are checked", () => {
  const graph = new Graph();
  const x = graph.leaf("input", "x", [6, 8]);
  const cos = graph.leaf("weight", "cos", [2, 2]), sin = graph.leaf("weight", "sin", [2, 2]);
  assertThrows(() => rope(x, { cos, sin }, { B: 2, T: 3, heads: 2, E: 4 }), RangeError, "the tables have 2");
  assertThrows(() => rope(x, { cos, sin }, { B: 3, T: 2, heads: 1, E: 8 }), ShapeError, "E/2=4");
  const part = { B: 3, T: 2, heads: 2, E: 4 };
  assertThrows(() => rope(x, { cos, sin }, { ...part, columns: 2 }), ShapeError, "columns/2=1");
  assertThrows(() => rope(x, { cos, sin }, { ...part, columns: 3 }), RangeError, "columns must be even");
  assertThrows(() => rope(x, { cos, sin }, { ...part, columns: 6 }), RangeError, "a head has 4");
  assertThrows(() => rope(x, { cos, sin }, { ...part, turned: 3 }), RangeError, "a row has 2");
  assertThrows(() => rope(x, { cos, sin }, { B: 4, T: 2, heads: 2, E: 4 }), ShapeError, "B·T=8");
});
