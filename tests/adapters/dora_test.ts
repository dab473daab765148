// DoRA with dropout, as PEFT computes it in training: the base sees x, what the gains change sees dropout(x).
import { assert } from "@std/assert";
import { lora } from "../../mod.ts";
import { loraAdapter } from "../../src/adapters/lora.ts";
import { encodeScalars } from "../../src/core/scalars.ts";
import { normal, randomKey } from "../../src/core/random.ts";
import { compile, read, run, write } from "../../src/gpu/executable.ts";
import { createStore, put, release } from "../../src/gpu/store.ts";
import { Graph } from "../../src/graph/graph.ts";
import { fullSequence } from "../../src/nn/full_sequence.ts";
import { linear } from "../../src/nn/linear.ts";
import type { LeafSource } from "../../src/nn/scope.ts";
import { dropout } from "../../src/ops/dropout.ts";
import { scalarsLeaf } from "../../src/optim/norm.ts";
import { gpuTest } from "../device.ts";
import { worstDifference } from "../models/folder.ts";

const [N, In, Out, R] = [5, 8, 6, 2];

for (const transposed of [false, true]) {
  gpuTest(`DoRA with dropout is PEFT's formula${transposed ? ", weight stored [In, Out]" : ""}`, async (device) => {
    const store = createStore(device);
    const graph = new Graph(device.target);
    const values = new Map<string, Float64Array>();
    const leaf = (role: "weight" | "param", name: string, shape: readonly number[]) => {
      const count = shape.reduce((a, b) => a * b, 1);
      const key = randomKey(1, name);
      if (!name.endsWith("lora_square")) {
        values.set(
          name,
          Float64Array.from({ length: count }, (_, i) => normal(key, i)),
        );
      }
      return graph.leaf(role, name, shape);
    };
    const leaves: LeafSource = {
      weight: (_, name, shape) => leaf("weight", name, shape),
      param: (_, name, shape) => leaf("param", name, shape),
      frozen: (_, name, shape) => leaf("weight", name, shape),
      constant: (_, name, shape) => leaf("weight", name, shape),
      scalars: scalarsLeaf,
      indices: (_, name, length) => graph.leaf("weight", name, [length], { dtype: "u32" }),
      stream: () => 7,
    };
    const adapter = loraAdapter(lora({ rank: R, alpha: 3, dora: true, dropout: 0.5, targetModules: ["q"] }), "train");
    const m = { graph, adapter, leaves, sequence: fullSequence({ B: 1, T: N }) };
    const x = leaf("weight", "x", [N, In]);
    const y = linear({ ...m }, "block.q", x, { In, Out, bias: true, transposed });
    const dropped = dropout(x, scalarsLeaf(graph), { p: 0.5, stream: 7 }); // the node that the method has made

    const [w, bias] = [values.get("block.q.weight")!, values.get("block.q.bias")!];
    const tensor = (name: string) => values.get(`base_model.model.block.q.${name}`)!;
    const [a, b, magnitude] = [tensor("lora_A.weight"), tensor("lora_B.weight"), tensor("lora_magnitude_vector")];
    const weight = (o: number, i: number) => w[transposed ? i * Out + o : o * In + i]!;
    const square = Float64Array.from({ length: Out }, (_, o) => {
      let sum = 0;
      for (let i = 0; i < In; i++) sum += weight(o, i) ** 2;
      return sum;
    });
    values.set("base_model.model.block.q.lora_square", square);
    for (const [name, data] of values) await put(store, name, Float32Array.from(data));
    const program = await compile(graph, { store, keep: [y, dropped] });
    write(program, scalarsLeaf(graph), encodeScalars({ seed: 3, step: 2 }));
    run(program);
    const [found, xd] = await read(program, [y, dropped]);
    assert(xd!.some((v) => v === 0) && xd!.some((v) => v !== 0));

    const expected: number[] = [];
    for (let n = 0; n < N; n++) {
      for (let o = 0; o < Out; o++) {
        let base = bias[o]!, droppedBase = 0, update = 0, norm = 0;
        for (let i = 0; i < In; i++) {
          let delta = 0;
          for (let r = 0; r < R; r++) delta += 1.5 * b[o * R + r]! * a[r * In + i]!;
          base += weight(o, i) * values.get("x")![n * In + i]!;
          droppedBase += weight(o, i) * xd![n * In + i]!;
          update += delta * xd![n * In + i]!;
          norm += (weight(o, i) + delta) ** 2;
        }
        const c = magnitude[o]! / Math.sqrt(norm);
        expected.push(base + (c - 1) * droppedBase + c * update);
      }
    }
    const worst = worstDifference(found!, expected);
    assert(worst < 1e-5, String(worst)); // f32 sums of a dozen products around 1
    program.destroy();
    release(store);
  });
}
