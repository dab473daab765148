// Settings of a method as one table: the name in adapter_config.json, the default, and what a value must be. Reading,
// checking and writing follow from it. What all methods have in common is here.
import { ConfigError, printable } from "../core/errors.ts";
import type { ModuleNames } from "./targets.ts";

/** One setting. */
export interface Field<T> {
  /** Name in adapter_config.json. */
  readonly json: string;
  readonly default: T;
  /** What a value must be, such as `"true or false"`. */
  readonly must: string;
  readonly ok: (value: unknown) => boolean;
}

/** Every method's settings. */
export interface ConfigBase {
  /** `peft_type`. */
  readonly type: string;
  /** Fields of the file that Graft does not know; kept when it is written again. */
  readonly unknown: Readonly<Record<string, unknown>>;
}

/** A field for each setting of the file; settings that may be undefined come from the model. */
export type FieldsOf<C extends ConfigBase> = {
  readonly [K in keyof C as undefined extends C[K] ? never : K extends keyof ConfigBase ? never : K]: Field<C[K]>;
};

/** What adapter_config.json says beside the method's own settings. */
export interface AdapterContext {
  readonly baseModel: string | null;
  readonly taskType: string | null;
  /** Whether the targets are stored [In, Out] (GPT-2). */
  readonly fanInFanOut: boolean;
}

/** A method's settings and their file. */
export interface ConfigFile<C> {
  /** Settings with their defaults. */
  readonly create: (options: Partial<C>) => C;
  /** Settings of an adapter_config.json. */
  readonly fromJson: (json: Readonly<Record<string, unknown>>) => C;
  /** The fields of adapter_config.json. */
  readonly toJson: (config: C, context: AdapterContext) => Record<string, unknown>;
}

const COMMON =
  "peft_type task_type auto_mapping base_model_name_or_path revision inference_mode peft_version fan_in_fan_out"
    .split(" ");

/** Options of {@linkcode configFile}. */
export interface ConfigFileOptions<C> {
  /** What errors call the settings, such as `"IA3"`. */
  readonly title: string;
  /** Fields of PEFT that mean nothing here; read and not kept. */
  readonly ignored?: readonly string[];
  /** What is wrong with settings that are each right. */
  readonly problems?: (config: C) => readonly (readonly [field: string, text: string])[];
  /** Whether the file says how the targets are stored. */
  readonly fanInFanOut?: boolean;
}

/** The file of a method whose settings are described by `fields`. */
export function configFile<C extends ConfigBase>(
  type: C["type"],
  fields: FieldsOf<C>,
  { title, ignored = [], problems = () => [], fanInFanOut = false }: ConfigFileOptions<C>,
): ConfigFile<C> {
  const entries = Object.entries(fields) as [keyof C & string, Field<unknown>][];
  const known = new Set([...COMMON, ...ignored, ...entries.map(([, { json }]) => json)]);
  const check = (config: C): C => {
    const wrong = entries
      .filter(([key, { ok }]) => !ok(config[key]))
      .map(([key, { json, must }]) => [json, `must be ${must}: received ${JSON.stringify(config[key]) ?? "nothing"}`]);
    const all = wrong.length > 0 ? wrong : problems(config);
    const [first] = all;
    if (!first) return config;
    throw new ConfigError(
      `adapter/${first[0]}`,
      `these ${title} settings`,
      all.map(([field, text]) => `"${field}" ${printable(text!)}`),
    );
  };
  const defaults = Object.fromEntries(entries.map(([key, field]) => [key, field.default]));
  return {
    create: (options) => check({ type, ...defaults, unknown: {}, ...options } as unknown as C),
    fromJson: (json) =>
      check({
        type,
        // null means the default in PEFT's files, as a missing field does.
        ...Object.fromEntries(entries.map(([key, field]) => [key, json[field.json] ?? field.default])),
        unknown: Object.fromEntries(Object.entries(json).filter(([key]) => !known.has(key))),
      } as unknown as C),
    toJson: (config, context) => ({
      ...config.unknown,
      auto_mapping: null,
      base_model_name_or_path: context.baseModel,
      inference_mode: true,
      peft_type: type,
      revision: null,
      task_type: context.taskType,
      ...(fanInFanOut ? { fan_in_fan_out: context.fanInFanOut } : {}),
      ...Object.fromEntries(entries.map(([key, field]) => [field.json, emptyIsNull(config[key])])),
    }),
  };
}

/** PEFT writes null where there is no list of names. */
function emptyIsNull(value: unknown): unknown {
  return Array.isArray(value) && value.length === 0 ? null : value;
}

function isNumber(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

/** A whole number of at least `min`. */
export function count(json: string, value: number, min = 1): Field<number> {
  const ok = (x: unknown) => isNumber(x) && Number.isInteger(x) && x >= min && x <= 2 ** 24;
  return { json, default: value, must: `a whole number of at least ${min}`, ok };
}

/** A whole number of at least 1 that the model gives where it is null. */
export function countOrNull(json: string): Field<number | null> {
  const { must, ok } = count(json, 1);
  return { json, default: null, must, ok: (x) => x === null || ok(x) };
}

/** A number. */
export function real(json: string, value: number): Field<number> {
  return { json, default: value, must: "a number", ok: isNumber };
}

/** A share in [0, 1). */
export function share(json: string, value = 0): Field<number> {
  return { json, default: value, must: "in [0, 1)", ok: (x) => isNumber(x) && x >= 0 && x < 1 };
}

/** True or false. */
export function flag(json: string, value: boolean): Field<boolean> {
  return { json, default: value, must: "true or false", ok: (x) => typeof x === "boolean" };
}

/** One of several names. */
export function oneOf<T extends string>(json: string, known: readonly T[], value: NoInfer<T>): Field<T> {
  const must = known.map((name) => `"${name}"`).join(" or ");
  return { json, default: value, must, ok: (x) => known.some((name) => name === x) };
}

/** A text, or null. */
export function text(json: string): Field<string | null> {
  return { json, default: null, must: "a string", ok: (x) => x === null || typeof x === "string" };
}

/** Names of modules, or a regular expression. */
export function modules(json: string): Field<ModuleNames> {
  const ok = (x: unknown) => (Array.isArray(x) ? x : [x]).every((name) => typeof name === "string");
  return { json, default: [], must: "a string or a list of strings", ok };
}

/** A list of names. */
export function names(json: string): Field<readonly string[]> {
  const ok = (x: unknown) => Array.isArray(x) && x.every((name) => typeof name === "string");
  return { json, default: [], must: "a list of names", ok };
}

/** Layer numbers: one, several, or null for all. */
export function layers(json: string): Field<number | readonly number[] | null> {
  const one = count(json, 0, 0).ok;
  const ok = (x: unknown) => x === null || (Array.isArray(x) ? x : [x]).every(one);
  return { json, default: null, must: "a layer number or a list of them", ok };
}
