// The engine without a model: fits y = x·W + b to points by gradient descent with AdamW, all of it on the GPU. One
// program computes the loss and the gradients, another one updates; both are compiled once and replayed.
//
//   deno run examples/linear_regression.ts
import { closeDevice, openDevice } from "@graft/graft";
import { backward, compile, createStore, fetch, Graph, linear, mse, put, run, write } from "@graft/graft/ops";
import { adamw, encodeScalars, flatLayout, flatLeaves, flatPages, gradientNorm } from "@graft/graft/optim";
import { placeGradients, recordLoss, ringWrite, scalarsLeaf, update } from "@graft/graft/optim";

const STEPS = 200, N = 64;
const truth = [1.5, -2, 0.5], shift = 0.75; // what is to be found

// Points x[N, 3] and their values y[N, 1].
const x = Float32Array.from({ length: 3 * N }, (_, i) => Math.sin(i * i));
const y = Float32Array.from({ length: N }, (_, n) => truth.reduce((sum, w, i) => sum + w * x[3 * n + i]!, shift));

const device = await openDevice();
const store = createStore(device);
await put(store, "x", x);
await put(store, "y", y);

// All trained tensors lie in one buffer, "params.0": one dispatch updates them all.
const layout = flatLayout([{ name: "w", shape: [1, 3] }, { name: "b", shape: [1] }], {
  maxWords: device.target.maxBinding / 4,
});

const gradients = new Graph(device.target);
const { w, b } = Object.fromEntries(flatLeaves(gradients, layout));
const prediction = linear(gradients.leaf("weight", "x", [N, 3]), w!, { bias: b! });
const loss = mse(prediction, gradients.leaf("weight", "y", [N, 1]));
placeGradients(gradients, backward(gradients, loss), layout);
recordLoss(gradients, loss);
const gradientProgram = await compile(gradients, { store, name: "gradients" });

const optimizer = adamw();
const updates = new Graph(device.target);
const pages = flatPages(updates, layout, "grads");
gradientNorm(updates, pages);
update(updates, layout, { optimizer, gradients: pages });
ringWrite(updates);
const updateProgram = await compile(updates, { store, name: "update" });

for (let step = 0; step < STEPS; step++) {
  const lr = 0.1 * (1 - step / STEPS);
  const scalars = encodeScalars({ lr, corrections: optimizer.corrections(step + 1) });
  write(gradientProgram, scalarsLeaf(gradients), scalars);
  run(gradientProgram); // queued: nothing waits for the GPU inside this loop
  write(updateProgram, scalarsLeaf(updates), scalars);
  run(updateProgram);
}

const [last] = await fetch(store, "loss", { length: 1 });
const found = await fetch(store, "params.0", { length: layout.pages[0]! });
const [w0, w1, w2] = found;
const bias = found[layout.tensors.get("b")!.place.offset]!;
console.log(`loss ${last!.toExponential(1)}; w = [${[w0, w1, w2].map((v) => v!.toFixed(3))}], b = ${bias.toFixed(3)}`);

const worst = Math.max(...truth.map((v, i) => Math.abs(v - found[i]!)), Math.abs(shift - bias));
if (!(worst < 0.01)) throw new Error(`Cannot call this a fit: the worst parameter is off by ${worst}`);
closeDevice(device);
