// Programs of a model: the same functions traced for what is asked, compiled once for each shape.
import { mixed, stacked } from "../adapters/composite.ts";
import { buildAdapter } from "../adapters/mod.ts";
import type { Shape } from "../core/dims.ts";
import { ModelError } from "../core/errors.ts";
import { randomKey } from "../core/random.ts";
import type { Words } from "../gpu/buffer.ts";
import { compile } from "../gpu/executable.ts";
import { put, release } from "../gpu/store.ts";
import { Graph } from "../graph/graph.ts";
import { withPrefixes } from "../nn/prefixed.ts";
import type { Adapter } from "../nn/adapter.ts";
import type { LeafSource, ModelScope } from "../nn/scope.ts";
import type { Sequence } from "../nn/sequence.ts";
import { inputLeaves, taskSequence } from "../objectives/build.ts";
import type { Arranged, Inputs } from "../objectives/task.ts";
import { type FlatLayout, flatPages, type FlatPlace } from "../optim/flat.ts";
import { scalarsLeaf } from "../optim/norm.ts";
import { joinedPlace, stackedLeaf, stackName, stacksMaps } from "./stacks.ts";
import { maskName, maskValues } from "./route_masks.ts";
import {
  activeAdapter,
  adaptersInUse,
  type AdapterState,
  frozenName,
  type ModelState,
  type Program,
  type Route,
} from "./state.ts";

/** What gradients are for. */
export type Trained = "nothing" | "adapter" | "weights";

/** Options of {@linkcode modelScope}. */
export interface ScopeOptions {
  readonly graph: Graph;
  readonly sequence: Sequence;
  readonly trained: Trained;
  /** Another adapter than the one in use. */
  readonly adapter?: AdapterState;
}

/** Tables computed from the configuration, by name. */
export type Constants = Map<string, () => Words>;

/** Programs kept for one model; those that were used the longest time ago are freed. */
const MOST_PROGRAMS = 24;

/** The scope to build the model in; `constants` collects the tables that must be resident. */
export function modelScope(
  state: ModelState,
  { graph, sequence, trained, adapter = activeAdapter(state) }: ScopeOptions,
): { readonly m: ModelScope; readonly constants: Constants } {
  const constants: Constants = new Map();
  const { adapter: method, leaves } = state.route
    ? mixedParts(state, state.route, constants)
    : partOf(state, adapter, { trained, constants });
  return { m: withPrefixes({ graph, sequence, adapter: method, leaves }), constants };
}

interface PartOptions {
  readonly trained: Trained;
  readonly constants: Constants;
  /** What the names of its tensors begin with in the graph; none for those that are trained. */
  readonly label?: string;
}

/** An adapter with its tensors, on top of those that it lies on. */
function partOf(
  state: ModelState,
  adapter: AdapterState | undefined,
  { trained, constants, label = "" }: PartOptions,
): { readonly adapter: Adapter | undefined; readonly leaves: LeafSource } {
  const leaves = residentLeaves(state, adapter, { trained, constants, label });
  if (!adapter) return { adapter: undefined, leaves };
  const method = buildAdapter(adapter.config, trained === "adapter" ? "train" : "eval");
  const below = adapter.under === undefined ? undefined : state.adapters.get(adapter.under);
  if (!below) return { adapter: method, leaves };
  const lower = partOf(state, below, { trained: "nothing", constants, label: `${below.name}: ${label}` });
  return stacked({ adapter: lower.adapter!, leaves: lower.leaves }, { adapter: method, leaves });
}

/** The adapters of a route as one, which knows the rows of each. */
function mixedParts(state: ModelState, route: Route, constants: Constants): ReturnType<typeof partOf> {
  const parts = route.distinct.map((name) => {
    const part = partOf(state, state.adapters.get(name), { trained: "nothing", constants, label: `${name}: ` });
    return { adapter: part.adapter!, leaves: part.leaves };
  });
  const mask = (graph: Graph, part: number, N: number) => {
    const name = maskName(route, part, N);
    constants.set(name, () => maskValues(route, part, N));
    return graph.leaf("weight", name, [N]);
  };
  const leaves = residentLeaves(state, undefined, { trained: "nothing", constants, label: "" });
  return { adapter: parts.length > 0 ? mixed(parts, mask) : undefined, leaves };
}

/** The scope of a batch, with its inputs. */
export function batchScope(
  state: ModelState,
  arranged: Arranged,
  trained: Trained,
): ReturnType<typeof modelScope> & { readonly graph: Graph; readonly inputs: Inputs } {
  const graph = new Graph(state.device.target);
  const inputs = inputLeaves(graph, arranged);
  const sequence = taskSequence(state.task, state.architecture, inputs, arranged);
  return { ...modelScope(state, { graph, sequence, trained }), graph, inputs };
}

function residentLeaves(
  state: ModelState,
  adapter: AdapterState | undefined,
  { trained, constants, label }: Required<PartOptions>,
): LeafSource {
  const inPage = (
    graph: Graph,
    layout: FlatLayout,
    { page, offset }: FlatPlace,
    { role, name, shape }: { readonly role: "param" | "weight"; readonly name: string; readonly shape: Shape },
  ) => graph.leaf(role, name, shape, { within: { parent: flatPages(graph, layout, "params")[page]!, offset } });
  const own = trained === "adapter" ? "param" : "weight", full = trained === "weights" ? "param" : "weight";
  return {
    weight(graph, name, shape) {
      const tensor = state.full?.tensors.get(name);
      if (tensor) return inPage(graph, state.full!, tensor.place, { role: full, name, shape });
      const place = state.stacks.get(name);
      if (place) return stackedLeaf(graph, place, name, shape);
      if (!state.store.buffers.has(name)) {
        throw new ModelError("model/missing-tensor", `Cannot build the model as "${name}" was not loaded`);
      }
      return graph.leaf("weight", name, shape, { dtype: state.formats.get(name) ?? "f32" });
    },
    param(graph, name) {
      const { layout } = adapter!, { shape, place } = layout.tensors.get(name)!;
      return inPage(graph, layout, place, { role: own, name: `${label}${name}`, shape });
    },
    frozen: (graph, name, shape) => graph.leaf("weight", frozenName(adapter!.name, name), shape),
    stack(graph, kind, names, shape) {
      const name = stackName(names);
      if (kind === "param") {
        const { layout } = adapter!, place = joinedPlace(layout, names);
        return place && inPage(graph, layout, place, { role: own, name: `${label}${name}`, shape });
      }
      if (state.full) {
        const place = stacksMaps(graph.target) ? joinedPlace(state.full, names) : undefined;
        return place && inPage(graph, state.full, place, { role: full, name, shape });
      }
      const place = state.stacks.get(names[0]!);
      return place && stackedLeaf(graph, place, name, shape);
    },
    constant(graph, name, shape, make) {
      constants.set(name, make);
      return graph.leaf("weight", name, shape);
    },
    indices(graph, name, length, make) {
      constants.set(name, make);
      return graph.leaf("weight", name, [length], { dtype: "u32" });
    },
    scalars: scalarsLeaf,
    stream: (path) => randomKey(0, path)[0],
  };
}

/**
 * The program called `key`, built by `build` when it does not exist yet. Building another adapter's or shape's program
 * needs another key.
 */
export async function program(
  state: ModelState,
  key: string,
  build: () => { readonly graph: Graph; readonly constants: Constants } & Omit<Program, "executable" | "adapters">,
): Promise<Program> {
  const known = state.programs.get(key);
  if (known) {
    state.programs.delete(key); // last in the order of use
    state.programs.set(key, known);
    return known;
  }
  const { graph, constants, inputs, results } = build();
  for (const [name, make] of constants) {
    if (!state.store.buffers.has(name)) await put(state.store, name, make());
  }
  const executable = await compile(graph, { store: state.store, keep: Object.values(results), name: key });
  const adapters = state.route?.distinct ?? adaptersInUse(state).map(({ name }) => name);
  const made: Program = { executable, inputs, results, adapters };
  state.programs.set(key, made);
  for (const [oldest, { executable: old }] of state.programs) {
    if (state.programs.size <= MOST_PROGRAMS) break;
    state.programs.delete(oldest);
    old.destroy();
  }
  return made;
}

/** Free all programs, and the caches of generation: after the places of the weights have changed. */
export function dropPrograms(state: ModelState): void {
  for (const { executable } of state.programs.values()) executable.destroy();
  state.programs.clear();
  release(state.store, [...state.store.buffers.keys()].filter((name) => name.startsWith("generate ")));
}
