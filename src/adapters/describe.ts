// A method's settings in one line, for people.
import { printable } from "../core/errors.ts";
import type { AdapterConfig } from "./mod.ts";
import type { ModuleNames } from "./targets.ts";

/** Such as `"LoRA, rank 8, alpha 16 (scale 2)"`. */
export function describeAdapter(config: AdapterConfig): string {
  switch (config.type) {
    case "LORA": {
      const { rank, alpha, rslora } = config;
      const scale = Number((rslora ? alpha / Math.sqrt(rank) : alpha / rank).toPrecision(4));
      return `${config.dora ? "DoRA" : "LoRA"}, rank ${rank}, alpha ${alpha} (scale ${scale}${
        rslora ? ", rsLoRA" : ""
      })`;
    }
    case "ADALORA":
      return `AdaLoRA, rank ${config.initialRank} at first, ${config.targetRank} in the mean at the end`;
    case "IA3":
      return "IA3";
    case "VERA":
      return `VeRA, rank ${config.rank}`;
    case "LN_TUNING":
      return "LayerNorm tuning";
    case "GRAFT_BITFIT":
      return "BitFit (Graft's own file; PEFT has no such method)";
    case "PROMPT_TUNING":
      return `prompt tuning, ${config.virtualTokens} virtual tokens`;
    case "P_TUNING":
      return `P-tuning, ${config.virtualTokens} virtual tokens`;
    case "PREFIX_TUNING":
      return `prefix tuning, ${config.virtualTokens} virtual tokens${config.projection ? ", projected" : ""}`;
    case "GRAFT_BOTTLENECK": {
      const { placement, reductionFactor } = config;
      return `bottleneck adapters, ${placement}, width / ${reductionFactor} (Graft's own file; PEFT has no such method)`;
    }
  }
}

/** Names of the targets, for methods that have some. */
export function describeTargets(config: AdapterConfig): string | undefined {
  if (!("targetModules" in config)) return undefined;
  const targets: ModuleNames = config.targetModules;
  return printable(typeof targets === "string" ? targets : targets.join(", "));
}
