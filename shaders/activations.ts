// Activation functions and their derivatives on vectors of four: WGSL functions for elementwise.ts.
//
//   silu(x)  = x·s(x),  s(x) = 1 / (1 + exp(-x))           silu'(x) = s·(1 + x·(1 - s))
//   gelu(x)  = x·Φ(x),  Φ(x) = (1 + erf(x / √2)) / 2       gelu'(x) = Φ + x·exp(-x² / 2) / √(2π)   (arXiv:1606.08415)
//   tanh form of gelu: Φ(x) ≈ (1 + tanh(u)) / 2 = s(2u),   u = √(2/π)·(x + 0.044715·x³)
//
// erf is z·P(z²)/Q(z²) on [-4, 4], the rational approximation of Eigen and XLA: 6.5e-8 off at most.
// Every exponent is clamped to ±80, so that nothing overflows: where it matters the result is 0 or 1 long before.
import { wgsl } from "./wgsl.ts";

/** `logistic(x)`: 1 / (1 + exp(-x)). */
export function logistic(): string {
  return wgsl`
fn logistic(x: vec4f) -> vec4f { return 1.0 / (1.0 + exp(clamp(-x, vec4f(-80.0), vec4f(80.0)))); }`;
}

/** `silu(x)` and its derivative `silu_slope(x)`. */
export function silu(): string {
  return wgsl`
${logistic()}
fn silu(x: vec4f) -> vec4f { return x * logistic(x); }
fn silu_slope(x: vec4f) -> vec4f {
  let s = logistic(x);
  return s * (1.0 + x * (1.0 - s));
}`;
}

/** `gelu(x)` by tanh and its derivative `gelu_slope(x)`. */
export function geluTanh(): string {
  return wgsl`
${logistic()}
const ROOT = ${Math.sqrt(2 / Math.PI)}; // sqrt(2 / pi)
const CUBE = 0.044715;
// Beyond ±20 the curve is 0 or x; the clamp keeps the cube finite.
fn inner(x: vec4f) -> vec4f {
  let z = clamp(x, vec4f(-20.0), vec4f(20.0));
  return 2.0 * ROOT * (z + CUBE * z * z * z);
}
fn gelu(x: vec4f) -> vec4f { return x * logistic(inner(x)); }
fn gelu_slope(x: vec4f) -> vec4f {
  let z = clamp(x, vec4f(-20.0), vec4f(20.0));
  let s = logistic(inner(x));
  return s + z * s * (1.0 - s) * (2.0 * ROOT) * (1.0 + 3.0 * CUBE * z * z);
}`;
}

const NUMERATOR = [
  -1.60960333262415e-02,
  -2.95459980854025e-03,
  -7.34990630326855e-04,
  -5.69250639462346e-05,
  -2.10102402082508e-06,
  2.77068142495902e-08,
  -2.72614225801306e-10,
];
const DENOMINATOR = [
  -1.42647390514189e-02,
  -7.37332916720468e-03,
  -1.68282697438203e-03,
  -2.13374055278905e-04,
  -1.45660718464996e-05,
];

/** Horner's rule, coefficients from the lowest power. */
const polynomial = (coefficients: readonly number[], x: string) =>
  coefficients.reduceRight((inner, c) => inner === "" ? `vec4f(${c})` : `(${inner} * ${x} + ${c})`, "");

/** `gelu(x)` by erf and its derivative `gelu_slope(x)`. */
export function geluErf(): string {
  return wgsl`
fn erf(x: vec4f) -> vec4f {
  let z = clamp(x, vec4f(-4.0), vec4f(4.0));
  let q = z * z;
  return z * ${polynomial(NUMERATOR, "q")} / ${polynomial(DENOMINATOR, "q")};
}
// Below -5.5 the share is under 2e-8, less than the approximation can tell: zero, so that x times it stays small.
fn normal_share(x: vec4f) -> vec4f {
  return select(0.5 + 0.5 * erf(x * ${Math.SQRT1_2}), vec4f(), x < vec4f(-5.5));
}
fn gelu(x: vec4f) -> vec4f { return x * normal_share(x); }
fn gelu_slope(x: vec4f) -> vec4f {
  let z = clamp(x, vec4f(-12.0), vec4f(12.0));
  return normal_share(x) + z * exp(-0.5 * z * z) * ${1 / Math.sqrt(2 * Math.PI)};
}`;
}

/** `bounded_tanh(x)`: tanh, clamped since it is ±1 beyond ±15 and some drivers overflow there; NaN stays NaN. */
export function boundedTanh(): string {
  return wgsl`
fn bounded_tanh(x: vec4f) -> vec4f {
  let y = tanh(clamp(x, vec4f(-15.0), vec4f(15.0)));
  let nan = (bitcast<vec4u>(x) & vec4u(0x7fffffffu)) > vec4u(0x7f800000u);
  return select(y, x, nan);
}`;
}
