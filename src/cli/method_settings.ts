// Fine-tuning methods on the command line: their names, their settings, and the adapter that these make.
import { adalora } from "../adapters/adalora_config.ts";
import { bitfit } from "../adapters/bitfit_config.ts";
import { bottleneck } from "../adapters/bottleneck_config.ts";
import { ia3 } from "../adapters/ia3_config.ts";
import { lnTuning } from "../adapters/ln_tuning_config.ts";
import { lora } from "../adapters/lora_config.ts";
import type { AdapterConfig } from "../adapters/mod.ts";
import { pTuning } from "../adapters/p_tuning_config.ts";
import { prefixTuning } from "../adapters/prefix_tuning_config.ts";
import { promptTuning } from "../adapters/prompt_tuning_config.ts";
import type { ModuleNames } from "../adapters/targets.ts";
import { vera } from "../adapters/vera_config.ts";
import { choice, count, flag, flagName, list, quoted, real, type Settings, text } from "./settings.ts";

/** Methods by name. */
export const METHODS = [
  ...["lora", "dora", "adalora", "vera", "ia3", "ln-tuning", "bitfit"] as const,
  ...["prompt-tuning", "p-tuning", "prefix-tuning", "bottleneck", "full"] as const,
] as const;

/** A name of {@linkcode METHODS}. */
export type MethodName = typeof METHODS[number];

/** Positions in front where none are asked for. */
export const VIRTUAL_TOKENS = 20;

/** The fields. */
export const methodFields = {
  method: choice("what is trained: an adapter of this kind, or all weights", METHODS, { default: "lora" }),
  rank: count("rank of the adapter (8, vera 256)", { min: 1, max: 65536 }),
  initialRank: count("adalora: rank at the start, of which rank is left in the mean (1.5 times)", {
    min: 1,
    max: 65536,
  }),
  alpha: real("the adapter is scaled by alpha / rank", { default: 16 }),
  dropout: real("share of the adapter's input that is dropped", { default: 0, min: 0, below: 1 }),
  rslora: flag("scale by alpha / √rank instead"),
  init: choice(
    "how the factors start (uniform A, zero B); pissa and olora start from the base's weights",
    ["gaussian", "orthogonal", "pissa", "pissa_niter_4", "pissa_niter_16", "olora"],
    { placeholder: "NAME" },
  ),
  targetModules: text("modules to adapt: a,b, all-linear, or a regular expression (the family's usual ones)", {
    placeholder: "NAMES",
  }),
  feedforwardModules: list("ia3: those of the targets whose inputs are scaled"),
  bias: choice("biases of the base that are trained too", ["none", "all", "targets"], { default: "none" }),
  loraBias: flag("lora: give B a bias of its own"),
  trainableTokens: list("tokens, by their ids, whose vectors are trained by themselves", { placeholder: "IDS" }),
  modulesToSave: list("modules of the base that are trained in full, such as lm_head"),
  virtualTokens: count("positions in front of every sequence", { default: VIRTUAL_TOKENS, min: 1 }),
  promptInit: choice("prompt-tuning: what the first vectors are", ["vocabulary", "text", "random"], {
    default: "vocabulary",
  }),
  promptText: text("prompt-tuning: the text whose vectors are the first ones"),
  encoderWidth: count("p-tuning, prefix-tuning: width of the layers that make the vectors (the model's)", { min: 1 }),
  prefixProjection: flag("prefix-tuning: make the prefixes by two layers"),
  placement: choice("bottleneck: where the layers are", ["houlsby", "pfeiffer", "parallel"], { default: "pfeiffer" }),
  reductionFactor: real("bottleneck: width of the model by that of the layers (16, parallel 2)", { min: 1 }),
};

/** The settings. */
export type MethodSettings = Settings<typeof methodFields>;

const LOW_RANK = ["lora", "dora"] as const;
const TARGETED = [...LOW_RANK, "adalora", "vera", "ia3", "ln-tuning", "bitfit"] as const;
const PROMPTS = ["prompt-tuning", "p-tuning", "prefix-tuning"] as const;

/** The methods that a setting is for. */
const MEANT_FOR: { readonly [K in Exclude<keyof MethodSettings, "method">]: readonly MethodName[] } = {
  rank: [...LOW_RANK, "adalora", "vera"],
  initialRank: ["adalora"],
  alpha: [...LOW_RANK, "adalora"],
  dropout: [...LOW_RANK, "adalora", "vera", "bottleneck"],
  rslora: LOW_RANK,
  init: LOW_RANK,
  targetModules: TARGETED,
  feedforwardModules: ["ia3"],
  bias: [...LOW_RANK, "adalora", "vera"],
  loraBias: ["lora"],
  trainableTokens: LOW_RANK,
  modulesToSave: METHODS.filter((name) => name !== "full"),
  virtualTokens: PROMPTS,
  promptInit: ["prompt-tuning"],
  promptText: ["prompt-tuning"],
  encoderWidth: ["p-tuning", "prefix-tuning"],
  prefixProjection: ["prefix-tuning"],
  placement: ["bottleneck"],
  reductionFactor: ["bottleneck"],
};

/** Settings that are given and mean nothing with the method. */
export function methodProblems(given: Partial<MethodSettings>): string[] {
  const method = given.method ?? "lora";
  const entries = Object.entries(MEANT_FOR) as [keyof typeof MEANT_FOR, readonly MethodName[]][];
  const problems = entries
    .filter(([name, methods]) => given[name] !== undefined && !methods.includes(method))
    .map(([name]) => `--${flagName(name)} has no meaning with --method ${method}`);
  if (given.promptInit === "text" && given.promptText === undefined) {
    problems.push("--prompt-init text needs --prompt-text");
  }
  const noIds = (given.trainableTokens ?? []).filter((id) => !/^\d+$/.test(String(id)));
  if (noIds.length > 0) {
    problems.push(`--trainable-tokens must be ids of tokens: received ${noIds.map(quoted).join(", ")}`);
  }
  return problems;
}

/** The settings without those that mean nothing with the method. */
export function meaningful<S extends MethodSettings>(settings: S): S {
  const entries = Object.entries(settings).filter(([name]) =>
    !(name in MEANT_FOR) || MEANT_FOR[name as keyof typeof MEANT_FOR].includes(settings.method)
  );
  return Object.fromEntries(entries) as S;
}

/** The adapter that the settings describe; undefined where all weights are trained. */
export function methodConfig(settings: MethodSettings): AdapterConfig | undefined {
  const { method, rank, alpha, dropout, rslora, bias, modulesToSave, virtualTokens, encoderWidth } = settings;
  const targetModules = targetNames(settings.targetModules) ?? [];
  switch (method) {
    case "full":
      return undefined;
    case "lora":
    case "dora": {
      const trained = bias === "targets" ? "lora_only" : bias;
      const options = { rank: rank ?? 8, alpha, dropout, rslora, bias: trained, targetModules, modulesToSave } as const;
      const tokens = settings.trainableTokens.map(Number);
      const more = { loraBias: settings.loraBias, trainableTokens: tokens.length > 0 ? tokens : null };
      return lora({ ...options, ...more, dora: method === "dora", ...(settings.init ? { init: settings.init } : {}) });
    }
    case "adalora": {
      const trained = bias === "targets" ? "lora_only" : bias;
      const { initialRank = Math.ceil(1.5 * (rank ?? 8)) } = settings;
      const ranks = { targetRank: rank ?? 8, initialRank };
      return adalora({ ...ranks, alpha, dropout, bias: trained, targetModules, modulesToSave });
    }
    case "vera": {
      const trained = bias === "targets" ? "vera_only" : bias;
      return vera({ ...(rank === undefined ? {} : { rank }), dropout, bias: trained, targetModules, modulesToSave });
    }
    case "ia3":
      return ia3({ targetModules, feedforwardModules: settings.feedforwardModules, modulesToSave });
    case "ln-tuning":
      return lnTuning({ targetModules, modulesToSave });
    case "bitfit":
      return bitfit({ targetModules, modulesToSave });
    case "prompt-tuning": {
      const { promptText: initText = null, promptInit } = settings;
      const named = { vocabulary: "SAMPLE_VOCAB", text: "TEXT", random: "RANDOM" } as const;
      return promptTuning({
        virtualTokens,
        modulesToSave,
        initText,
        init: initText === null ? named[promptInit] : "TEXT",
      });
    }
    case "p-tuning":
      return pTuning({ virtualTokens, modulesToSave, encoderWidth: encoderWidth ?? null });
    case "prefix-tuning": {
      const { prefixProjection: projection } = settings;
      return prefixTuning({ virtualTokens, modulesToSave, projection, encoderWidth: encoderWidth ?? null });
    }
    case "bottleneck": {
      const { placement, reductionFactor } = settings;
      return bottleneck({ placement, dropout, modulesToSave, ...(reductionFactor ? { reductionFactor } : {}) });
    }
  }
}

/** `a,b` is a list of names; `all-linear`, and anything with the signs of a regular expression, is left as it is. */
function targetNames(names: string | undefined): ModuleNames | undefined {
  if (names === undefined || names === "all-linear" || /[\\^$*+?()[\]{}|]/.test(names)) return names;
  return names.split(",").map((name) => name.trim()).filter((name) => name !== "");
}

/** The targets as `--target-modules` takes them. */
export function targetText(config: AdapterConfig | undefined): string | undefined {
  if (!config || !("targetModules" in config) || config.targetModules.length === 0) return undefined;
  const targets: ModuleNames = config.targetModules;
  return typeof targets === "string" ? targets : targets.join(",");
}
