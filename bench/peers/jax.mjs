// The shared benchmark in @jax-js/jax: one jit over forward, backward and AdamW. Every use of an array consumes it, so
// what is used again is named with `.ref`. Rows are looked up by a product with one-hot vectors: `take` has no gradient
// inside of a jit in 0.1.25.
import { backend, causalMask, layout, loraA, measure, mode, weights } from "./common.mjs";

const name = "@jax-js/jax"; // in a variable, as it is installed only where this runs
const { blockUntilReady, defaultDevice, init, jit, nn, numpy: np, tree, valueAndGrad } = await import(name);
if (!(await init(backend)).includes(backend)) throw new Error(`jax-js has no ${backend} here`);
defaultDevice(backend);

const { L, D, H, V, T, B, r, alpha, adamw: { lr, b1, b2, eps, wd } } = layout;
const lora = mode === "lora";
const array = (data, shape) => np.array(data).reshape(shape);
const base = {}, trained = {};
for (const { name, data, shape } of weights()) (lora ? base : trained)[name] = array(data, shape);
if (lora) {
  loraA().forEach((a, i) => {
    trained[`A${i}`] = array(a, [D, r]);
    trained[`B${i}`] = np.zeros([r, 3 * D]);
  });
}
const mask = array(causalMask(), [1, 1, T, T]);

function layerNorm(x, gain, bias) {
  const centred = x.ref.sub(x.mean(-1, { keepdims: true }));
  const variance = np.square(centred.ref).mean(-1, { keepdims: true });
  return centred.div(np.sqrt(variance.add(1e-5))).mul(gain).add(bias);
}

function loss(trained, base, mask, x, y) {
  const w = (name) => name in trained ? trained[name] : base[name];
  const rows = np.matmul(nn.oneHot(x, V), w("wte").ref).reshape([B, T, D]);
  let h = rows.add(w("wpe").reshape([1, T, D]));
  for (let i = 0; i < L; i++) {
    const at = (part) => w(`h${i}.${part}`);
    const dense = (x, part) => np.matmul(x, at(`${part}_w`)).add(at(`${part}_b`));
    const norm = (x, part) => layerNorm(x, at(`${part}_g`), at(`${part}_b`)).reshape([B * T, D]);
    const u = norm(h.ref, "ln1");
    let qkv;
    if (lora) {
      const low = np.matmul(np.matmul(u.ref, trained[`A${i}`]), trained[`B${i}`]);
      qkv = dense(u, "qkv").add(low.mul(alpha / r));
    } else qkv = dense(u, "qkv");
    const heads = qkv.reshape([B, T, 3, H, D / H]).transpose([2, 0, 3, 1, 4]);
    const [q, k, v] = np.split(heads, 3, 0).map((part) => part.reshape([B, H, T, D / H]));
    const scores = np.matmul(q, k.transpose([0, 1, 3, 2])).mul((D / H) ** -0.5).add(mask.ref);
    const seen = np.matmul(nn.softmax(scores, -1), v).transpose([0, 2, 1, 3]).reshape([B * T, D]);
    h = h.add(dense(seen, "o").reshape([B, T, D]));
    h = h.add(dense(nn.gelu(dense(norm(h.ref, "ln2"), "fc")), "pr").reshape([B, T, D]));
  }
  mask.dispose();
  const last = layerNorm(h, w("lnf_g"), w("lnf_b")).reshape([B * T, D]);
  const logits = np.matmul(last, w("wte").transpose([1, 0]));
  return nn.logSoftmax(logits, -1).mul(nn.oneHot(y, V)).sum().mul(-1 / (B * T));
}

const update = jit((trained, first, second, base, mask, x, y, c1, c2) => {
  const [value, gradients] = valueAndGrad((p) => loss(p, tree.ref(base), mask.ref, x.ref, y.ref))(tree.ref(trained));
  tree.dispose([base, mask, x, y]);
  const next = {}, m = {}, v = {};
  for (const name of Object.keys(trained)) {
    const g = gradients[name];
    m[name] = first[name].mul(b1).add(g.ref.mul(1 - b1));
    v[name] = second[name].mul(b2).add(np.square(g).mul(1 - b2));
    const step = m[name].ref.div(c1.ref).div(np.sqrt(v[name].ref.div(c2.ref)).add(eps));
    next[name] = trained[name].mul(1 - lr * wd).sub(step.mul(lr));
  }
  tree.dispose([c1, c2]);
  return [value, next, m, v];
});

const zeros = () => Object.fromEntries(Object.entries(trained).map(([name, { shape }]) => [name, np.zeros(shape)]));
let state = [trained, zeros(), zeros()];
await measure(async ({ x, y }, i) => {
  const ids = [x, y].map((data) => np.array(data, { dtype: np.int32 }));
  const corrections = [b1, b2].map((b) => np.array(1 - b ** (i + 1)));
  const [value, ...next] = update(...state, tree.ref(base), mask.ref, ...ids, ...corrections);
  state = next;
  const [found] = await value.data();
  await blockUntilReady(state[0]);
  return found;
});
