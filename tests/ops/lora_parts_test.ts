// Several linear maps with LoRA that share their input, stacked: each part by itself in f64.
import { assertEquals, assertThrows } from "@std/assert";
import { ShapeError } from "../../src/core/errors.ts";
import type { DeviceOptions } from "../../src/gpu/device.ts";
import { Graph } from "../../src/graph/graph.ts";
import { backward } from "../../src/ops/backward.ts";
import { scale } from "../../src/ops/elementwise.ts";
import { loraLinear, type LoraPart } from "../../src/ops/lora_linear.ts";
import { type Numbers, type OpCase, opTable } from "./harness.ts";

interface Sizes {
  readonly N: number;
  readonly In: number;
  readonly R: number;
  readonly parts: readonly LoraPart[];
}

interface CaseOptions {
  readonly bias?: boolean;
  /** Whether the adapters see another input (x behind dropout). */
  readonly dropout?: boolean;
  readonly device: DeviceOptions;
}

const part = (Out: number, adapted = true): LoraPart => ({ Out, adapted });
const rowsOf = (parts: readonly LoraPart[]) => parts.reduce((sum, { Out }) => sum + Out, 0);

/** y[n] = x[n] · wᵀ, for rows of w from `row`. */
function rows(x: Numbers, w: Numbers, { width, row, count }: { width: number; row: number; count: number }): Numbers {
  return Float64Array.from({ length: x.length / width * count }, (_, i) => {
    const n = Math.floor(i / count), at = (row + i % count) * width;
    let y = 0;
    for (let k = 0; k < width; k++) y += x[n * width + k]! * w[at + k]!;
    return y;
  });
}

function reference({ N, In, R, parts }: Sizes, dropout: boolean, v: Readonly<Record<string, Numbers>>): Numbers {
  const Out = rowsOf(parts);
  const y = new Float64Array(N * Out);
  let column = 0, row = 0, at = 0;
  for (const { Out: count, adapted } of parts) {
    const base = rows(v.x!, v.w!, { width: In, row: column, count });
    const h = rows(dropout ? v.x!.map((x) => 0.5 * x) : v.x!, v.a!, { width: In, row: at, count: R });
    const low = adapted ? rows(h, v.b!, { width: R, row, count }) : undefined;
    base.forEach((value, i) => {
      const c = column + i % count;
      y[Math.floor(i / count) * Out + c] = value + 1.5 * (low?.[i] ?? 0) + (v.bias?.[c] ?? 0);
    });
    column += count;
    if (adapted) [row, at] = [row + count, at + R];
  }
  return y;
}

function loraCase(sizes: Sizes, { bias = false, dropout = false, device }: CaseOptions): OpCase {
  const { N, In, R, parts } = sizes;
  const adapted = parts.filter((p) => p.adapted);
  const shape = parts.map((p) => `${p.Out}${p.adapted ? "" : " plain"}`).join("|");
  const limit = device.maxBinding ? `, bindings of ${device.maxBinding} bytes` : "";
  return {
    op: "lora_linear parts",
    name: `${bias ? "bias " : ""}${dropout ? "dropout " : ""}${N}x${In}→${shape} R=${R}, ${device.kind}${limit}`,
    inputs: {
      x: { shape: [N, In] },
      w: { shape: [rowsOf(parts), In] },
      a: { shape: [adapted.length * R, In] },
      b: { shape: [rowsOf(adapted), R] },
      ...(bias ? { bias: { shape: [rowsOf(parts)] } } : {}),
    },
    wrt: ["x", "w", "a", "b", ...(bias && !device.maxBinding ? ["bias"] : [])],
    build: ({ x, w, a, b, bias }) =>
      loraLinear(x!, dropout ? scale(x!, 0.5) : x!, w!, a!, b!, { scale: 1.5, parts, ...(bias ? { bias } : {}) }),
    reference: (v) => reference(sizes, dropout, v),
    device,
  };
}

const cases: OpCase[] = [];
for (const kind of ["software", "gpu", "default"] as const) {
  const device = { kind };
  cases.push(
    loraCase({ N: 20, In: 12, R: 8, parts: [part(64), part(32), part(32)] }, { device }),
    loraCase({ N: 20, In: 12, R: 8, parts: [part(64), part(32, false), part(32)] }, { bias: true, device }),
    loraCase({ N: 9, In: 5, R: 3, parts: [part(7), part(2, false), part(3), part(9)] }, { bias: true, device }), // odd
    loraCase({ N: 9, In: 8, R: 4, parts: [part(8), part(20)] }, { dropout: true, device }),
    loraCase({ N: 5, In: 8, R: 2, parts: [part(4, false), part(70)] }, { device }),
    loraCase({ N: 256, In: 8, R: 4, parts: [part(12), part(12)] }, { device }), // shares of the rows in dB
    // More than one dispatch does.
    loraCase({ N: 3, In: 4, R: 1, parts: [1, 2, 3, 4, 5].map((n) => part(n)) }, { device }),
    // Above one binding: every part by itself, and then cut.
    loraCase({ N: 35, In: 36, R: 8, parts: [part(40), part(20)] }, { bias: true, device: { kind, maxBinding: 2048 } }),
    loraCase({ N: 20, In: 16, R: 4, parts: [part(30, false), part(30)] }, { device: { kind, maxBinding: 1024 } }),
  );
}
opTable("lora parts", cases);

Deno.test("lora parts: dispatches of three maps that share x, forward and backward", () => {
  const graph = new Graph();
  const leaf = (name: string, ...shape: number[]) => graph.leaf("param", name, shape);
  const x = leaf("x", 12, 32); // too few rows for shares
  const w = graph.leaf("weight", "w", [96, 32]);
  const parts = [part(48), part(24), part(24)];
  const y = loraLinear(x, x, w, leaf("a", 24, 32), leaf("b", 96, 8), { scale: 1, parts });
  backward(graph, y, graph.leaf("input", "dy", y.shape));
  const kernels = graph.nodes.flatMap((node) => node.op.kernels(node, graph.target).map(({ name }) => name));
  assertEquals(kernels, ["matmul nt", "lora linear", "lora dh", "lora dx", "matmul tn", "lora dB"]);
});

Deno.test("lora parts: shapes that do not fit are refused", () => {
  const graph = new Graph();
  const leaf = (name: string, ...shape: number[]) => graph.leaf("input", name, shape);
  const x = leaf("x", 4, 8), w = leaf("w", 12, 8), a = leaf("a", 4, 8), b = leaf("b", 12, 2);
  const apply = (parts: readonly LoraPart[]) => () => loraLinear(x, x, w, a, b, { scale: 1, parts });
  assertThrows(apply([part(6), part(5)]), ShapeError, "w must be");
  assertThrows(apply([part(6), part(6, false)]), ShapeError, "b must be");
  assertThrows(apply([part(6), part(4), part(2)]), ShapeError, "a must be");
  assertThrows(
    () => loraLinear(x, x, leaf("t", 8, 12), a, b, { scale: 1, transposed: true, parts: [part(6), part(6)] }),
    TypeError,
    "[In, Out]",
  );
});
