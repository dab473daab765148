// AdaLoRA (arXiv:2303.10512): an update in the form of a singular value decomposition whose ranks are shared out in
// training, as PEFT computes it.
//
//   y  = x·Wᵀ + s·(E ⊙ (dropout(x)·Aᵀ))·Bᵀ       A[R, In], B[Out, R] ~ N(0, 0.02²), E[R] = 0, s = alpha / (R + 1e-5)
//   W' = W + s·B·(E ⊙ A)                          loss += w·mean(‖A·Aᵀ − I‖, ‖B·Bᵀ − I‖ of all targets)
//
// R of the scale stays the initial rank. Ranks that are taken away have E = 0; the file leaves them out.
import type { Value } from "../graph/graph.ts";
import type { Adapter, LinearSite } from "../nn/adapter.ts";
import type { AdapterInit, ModelScope } from "../nn/scope.ts";
import { squareRoot } from "../ops/activations.ts";
import { dropout } from "../ops/dropout.ts";
import { add, multiply, scale } from "../ops/elementwise.ts";
import { matmul } from "../ops/matmul.ts";
import { scaleColumns, scaleRows } from "../ops/scale_columns.ts";
import { sum } from "../ops/sum.ts";
import type { AdaloraConfig } from "./adalora_config.ts";
import { PREFIX, trainedName } from "./full.ts";
import type { Mode } from "./lora.ts";
import { targetMatcher } from "./targets.ts";

/** Names of the tensors of the module at `path`. */
export function adaloraNames(path: string): { readonly a: string; readonly b: string; readonly e: string } {
  const name = (tensor: string) => `${PREFIX}${path}.lora_${tensor}`;
  return { a: name("A"), b: name("B"), e: name("E") };
}

const FIRST: AdapterInit = { kind: "normal", std: 0.02 };

/** AdaLoRA as a method. */
export function adaloraAdapter(config: AdaloraConfig, mode: Mode): Adapter {
  const { initialRank: R, alpha, init, bias } = config;
  const s = (alpha > 0 ? alpha : R) / (R + 1e-5);
  const matches = targetMatcher(config);
  const built = new Map<string, readonly [a: Value, b: Value]>();
  const factors = ({ m: { leaves, graph }, path, In, Out }: LinearSite) => {
    const names = adaloraNames(path);
    const first: AdapterInit = init ? FIRST : { kind: "normal", std: 1 };
    const a = leaves.param(graph, names.a, [R, In], first), b = leaves.param(graph, names.b, [Out, R], first);
    built.set(path, [a, b]);
    return { a, b, e: leaves.param(graph, names.e, [R, 1], init ? { kind: "zeros" } : first) };
  };
  return {
    type: "ADALORA",
    adapts: (site) => (site.kind ?? "linear") === "linear" && matches(site),
    trains: trainedName(
      { modulesToSave: config.modulesToSave, bias },
      (path) => matches({ path, In: 0, Out: 0, transposed: false, output: false }),
    ),
    linear(site, x) {
      const { a, b, e } = factors(site);
      const { leaves, graph } = site.m;
      const p = mode === "train" ? config.dropout : 0;
      const dropped = p > 0 ? dropout(x, leaves.scalars(graph), { p, stream: leaves.stream(site.path) }) : x;
      const h = scaleColumns(matmul(dropped, a, { tb: true }), e);
      return add(site.base(x), matmul(h, b, { tb: true, alpha: s }));
    },
    merge(site) {
      const { a, b, e } = factors(site);
      const down = scaleRows(a, e);
      const delta = site.transposed ? matmul(down, b, { ta: true, tb: true, alpha: s }) : matmul(b, down, { alpha: s });
      return { weight: add(site.weight, delta) };
    },
    penalty({ leaves, graph }: ModelScope) {
      const minus = leaves.constant(
        graph,
        `minus identity ${R}`,
        [R, R],
        () => Float32Array.from({ length: R * R }, (_, i) => i % (R + 1) === 0 ? -1 : 0),
      );
      const norms = [...built.values()].flatMap(([a, b]) =>
        [matmul(a, a, { tb: true }), matmul(b, b, { ta: true })].map((product) => {
          const apart = add(product, minus);
          return squareRoot(sum(multiply(apart, apart)));
        })
      );
      return scale(norms.reduce((x, y) => add(x, y)), config.orthogonality / norms.length);
    },
  };
}
