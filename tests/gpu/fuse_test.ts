// Programs with and without nodes that joined others give the same numbers.
import { assert, assertEquals } from "@std/assert";
import { size } from "../../src/core/dims.ts";
import type { DeviceOptions } from "../../src/gpu/device.ts";
import { compile, read, run, write } from "../../src/gpu/executable.ts";
import { createStore, put, release } from "../../src/gpu/store.ts";
import { Graph, type Value } from "../../src/graph/graph.ts";
import { gelu, relu, silu, tanh } from "../../src/ops/activations.ts";
import { backward } from "../../src/ops/backward.ts";
import { add, multiply } from "../../src/ops/elementwise.ts";
import { layerNorm } from "../../src/ops/layer_norm.ts";
import { loraLinear } from "../../src/ops/lora_linear.ts";
import { linear, matmul } from "../../src/ops/matmul.ts";
import { rmsNorm } from "../../src/ops/rms_norm.ts";
import { gpuTest } from "../device.ts";
import { normal, relativeError } from "../ops/harness.ts";

interface FuseCase {
  readonly name: string;
  /** Sizes of `x`[N, D] and `w`[D, D]. */
  readonly N: number;
  readonly D: number;
  build(v: Readonly<Record<"x" | "r" | "w" | "a" | "b" | "bias", Value>>): Value;
  /** Nodes that join others, forward and backward. */
  readonly joined: number;
  readonly device?: DeviceOptions;
}

const activations = { gelu, geluTanh: (x: Value) => gelu(x, { approximate: "tanh" }), silu, relu, tanh };

const cases: readonly FuseCase[] = [
  {
    name: "a residual behind a linear map with a bias",
    ...{ N: 20, D: 24, joined: 1 },
    build: ({ x, r, w, bias }) => add(r, linear(x, w, { bias })),
  },
  {
    name: "a product that is multiplied, rows that are no vectors",
    ...{ N: 9, D: 7, joined: 1 },
    build: ({ x, r, w }) => multiply(matmul(x, w), r),
  },
  // The gradient follows the product that makes dy, and both products of dw are added. The activation itself joins
  // where its gradient reads the result instead of the input.
  ...Object.entries(activations).map(([name, f]) => ({
    name: `${name} between two linear maps`,
    ...{ N: 12, D: 20, joined: name === "relu" || name === "tanh" ? 3 : 2 },
    build: ({ x, w, bias }: Readonly<Record<"x" | "w" | "bias", Value>>) => linear(f(linear(x, w, { bias })), w),
  })),
  {
    name: "an activation whose gradient follows narrow rows",
    ...{ N: 6, D: 5, joined: 2 },
    build: ({ x, w }) => linear(gelu(linear(x, w)), w),
  },
  {
    name: "a block with LoRA: residuals forward and in the norm's gradient",
    ...{ N: 16, D: 32, joined: 5 },
    build: ({ x, w, a, b, bias }) => {
      const h = add(
        x,
        loraLinear(rmsNorm(x, bias, { eps: 1e-5 }), rmsNorm(x, bias, { eps: 1e-5 }), w, a, b, { scale: 2 }),
      );
      return add(h, linear(h, w));
    },
  },
  {
    name: "a layer norm's gradient with a residual",
    ...{ N: 11, D: 6, joined: 2 },
    build: ({ x, w, bias }) => add(x, linear(layerNorm(x, bias, bias, { eps: 1e-5 }), w)),
  },
  {
    name: "products whose sums are cut into shares",
    ...{ N: 8, D: 512, joined: 4 },
    build: ({ x, r, w }) => add(r, linear(tanh(linear(x, w)), w)),
  },
  {
    name: "operands above one binding",
    ...{ N: 96, D: 16, joined: 4, device: { maxBinding: 4096 } },
    build: ({ x, r, w, bias }) => add(r, linear(tanh(linear(x, w, { bias })), w)),
  },
];

for (const c of cases) {
  for (const kind of ["software", "gpu", "default"] as const) {
    const options: DeviceOptions = { ...c.device, ...(kind === "software" ? {} : { kind }) };
    gpuTest(`fused: ${c.name} (${kind})`, async (device) => {
      const graph = new Graph(device.target);
      const shapes = { x: [c.N, c.D], r: [c.N, c.D], w: [c.D, c.D], a: [4, c.D], b: [c.D, 4], bias: [c.D] } as const;
      const store = createStore(device);
      const v = {} as Record<keyof typeof shapes, Value>;
      for (const [i, [name, shape]] of Object.entries(shapes).entries()) {
        v[name as keyof typeof shapes] = graph.leaf(name === "r" ? "weight" : "param", name, shape);
        await put(store, name, Float32Array.from(normal(size(shape), 11 + i), (x) => x / Math.sqrt(c.D)));
      }
      const y = c.build(v);
      const seed = graph.leaf("input", "dy", y.shape);
      const kept = [y, ...backward(graph, y, seed).values()];
      const results: Float32Array[][] = [];
      const dispatches: number[] = [];
      for (const fused of [false, true]) {
        const program = await compile(graph, { store, keep: kept, fused });
        write(program, seed, Float32Array.from(normal(size(y.shape), 99)));
        run(program);
        results.push(await read(program, kept));
        dispatches.push(program.dispatches.length);
        assertEquals(program.joined, fused ? c.joined : 0);
        program.destroy();
      }
      release(store);
      const [apart, together] = results as [Float32Array[], Float32Array[]];
      assert(dispatches[1]! <= dispatches[0]! - c.joined, `${dispatches[1]} dispatches instead of ${dispatches[0]}`);
      // The same arithmetic in the same order: only how a compiler contracts a·b + c may differ.
      together.forEach((values, i) => {
        const error = relativeError(values, apart[i]!);
        assert(error <= 1e-6, `value ${i} differs by ${error.toExponential(1)}`);
      });
    }, options);
  }
}
