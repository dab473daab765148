// Weights that a method trains in full beside its own tensors, as PEFT names them: modules_to_save, and biases.
//
// PEFT finds modules_to_save by the end of their path, without a dot boundary, and everything below them comes along.

/** PEFT's prefix of every saved tensor. */
export const PREFIX = "base_model.model.";

/** Which biases are trained: none, all of the model, or those of the adapted modules. */
export type BiasRule = "none" | "all" | "lora_only";

/** All of them. */
export const BIAS_RULES: readonly BiasRule[] = ["none", "all", "lora_only"];

/** What is trained in full. */
export interface FullRules {
  readonly modulesToSave: readonly string[];
  readonly bias?: BiasRule;
}

/** The prefix of modules_to_save where the method is no wrapper of modules: prompt, P- and prefix tuning. */
export const PROMPT_PREFIX = "base_model.";

/** The name under which the weight `name` is saved where it is trained in full. */
export function trainedName(
  { modulesToSave, bias = "none" }: FullRules,
  adapted: (path: string) => boolean,
  prefix: string = PREFIX,
): (name: string) => string | undefined {
  return (name) => {
    const path = name.slice(0, name.lastIndexOf("."));
    if (isSaved(modulesToSave, path)) return `${prefix}${name}`;
    if (bias === "none" || !name.endsWith(".bias")) return undefined;
    if (adapted(path)) return `${PREFIX}${path}.base_layer.bias`;
    return bias === "all" ? `${PREFIX}${name}` : undefined;
  };
}

/** Whether the module at `path`, or one that it is a part of, is among modules_to_save. */
export function isSaved(modulesToSave: readonly string[], path: string): boolean {
  if (modulesToSave.length === 0) return false;
  const segments = path.split(".");
  return segments.some((_, i) => {
    const module = segments.slice(0, i + 1).join(".");
    return modulesToSave.some((name) => module.endsWith(name));
  });
}
