// What every method does, once more in float64, from its paper and PEFT's sources. Tensors are read when they are needed,
// so that a change of one is seen; norms that count as constants are taken once.
import type { AdapterConfig, BottleneckConfig, LoraConfig } from "../../mod.ts";
import { plus, type Rows } from "../models/reference_maths.ts";
import { type Acts, apply, plusBias, type ReferenceMap, type Tensors } from "./reference.ts";

const PREFIX = "base_model.model.";

/** The acts of a method whose tensors have PEFT's names, but for what it trains in full. */
export function actsOf(config: AdapterConfig, tensors: Tensors, D: number): Acts {
  const at = (path: string, name: string) => tensors.get(`${PREFIX}${path}.${name}`);
  switch (config.type) {
    case "LORA":
      return loraActs(config, at, D);
    case "IA3":
      return {
        map({ path, In, bias, product }, x) {
          const l = at(path, "ia3_l");
          const inputs = l && l.length === In && config.feedforwardModules.includes(path.split(".").slice(-1)[0]!);
          if (inputs) return plusBias(product(x.map((row) => row.map((v, i) => v * l[i]!))), bias);
          const y = plusBias(product(x), bias);
          return l ? y.map((row) => row.map((v, o) => v * l[o]!)) : y;
        },
      };
    case "VERA":
      return {
        map({ path, Out, bias, product }, x) {
          const y = plusBias(product(x), bias);
          const d = at(path, "vera_lambda_d"), b = at(path, "vera_lambda_b");
          if (!d || !b) return y;
          const A = tensors.get("base_model.vera_A")!, B = tensors.get("base_model.vera_B")!;
          const R = d.length, width = A.length / R;
          const low = x.map((row) => apply((r, i) => A[r * width + i]!, R, row).map((v, r) => v * d[r]!));
          return plus(y, low.map((row) => apply((o, r) => B[o * R + r]! * b[o]!, Out, row)));
        },
      };
    case "PROMPT_TUNING":
      return prompt(() => rowsOf(tensors.get("prompt_embeddings")!, D), config.virtualTokens);
    case "P_TUNING":
      return prompt(() => {
        const layer = (n: number, x: Rows) =>
          dense(x, tensors.get(`mlp_head.${n}.weight`)!, tensors.get(`mlp_head.${n}.bias`)!);
        const relu = (x: Rows) => x.map((row) => row.map((v) => Math.max(0, v)));
        return layer(4, relu(layer(2, relu(layer(0, rowsOf(tensors.get("embedding.weight")!, D))))));
      }, config.virtualTokens);
    case "PREFIX_TUNING": {
      const P = config.virtualTokens;
      const table = (): Rows => {
        if (!config.projection) {
          const flat = tensors.get("prompt_embeddings")!;
          return rowsOf(flat, flat.length / P);
        }
        const layer = (n: number, x: Rows) =>
          dense(x, tensors.get(`transform.${n}.weight`)!, tensors.get(`transform.${n}.bias`)!);
        const e = tensors.get("embedding.weight")!;
        return layer(2, layer(0, rowsOf(e, e.length / P)).map((row) => row.map(Math.tanh)));
      };
      return {
        prefixes: P,
        prefix(layer) {
          const rows = table(), width = config.tokenDim!;
          const part = (n: number) =>
            rows.map((row) => row.slice((2 * layer + n) * width, (2 * layer + n + 1) * width));
          return { k: part(0), v: part(1) };
        },
      };
    }
    case "GRAFT_BOTTLENECK":
      return { branch: bottleneckBranch(config, at) };
    default:
      return {};
  }
}

type At = (path: string, name: string) => ArrayLike<number> | undefined;

function rowsOf(flat: ArrayLike<number>, width: number): Rows {
  return Array.from(
    { length: flat.length / width },
    (_, n) => Array.from({ length: width }, (_, i) => flat[n * width + i]!),
  );
}

function dense(x: Rows, w: ArrayLike<number>, bias: ArrayLike<number>): Rows {
  const In = x[0]!.length;
  return plusBias(x.map((row) => apply((o, i) => w[o * In + i]!, w.length / In, row)), bias);
}

function prompt(rows: () => Rows, P: number): Acts {
  return { prompt: P, vectors: (ids, row) => [...rows(), ...ids.map(row)] };
}

function bottleneckBranch({ placement, activation, scale }: BottleneckConfig, at: At): NonNullable<Acts["branch"]> {
  const act = activation === "relu" ? (v: number) => Math.max(0, v) : (v: number) => v / (1 + Math.exp(-v));
  return (kind, path, h, x) => {
    if (kind === "attention" && placement !== "houlsby") return h;
    const tensor = (name: string) => at(path, `bottleneck.${name}`)!;
    const inner = dense(placement === "parallel" ? x : h, tensor("down.weight"), tensor("down.bias"))
      .map((row) => row.map(act));
    return plus(h, dense(inner, tensor("up.weight"), tensor("up.bias")).map((row) => row.map((v) => v * scale)));
  };
}

function loraActs(config: LoraConfig, at: At, D: number): Acts {
  const norms = new Map<string, number[]>();
  const alphaOf = (path: string) =>
    Object.entries(config.alphaPattern).find(([key]) => new RegExp(`^(.*\\.)?(${key})$`).test(path))?.[1] ??
      config.alpha;
  const scaleOf = (path: string, R: number) => alphaOf(path) / (config.rslora ? Math.sqrt(R) : R);
  const map = ({ path, In, Out, weight, bias, product }: ReferenceMap, x: Rows): Rows => {
    const a = at(path, "lora_A.weight"), b = at(path, "lora_B.weight");
    if (!a || !b) return plusBias(product(x), bias);
    const R = a.length / In, s = scaleOf(path, R);
    const low = x.map((row) => apply((r, i) => a[r * In + i]!, R, row));
    const sum = plus(product(x), low.map((row) => apply((o, r) => s * b[o * R + r]!, Out, row)));
    const m = at(path, "lora_magnitude_vector");
    if (m) {
      if (!norms.has(path)) {
        norms.set(
          path,
          Array.from({ length: Out }, (_, o) => {
            let square = 0;
            for (let i = 0; i < In; i++) {
              let v = weight(o, i);
              for (let r = 0; r < R; r++) v += s * b[o * R + r]! * a[r * In + i]!;
              square += v * v;
            }
            return Math.sqrt(square);
          }),
        );
      }
      return plusBias(sum.map((row) => row.map((v, o) => v * m[o]! / norms.get(path)![o]!)), bias);
    }
    const added = at(path, "lora_B.bias");
    return plusBias(plusBias(sum, bias), added && Array.from(added, (v) => s * v));
  };
  const tables = ["transformer.wte", "model.embed_tokens"];
  const table = tables.find((path) => at(path, "lora_embedding_A") || at(path, "token_adapter.trainable_tokens_delta"));
  if (table === undefined) return { map };
  const tokens = config.tokenTables?.[table] ?? [];
  const replaced = (id: number, row: number[]) => {
    const n = tokens.indexOf(id), delta = at(table, "token_adapter.trainable_tokens_delta");
    return delta && n >= 0 ? Array.from({ length: D }, (_, i) => delta[n * D + i]!) : row;
  };
  const updated = (id: number, row: number[]) => {
    const a = at(table, "lora_embedding_A"), b = at(table, "lora_embedding_B");
    if (!a || !b) return row;
    const R = b.length / D, V = a.length / R;
    return row.map((v, d) => {
      for (let r = 0; r < R; r++) v += scaleOf(table, R) * b[d * R + r]! * a[r * V + id]!;
      return v;
    });
  };
  return {
    map,
    vectors: (ids, row) => ids.map((id) => replaced(id, updated(id, row(id)))),
    // A tied output projection has the trained rows too.
    head: (w) => tokens.length === 0 ? w : rowsOf(w, D).flatMap((row, id) => replaced(id, row)),
  };
}
