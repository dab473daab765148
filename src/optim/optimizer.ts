// An optimizer is data: a shader, the names of its states, and its corrections by step. The update is one dispatch for
// each range of the flat storage (a page and group of settings).
import { type Sweep, sweepWords } from "../../shaders/lib/sweep.ts";
import { ConfigError } from "../core/errors.ts";
import { floatBits, type Graph, type Op, type V0, type Value, type Values } from "../graph/graph.ts";
import { bindingsOf, type FlatLayout, flatPages, type FlatRange } from "./flat.ts";
import { scalarsLeaf, statsLeaf } from "./norm.ts";
import { sweepOf } from "./sweep.ts";

/** What an optimizer divides by at one step. */
export interface Corrections {
  /** 1 - β₁ᵗ for the Adam family, 1 + (t - 1)·lr_decay for Adagrad. */
  readonly c1: number;
  /** 1 - β₂ᵗ for the Adam family. */
  readonly c2: number;
}

/** An optimizer with its settings. */
export interface Optimizer {
  /** What programs and errors call it. */
  readonly name: string;
  /** States by PyTorch's names, each as large as the parameters; zero at first. */
  readonly stateNames: readonly string[];
  /** Applied to the tensors that decay. */
  readonly weightDecay: number;
  /** The shader: g, stats, scalars → x, states. */
  shader(sweep: Sweep): string;
  /** The corrections of update `t`, counted from 1. */
  corrections(t: number): Corrections;
}

const updateOp = ({ name, weightDecay, shader }: Optimizer): Op<FlatRange, Values, V0> => ({
  name,
  infer: () => [],
  kernels: ({ inputs, attrs: { offset, length, decay, lrScale } }, target) => {
    const sweep = sweepOf(target);
    const [gradient, stats, scalars, ...written] = inputs as [Value, Value, Value, ...Value[]];
    return bindingsOf({ offset, length }, target).map((part) => ({
      name,
      wgsl: shader(sweep),
      read: [{ value: gradient, ...part }, stats, scalars],
      write: written.map((value) => ({ value, ...part })),
      uniform: [part.length, floatBits(decay ? weightDecay : 0), floatBits(lrScale)],
      workgroups: Math.ceil(part.length / sweepWords(sweep)),
      trips: sweep.vectors,
    }));
  },
});

/** Options of {@linkcode update}. */
export interface UpdateOptions {
  readonly optimizer: Optimizer;
  /** The pages of gradients: "grads", or "total" where they were accumulated. */
  readonly gradients: readonly Value[];
}

/**
 * Append the optimizer: all trained tensors and states change in place, unless the flag of `stats` is set
 * (call {@linkcode gradientNorm} on the same gradients before).
 */
export function update(graph: Graph, layout: FlatLayout, { optimizer, gradients }: UpdateOptions): void {
  const written = ["params", ...optimizer.stateNames].map((kind) => flatPages(graph, layout, kind));
  const op = updateOp(optimizer);
  for (const range of layout.ranges) {
    const pages = written.map((of) => of[range.page]!);
    graph.add(op, [gradients[range.page]!, statsLeaf(graph), scalarsLeaf(graph), ...pages], range);
  }
}

/**
 * Check the settings of an optimizer: each number against the half-open interval that it must lie in.
 *
 * @throws {ConfigError} `config/optimizer` with every problem.
 */
export function checkSettings(
  name: string,
  settings: Readonly<Record<string, readonly [value: number, interval: "[0, 1)" | "[0, inf)" | "(0, inf)"]>>,
  others: readonly string[] = [],
): void {
  const problems = Object.entries(settings).filter(([, [value, interval]]) =>
    !(Number.isFinite(value) && (interval === "(0, inf)" ? value > 0 : value >= 0) &&
      (interval !== "[0, 1)" || value < 1))
  ).map(([key, [value, interval]]) => `${key} must be in ${interval}: received ${value}`);
  if (problems.length + others.length > 0) {
    throw new ConfigError("config/optimizer", `the settings of ${name}`, [...problems, ...others]);
  }
}
