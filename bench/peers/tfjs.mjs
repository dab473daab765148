// The shared benchmark in TensorFlow.js: its own gradients and Adam, decay of the weights before it. The WebAssembly
// backend has no gradient of `gather`, so rows are looked up by a product with one-hot vectors there.
import { backend, causalMask, layout, loraA, measure, mode, weights } from "./common.mjs";

const tfjs = "@tensorflow/tfjs", plugin = `@tensorflow/tfjs-backend-${backend}`;
const tf = await import(tfjs);
const { setWasmPaths } = await import(plugin);
const folder = new URL("./node_modules/@tensorflow/tfjs-backend-wasm/dist/", import.meta.url).pathname;
if (backend === "wasm") setWasmPaths(folder);
if (!await tf.setBackend(backend)) throw new Error(`TensorFlow.js has no ${backend} here`);
await tf.ready();

const { L, D, H, V, T, B, r, alpha, adamw: { lr, b1, b2, eps, wd } } = layout;
const lora = mode === "lora";
const values = {}, trained = [];
const train = (name, value) => trained.push(values[name] = tf.variable(value, true, name));
for (const { name, data, shape } of weights()) {
  const value = tf.tensor(data, shape);
  if (lora) values[name] = value;
  else train(name, value);
}
if (lora) {
  loraA().forEach((a, i) => {
    train(`A${i}`, tf.tensor(a, [D, r]));
    train(`B${i}`, tf.zeros([r, 3 * D]));
  });
}
const mask = tf.tensor(causalMask(), [1, 1, T, T]);
const attentionScale = (D / H) ** -0.5;

function layerNorm(x, gain, bias) {
  const centred = x.sub(x.mean(-1, true));
  const variance = centred.square().mean(-1, true);
  return centred.mul(variance.add(1e-5).rsqrt()).mul(gain).add(bias);
}

const gelu = (x) => x.mul(0.5).mul(x.mul(x.square().mul(0.044715).add(1)).mul(Math.sqrt(2 / Math.PI)).tanh().add(1));

function loss(x, y) {
  const rows = backend === "wasm" ? tf.matMul(tf.oneHot(x, V).toFloat(), values.wte) : tf.gather(values.wte, x);
  let h = rows.reshape([B, T, D]).add(values.wpe.reshape([1, T, D]));
  for (let i = 0; i < L; i++) {
    const at = (part) => values[`h${i}.${part}`];
    const dense = (x, part) => tf.matMul(x, at(`${part}_w`)).add(at(`${part}_b`));
    const norm = (x, part) => layerNorm(x, at(`${part}_g`), at(`${part}_b`)).reshape([B * T, D]);
    const u = norm(h, "ln1");
    let qkv = dense(u, "qkv");
    if (lora) qkv = qkv.add(tf.matMul(tf.matMul(u, values[`A${i}`]), values[`B${i}`]).mul(alpha / r));
    const [q, k, v] = tf.split(qkv, 3, 1).map((part) => part.reshape([B, T, H, D / H]).transpose([0, 2, 1, 3]));
    const scores = tf.matMul(q, k, false, true).mul(attentionScale).add(mask);
    const seen = tf.matMul(tf.softmax(scores, -1), v).transpose([0, 2, 1, 3]).reshape([B * T, D]);
    h = h.add(dense(seen, "o").reshape([B, T, D]));
    h = h.add(dense(gelu(dense(norm(h, "ln2"), "fc")), "pr").reshape([B, T, D]));
  }
  const last = layerNorm(h, values.lnf_g, values.lnf_b).reshape([B * T, D]);
  const logits = tf.matMul(last, values.wte, false, true);
  return tf.logSoftmax(logits, -1).mul(tf.oneHot(y, V).toFloat()).sum().mul(-1 / (B * T));
}

const adam = tf.train.adam(lr, b1, b2, eps);
await measure(async ({ x, y }) => {
  const ids = [x, y].map((data) => tf.tensor1d(data, "int32"));
  const { value, grads } = tf.variableGrads(() => loss(...ids), trained);
  for (const variable of trained) {
    const decayed = variable.mul(1 - lr * wd);
    variable.assign(decayed);
    decayed.dispose();
  }
  adam.applyGradients(grads);
  const [found] = await value.data();
  // The loss is ready before the update: one number of a trained tensor is not.
  const probe = tf.tidy(() => trained[0].flatten().slice([0], [1]));
  await probe.data();
  tf.dispose([grads, value, probe, ...ids]);
  return found;
});
