// The one place that imports the preprocessor: typed, and strict about what enters a template.
// @ts-types="./wgsl_preprocessor.d.ts"
import { wgsl as expand } from "wgsl-preprocessor";

/** What a template may be filled with. */
export type Hole = string | number | boolean;

/**
 * Expand a WGSL template. `#` may only start `#if`, `#elif`, `#else` or `#endif`.
 *
 * @throws {SyntaxError} if a directive is unknown.
 * @throws {TypeError} if a hole is undefined or a number that is not finite.
 *
 * @example Usage
 * ```ts
 * import { wgsl } from "@graft/graft/shaders";
 *
 * const half = true;
 * console.log(wgsl`const SCALE = ${0.5};
 * #if ${half}
 * fn f(x: f32) -> f32 { return x * SCALE; }
 * #endif`);
 * ```
 */
export function wgsl(strings: TemplateStringsArray, ...holes: Hole[]): string {
  const typo = strings.join("").match(/#(?!(?:if|elif|else|endif)\b)\w*/);
  if (typo) throw new SyntaxError(`Cannot expand shader: unknown directive "${typo[0]}"`);
  holes.forEach((hole, i) => {
    if (hole === undefined || (typeof hole === "number" && !Number.isFinite(hole))) {
      const before = strings[i]!.split("\n").at(-1)!.trim();
      throw new TypeError(`Cannot expand shader: the value after "${before}" is ${hole}`);
    }
  });
  return expand(strings, ...holes);
}
