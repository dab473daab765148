/**
 * WGSL as pure functions from options to text, forward and gradient in one file each.
 *
 * @example Usage
 * ```ts
 * import { elementwise } from "@graft/graft/shaders";
 *
 * const text = elementwise({ reads: ["a", "b"], expression: "a + b" });
 * console.log(text.includes("@compute")); // true
 * ```
 *
 * @module
 */
export { elementwise, ELEMENTWISE_LANES, type ElementwiseOptions } from "./elementwise.ts";
export { flatWorkgroup } from "./lib/index.ts";
export { type Hole, wgsl } from "./wgsl.ts";
