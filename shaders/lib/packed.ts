// Frozen matrices in packed formats, unpacked where they are read; src/io/packing.ts has the layout in memory.
//
//   f16, bf16   two elements a word
//   int8        w = code · scale[block],  blocks of 64;  a segment of 256 elements: 4 scales, 64 words of 4 codes
//   nf4         w = level[code] · (map[c[block]] · nested + offset);  a segment of 1024 elements: nested, offset,
//               4 words of 4 codes c, 2 unused words, 128 words of 8 codes, the first one in the high half of its byte
//               map[127 ± m] = ±10^(e - 6) · (0.9 · (m + 0.5) / 2^e - 0.8),  e = floor(log2(m));  map[255] = 1
import { wgsl } from "../wgsl.ts";

/** Formats that kernels unpack. */
export type PackedFormat = "f16" | "bf16" | "int8" | "nf4";

/** Whether a format has two elements a word and no scales. */
export function isHalf(format: PackedFormat): format is "f16" | "bf16" {
  return format === "f16" || format === "bf16";
}

/** Type of the binding of a packed matrix; with `vector` its rows start at multiples of four elements. */
export function packedType(format: PackedFormat, vector: boolean): string {
  return `array<${vector && isHalf(format) ? "vec2u" : "u32"}>`;
}

/** `two_halves(w)`: the two elements of a word of f16 or bf16. */
export function twoHalves(format: "f16" | "bf16"): string {
  return format === "f16"
    ? "fn two_halves(w: u32) -> vec2f { return unpack2x16float(w); }"
    : "fn two_halves(w: u32) -> vec2f { return bitcast<vec2f>(vec2u(w << 16u, w & 0xffff0000u)); }";
}

/**
 * `load_x(i)`: four elements from i, a multiple of four with `vector`; `word_x(i)`: one. They read `x_in`, where the
 * first segment of a matrix in blocks begins at word `p.x.base`.
 */
export function packedLoader(name: string, format: PackedFormat, vector: boolean): string {
  const four = [0, 1, 2, 3].map((j) => `word_${name}(i + ${j}u)`).join(", ");
  return wgsl`
${isHalf(format) ? halfLoader(name, format, vector) : blockLoader(name, format)}
#if ${!vector}
fn load_${name}(i: u32) -> vec4f { return vec4f(${four}); }
#elif ${!isHalf(format)}
fn load_${name}(i: u32) -> vec4f { return codes_${name}(i) * scale_${name}(i); }
#endif`;
}

function halfLoader(name: string, format: "f16" | "bf16", vector: boolean): string {
  return wgsl`
${twoHalves(format)}
#if ${vector}
fn load_${name}(i: u32) -> vec4f {
  let w = ${name}_in[i / 4u];
  return vec4f(two_halves(w.x), two_halves(w.y));
}
fn word_${name}(i: u32) -> f32 { return two_halves(${name}_in[i / 4u][i / 2u % 2u])[i % 2u]; }
#else
fn word_${name}(i: u32) -> f32 { return two_halves(${name}_in[i / 2u])[i % 2u]; }
#endif`;
}

// `codes_x(i)`: four values from i, a multiple of four, in units of `scale_x(i)`.
function blockLoader(name: string, format: "int8" | "nf4"): string {
  return wgsl`
#if ${format === "int8"}
fn scale_${name}(i: u32) -> f32 { return bitcast<f32>(${name}_in[p.${name}.base + i / 256u * 68u + i / 64u % 4u]); }
fn codes_${name}(i: u32) -> vec4f {
  return vec4f(unpack4xI8(${name}_in[p.${name}.base + i / 256u * 68u + 4u + i % 256u / 4u]));
}
#else
${nf4Levels()}
${nf4Map()}
fn scale_${name}(i: u32) -> f32 {
  let segment = p.${name}.base + i / 1024u * 136u;
  let c = ${name}_in[segment + 2u + i % 1024u / 256u] >> (8u * (i / 64u % 4u)) & 255u;
  return nf4_map(c) * bitcast<f32>(${name}_in[segment]) + bitcast<f32>(${name}_in[segment + 1u]);
}
fn codes_${name}(i: u32) -> vec4f {
  let w = ${name}_in[p.${name}.base + i / 1024u * 136u + 8u + i % 1024u / 8u] >> (4u * (i & 4u));
  return nf4_levels(vec4u(w >> 4u, w, w >> 12u, w >> 8u));
}
#endif
fn word_${name}(i: u32) -> f32 { return codes_${name}(i & ~3u)[i % 4u] * scale_${name}(i); }`;
}

/** The 16 levels of nf4. */
const LEVELS = [
  ...["-1.0", "-0.6961928009986877", "-0.5250730514526367", "-0.39491748809814453"],
  ...["-0.28444138169288635", "-0.18477343022823334", "-0.09105003625154495", "0.0"],
  ...["0.07958029955625534", "0.16093020141124725", "0.24611230194568634", "0.33791524171829224"],
  ...["0.44070982933044434", "0.5626170039176941", "0.7229568362236023", "1.0"],
];

/** `nf4_levels(q)`: a tree of selections over the four low bits, which needs no memory. */
function nf4Levels(): string {
  const lines: string[] = [];
  let values = LEVELS.map((level) => `vec4f(${level})`);
  for (let bit = 0; values.length > 1; bit++) {
    lines.push(`  let bit${bit} = (q & vec4u(${1 << bit}u)) != vec4u();`);
    values = Array.from({ length: values.length / 2 }, (_, i) => {
      lines.push(`  let v${bit}_${i} = select(${values[2 * i]}, ${values[2 * i + 1]}, bit${bit});`);
      return `v${bit}_${i}`;
    });
  }
  return `fn nf4_levels(q: vec4u) -> vec4f {
${lines.join("\n")}
  return ${values[0]};
}`;
}

// The exponent of m + 0.5 is that of m; powers of ten are put together from the bits of e.
function nf4Map(): string {
  return wgsl`
fn nf4_map(c: u32) -> f32 {
  let signed = i32(c) - 127;
  let m = f32(abs(signed)) + 0.5;
  let e = (bitcast<u32>(m) >> 23u) - 127u;
  let ten = select(1.0, 10.0, (e & 1u) != 0u) * select(1.0, 100.0, (e & 2u) != 0u) * select(1.0, 1e4, (e & 4u) != 0u);
  let mantissa = bitcast<f32>(bitcast<u32>(m) & 0x7fffffu | 0x3f800000u);
  let value = ten * 1e-6 * (0.9 * mantissa - 0.8);
  return select(select(select(value, -value, signed < 0), 0.0, signed == 0), 1.0, signed == 128);
}`;
}
