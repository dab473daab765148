// The loops, workgroup memory and bindings of row ops at the largest sizes they are meant for; no GPU is needed.
import { checkKernel, grid } from "../../src/gpu/check.ts";
import { Graph, type Value } from "../../src/graph/graph.ts";
import { guaranteed, type Target } from "../../src/graph/target.ts";
import { swiglu } from "../../src/ops/gated.ts";
import { backward } from "../../src/ops/backward.ts";
import { bias } from "../../src/ops/bias.ts";
import { embedding } from "../../src/ops/embedding.ts";
import { layerNorm } from "../../src/ops/layer_norm.ts";
import { mse } from "../../src/ops/mse.ts";
import { addPositions } from "../../src/ops/positions.ts";
import { rmsNorm } from "../../src/ops/rms_norm.ts";
import { softmax } from "../../src/ops/softmax.ts";
import { mean, rowSum } from "../../src/ops/sum.ts";

const targets: readonly Target[] = [
  guaranteed,
  { ...guaranteed, kind: "gpu", workgroupBytes: 32768 },
  { ...guaranteed, kind: "software", subgroup: 8 },
  { ...guaranteed, kind: "software", subgroup: 4 },
];

type Leaf = (name: string, ...shape: number[]) => Value;

const builds: Readonly<Record<string, (p: Leaf, graph: Graph) => Value>> = {
  "rmsNorm [65536 x 16384]": (p) => rmsNorm(p("x", 65536, 16384), p("w", 16384), { eps: 1e-6 }),
  "rmsNorm, odd [7 x 16383]": (p) => rmsNorm(p("x", 7, 16383), p("w", 16383), { eps: 1e-6 }),
  "layerNorm [65536 x 16384]": (p) => layerNorm(p("x", 65536, 16384), p("w", 16384), p("b", 16384), { eps: 1e-5 }),
  "softmax [4096 x 262144]": (p) => softmax(p("x", 4096, 262144)),
  "softmax, odd [64 x 50257]": (p) => softmax(p("x", 64, 50257)),
  "rowSum [4096 x 262144]": (p) => rowSum(p("x", 4096, 262144)),
  "embedding [262144 x 2048] at 65536": (p, graph) =>
    embedding(p("table", 262144, 2048), graph.leaf("input", "ids", [65536], { dtype: "u32" })),
  "addPositions, 512 x 128": (p) => addPositions(p("x", 65536, 768), p("table", 512, 768), { T: 128 }),
  "addPositions, 60000 x 1": (p) => addPositions(p("x", 60000, 768), p("table", 1, 768), { T: 1 }),
  "bias [262144 x 3]": (p) => bias(p("x", 262144, 3), p("b", 3)),
  "swiglu [65536 x 14336]": (p) => swiglu(p("gate", 65536, 14336), p("up", 65536, 14336)),
  "mean [262144 x 1024]": (p) => mean(p("x", 262144, 1024)),
  "mse [262144 x 64]": (p) => mse(p("a", 262144, 64), p("b", 262144, 64)),
};

for (const [name, build] of Object.entries(builds)) {
  Deno.test(`budgets: ${name}`, () => {
    for (const target of targets) {
      const graph = new Graph(target);
      const y = build((leaf, ...shape) => graph.leaf("param", leaf, shape), graph);
      backward(graph, y, graph.leaf("input", "dy", y.shape));
      for (const node of graph.nodes) {
        for (const kernel of node.op.kernels(node, target)) {
          checkKernel(kernel, target);
          grid(kernel);
        }
      }
    }
  });
}
