// VeRA (arXiv:2310.11454): low-rank updates whose two projections are random, frozen and shared by all targets.
//
//   y  = x·Wᵀ + b ⊙ ((d ⊙ (dropout(x)·Aᵀ))·Bᵀ)      A[R, max In], B[max Out, R] ~ U(±√6 / √fan_in); a target takes the
//   W' = W + (b ⊙ B)·(d ⊙ A)                         first In columns of A and the first Out rows of B; d = 0.1, b = 0
import type { Value } from "../graph/graph.ts";
import type { Adapter, LinearSite } from "../nn/adapter.ts";
import type { AdapterInit, ModelScope, SiteInfo } from "../nn/scope.ts";
import { sliceColumns } from "../ops/slice_columns.ts";
import { dropout } from "../ops/dropout.ts";
import { add } from "../ops/elementwise.ts";
import { matmul } from "../ops/matmul.ts";
import { scaleColumns, scaleRows } from "../ops/scale_columns.ts";
import { PREFIX, trainedName } from "./full.ts";
import type { Mode } from "./lora.ts";
import { type Base, resolveTargets } from "./resolve.ts";
import { targetMatcher } from "./targets.ts";
import type { VeraConfig } from "./vera_config.ts";

/** The settings with the targets of this model, and the widths of the projections that they share. */
export function resolveVera(config: VeraConfig, base: Base): VeraConfig {
  const resolved = resolveTargets(config, base);
  const sites = base.modules.filter(veraAdapter(resolved, "eval").adapts);
  const most = (key: "In" | "Out") => Math.max(...sites.map((site) => site[key]));
  return { ...resolved, size: { In: most("In"), Out: most("Out") } };
}

/** VeRA as a method. */
export function veraAdapter(config: VeraConfig, mode: Mode): Adapter {
  const { rank: R, bias, projectionKey: seed } = config;
  const matches = targetMatcher(config);
  const projections = ({ leaves, graph }: ModelScope, { In, Out }: SiteInfo) => {
    const size = config.size ?? { In, Out };
    const uniform = (fan: number): AdapterInit => ({ kind: "uniform", bound: Math.sqrt(6 / fan) });
    const a = leaves.frozen(graph, "base_model.vera_A", [R, size.In], uniform(size.In), { seed });
    const b = leaves.frozen(graph, "base_model.vera_B", [size.Out, R], uniform(R), { seed });
    const rows = graph.leaf("weight", `${b.name} ${Out}`, [Out, R], { within: { parent: b, offset: 0 } });
    return { a: sliceColumns(a, { width: In }), b: rows };
  };
  const factors = ({ m: { leaves, graph }, path, Out }: LinearSite) => {
    const d: AdapterInit = { kind: "constant", value: config.dInitial };
    return {
      d: leaves.param(graph, `${PREFIX}${path}.vera_lambda_d`, [R], d),
      b: leaves.param(graph, `${PREFIX}${path}.vera_lambda_b`, [Out], { kind: "zeros" }),
    };
  };
  return {
    type: "VERA",
    adapts: (site) => (site.kind ?? "linear") === "linear" && matches(site),
    trains: trainedName(
      { modulesToSave: config.modulesToSave, bias: bias === "vera_only" ? "lora_only" : bias },
      (path) => matches({ path, In: 0, Out: 0, transposed: false, output: false }),
    ),
    linear(site, x) {
      const { a, b } = projections(site.m, site), by = factors(site);
      const { leaves, graph } = site.m;
      const p = mode === "train" ? config.dropout : 0;
      const dropped = p > 0 ? dropout(x, leaves.scalars(graph), { p, stream: leaves.stream(site.path) }) : x;
      const h = scaleColumns(matmul(dropped, a, { tb: true }), by.d);
      return add(site.base(x), scaleColumns(matmul(h, b, { tb: true }), by.b));
    },
    merge(site) {
      const { a, b } = projections(site.m, site), by = factors(site);
      const [down, up]: readonly Value[] = [scaleRows(a, by.d), scaleRows(b, by.b)];
      const delta = site.transposed ? matmul(down!, up!, { ta: true, tb: true }) : matmul(up!, down!);
      return { weight: add(site.weight, delta) };
    },
  };
}
