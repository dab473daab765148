// Bottleneck adapters (arXiv:1902.00751, 2005.00247, 2110.04366): small layers in the model, before the residual.
//
//   h' = h + s·(act(dropout(h)·Downᵀ + a)·Upᵀ + b)      in sequence: behind a sublayer, reading its output h[N, D]
//   h' = h + s·(act(dropout(x)·Downᵀ + a)·Upᵀ + b)      parallel: beside the feed-forward, reading its input x[N, D]
//
// Down[R, D] ~ U(±1/√D) and Up = 0, so that a fresh adapter changes nothing.
import type { Adapter } from "../nn/adapter.ts";
import type { AdapterInit } from "../nn/scope.ts";
import { activation } from "../nn/activation.ts";
import { dropout } from "../ops/dropout.ts";
import { add, scale } from "../ops/elementwise.ts";
import { linear } from "../ops/matmul.ts";
import type { BottleneckConfig } from "./bottleneck_config.ts";
import { PREFIX, trainedName } from "./full.ts";
import type { Mode } from "./lora.ts";

/** Bottleneck adapters as a method. */
export function bottleneckAdapter(config: BottleneckConfig, mode: Mode): Adapter {
  const { placement, reductionFactor } = config;
  return {
    type: "GRAFT_BOTTLENECK",
    adapts: () => false,
    trains: trainedName(config, () => false),
    branch({ kind, path, m, D }, h, x) {
      if (kind === "attention" && placement !== "houlsby") return h;
      const { leaves, graph } = m;
      const R = Math.max(1, Math.floor(D / reductionFactor));
      const layer = (name: string, In: number, Out: number, init: AdapterInit) => ({
        weight: leaves.param(graph, `${PREFIX}${path}.bottleneck.${name}.weight`, [Out, In], init),
        bias: leaves.param(graph, `${PREFIX}${path}.bottleneck.${name}.bias`, [Out], { kind: "zeros" }),
      });
      const down = layer("down", D, R, { kind: "uniform", bound: 1 / Math.sqrt(D) });
      const up = layer("up", R, D, { kind: "zeros" });
      const read = placement === "parallel" ? x : h;
      const p = mode === "train" ? config.dropout : 0;
      const input = p > 0
        ? dropout(read, leaves.scalars(graph), { p, stream: leaves.stream(`${path}.bottleneck`) })
        : read;
      const inner = activation(config.activation, linear(input, down.weight, { bias: down.bias }));
      const added = linear(inner, up.weight, { bias: up.bias });
      return add(h, config.scale === 1 ? added : scale(added, config.scale));
    },
  };
}
