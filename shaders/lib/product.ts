// What all matrix products share: where matrices lie, the uniform, and the names of the bindings.
//
// Bindings in order: a, b, (bias), (add), (low a, low b), c, p. Every operand is bound as `array<f32>` or, where its
// strides, offsets and contiguous size allow it, as `array<vec4f>`; b may be packed (lib/packed.ts).
import { wgsl } from "../wgsl.ts";
import { type PackedFormat, packedLoader, packedType } from "./packed.ts";

/** What a product's text depends on, whatever the kernel. */
export interface ProductFeatures {
  /** a is stored [K, M]. */
  readonly ta: boolean;
  /** b is stored [N, K]. */
  readonly tb: boolean;
  /** Operands that are read and written as vectors of four words. */
  readonly vectors: { readonly a: boolean; readonly b: boolean; readonly c: boolean };
  /** Format of b where it is not f32. */
  readonly packed?: PackedFormat;
  /** Tiles reach beyond the last row or column of c. */
  readonly edge: boolean;
  /** A bias[N] is added. */
  readonly bias: boolean;
  /** A matrix like c is added. */
  readonly add: boolean;
  /** What is done to every element last. */
  readonly then?: ThenText;
  /** The result is added to what c holds. */
  readonly accumulate: boolean;
  /** Only the shares of the sums are read, as a: there is no b. */
  readonly shares?: boolean;
  /** A second product low_a[M, R] · low_b[R, N]; with `tb`, low_b is stored [N, R]. */
  readonly low?: { readonly tb: boolean; readonly vectors: { readonly a: boolean; readonly b: boolean } };
  /** Several products of own sizes and places, one for each inner batch entry. */
  readonly parts: boolean;
}

/** WGSL on `vec4f`: the result so far and the matrix that is read, by the names that the expression has for them. */
export interface ThenText {
  readonly expression: string;
  /** WGSL functions that the expression calls. */
  readonly functions: string;
  readonly result: string;
  /** Set if there is a matrix, which then is not added. */
  readonly other?: string;
}

/** Words of the uniform: three vectors, six matrices, one vector. */
export const PRODUCT_UNIFORM_WORDS = 64;

/** Products side by side in one dispatch at most, and words of each: they follow in the uniform. */
export const MOST_PARTS = 4, PART_WORDS = 12;

/**
 * Structures, bindings, and the functions that find a matrix of a batch and put a result in place.
 * Sums are in units of alpha: the low product counts `low_ratio` = low alpha / alpha.
 */
export function productPrelude(features: ProductFeatures): string {
  const { vectors, packed, bias, add, low, parts, shares = false } = features;
  const type = (vector: boolean) => `array<${vector ? "vec4f" : "f32"}>`;
  const reads = [
    `a_in: ${type(vectors.a)}`,
    ...(shares ? [] : [`b_in: ${packed ? packedType(packed, vectors.b) : type(vectors.b)}`]),
    ...(bias ? [`bias_in: ${type(vectors.c)}`] : []),
    ...(add ? [`add_in: ${type(vectors.c)}`] : []),
    ...(low ? [`low_a_in: ${type(low.vectors.a)}`, `low_b_in: ${type(low.vectors.b)}`] : []),
  ];
  const declarations = reads.map((text, i) => `@group(0) @binding(${i}) var<storage, read> ${text};`).join("\n");
  return wgsl`
struct Matrix { offset: u32, stride: u32, outer: u32, inner: u32, group: u32, repeat: u32, base: u32, unused: u32 }
// Sizes of one product, and words to add to where its matrices start.
struct Part { M: u32, N: u32, K: u32, R: u32, a: u32, b: u32, c: u32, low_a: u32, low_b: u32, bias: u32, unused: vec2u }
struct P {
  M: u32, N: u32, K: u32, alpha: f32,
  inner: u32, repeat: u32, causal: u32, bias: u32,
  m_base: u32, n_base: u32, k_base: u32, low_batches: u32,
  a: Matrix, b: Matrix, c: Matrix, add: Matrix, low_a: Matrix, low_b: Matrix,
  R: u32, low_ratio: f32, reserved: vec2u,
#if ${parts}
  parts: array<Part, ${MOST_PARTS}>,
#endif
}
${declarations}
@group(0) @binding(${reads.length}) var<storage, read_write> c_out: ${type(vectors.c)};
@group(0) @binding(${reads.length + 1}) var<uniform> p: P;

// Summands of the low product: of a product cut into shares, only the first batch has them.
fn low_summands(batch: u32) -> u32 { return select(0u, part_of(batch).R, batch < p.low_batches); }
fn part_of(batch: u32) -> Part {
#if ${parts}
  return p.parts[batch % p.inner];
#else
  return Part(p.M, p.N, p.K, p.R, 0u, 0u, 0u, 0u, 0u, p.bias, vec2u());
#endif
}
fn start(x: Matrix, batch: u32) -> u32 {
  return x.offset + batch / p.inner * x.outer + batch % p.inner / x.group * x.inner;
}
${epilogue(features)}`;
}

// `finish` puts alpha · value (+ bias) (+ add) (+ c) at row m and column n of c; `finish4` at four columns. Last comes
// `then`, on vectors: where c is none, on four copies of a number. Kernels that store many rows read what the rows share
// before the first store, as a store may change whatever is read after it: `home`, `bias` (`bias4`), then `put` (`put4`).
function epilogue({ vectors, edge, bias, add, then, accumulate }: ProductFeatures): string {
  const type = vectors.c ? "vec4f" : "f32";
  const wide = vectors.c ? "4" : "";
  const step = vectors.c ? " / 4u" : "";
  const other = `add_in[(at.add + m * at.add_stride + n)${step}]`;
  const vector = (value: string) => vectors.c ? value : `vec4f(${value})`;
  return wgsl`
#if ${then !== undefined}
${then?.functions ?? ""}
fn follow(${then?.result ?? ""}: vec4f${then?.other ? `, ${then.other}: vec4f` : ""}) -> vec4f {
  return ${then?.expression ?? ""};
}
#endif
struct Home { c: u32, c_stride: u32, add: u32, add_stride: u32, bias: u32, M: u32, N: u32, alpha: f32 }
fn home(batch: u32) -> Home {
  let part = part_of(batch);
  let c = start(p.c, batch) + part.c;
  return Home(c, p.c.stride, start(p.add, batch) + part.c, p.add.stride, part.bias, part.M, part.N, p.alpha);
}
fn bias${wide}(at: Home, n: u32) -> ${type} {
#if ${bias}
  return bias_in[(at.bias + n)${step}];
#else
  return ${type}();
#endif
}
fn put${wide}(sum: ${type}, at: Home, m: u32, n: u32) {
#if ${edge}
  if (m >= at.M || n >= at.N) { return; }
#endif
  let i = (at.c + m * at.c_stride + n)${step};
  var y = sum;
#if ${add && !then}
  y += ${other};
#endif
#if ${accumulate}
  y += c_out[i];
#endif
#if ${then !== undefined}
  y = follow(${vector("y")}${add ? `, ${vector(other)}` : ""})${vectors.c ? "" : ".x"};
#endif
  c_out[i] = y;
}
fn finish${wide}(value: ${type}, at: Home, m: u32, n: u32) {
  put${wide}(at.alpha * value + bias${wide}(at, n), at, m, n);
}
#if ${!vectors.c}
fn bias4(at: Home, n: u32) -> vec4f {
  return vec4f(bias(at, n), bias(at, n + 1u), bias(at, n + 2u), bias(at, n + 3u));
}
fn put4(sum: vec4f, at: Home, m: u32, n: u32) {
  put(sum.x, at, m, n);
  put(sum.y, at, m, n + 1u);
  put(sum.z, at, m, n + 2u);
  put(sum.w, at, m, n + 3u);
}
fn finish4(value: vec4f, at: Home, m: u32, n: u32) { put4(at.alpha * value + bias4(at, n), at, m, n); }
#endif`;
}

/** `load_x(i)`: four elements from i, a multiple of four where x is bound as vectors; `word_x(i)`: one. */
export function productLoader(name: string, vector: boolean, packed?: PackedFormat): string {
  if (packed) return packedLoader(name, packed, vector);
  return wgsl`
#if ${vector}
fn load_${name}(i: u32) -> vec4f { return ${name}_in[i / 4u]; }
fn word_${name}(i: u32) -> f32 { return ${name}_in[i / 4u][i % 4u]; }
#else
fn load_${name}(i: u32) -> vec4f { return vec4f(${name}_in[i], ${name}_in[i + 1u], ${name}_in[i + 2u], ${name}_in[i + 3u]); }
fn word_${name}(i: u32) -> f32 { return ${name}_in[i]; }
#endif`;
}

/** Text for each of `count` numbers. */
export function unroll(count: number, text: (i: number) => string): string {
  return Array.from({ length: count }, (_, i) => text(i)).join("\n");
}
