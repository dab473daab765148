// The text so far on the GPU, so that many tokens are decoded before anything is read back.
import { putToken as putShader, tokenAt as tokenShader, TOKENS_LANES } from "../../shaders/tokens.ts";
import { dims } from "../core/dims.ts";
import { defineOp, type V0, type V1, type V2, type V4, type Value } from "../graph/graph.ts";

const tokenAtOp = defineOp<null, V2, V1>({
  name: "token_at",
  infer([tokens, position]) {
    const { S } = dims("token_at", { tokens: "S Tmax", position: "S" }, { tokens, position });
    return [{ shape: [S], dtype: "u32" }];
  },
  kernels({ inputs: [tokens, position], outputs }) {
    const [S, Tmax] = tokens.shape as [number, number];
    const workgroups = Math.ceil(S / TOKENS_LANES);
    const read = [tokens, position];
    return [{ name: "token at", wgsl: tokenShader(), read, write: outputs, uniform: [S, Tmax], workgroups, trips: 0 }];
  },
});

/** token u32[S]: tokens[S, Tmax] at position[S]. */
export function tokenAt(tokens: Value, position: Value): Value {
  return tokens.graph.add(tokenAtOp, [tokens, position], null)[0];
}

const putTokenOp = defineOp<null, V4, V0>({
  name: "put_token",
  infer([tokens, next, length, position]) {
    const shapes = { tokens: "S Tmax", next: "S", length: "S", position: "S" } as const;
    dims("put_token", shapes, { tokens, next, length, position });
    return [];
  },
  kernels({ inputs: [tokens, next, length, position] }) {
    const [S, Tmax] = tokens.shape as [number, number];
    const workgroups = Math.ceil(S / TOKENS_LANES);
    const read = [next, length, position];
    return [{ name: "put token", wgsl: putShader(), read, write: [tokens], uniform: [S, Tmax], workgroups, trips: 0 }];
  },
});

/**
 * Write next[S] behind position[S] into the state tokens[S, Tmax], where the prompt of length[S] tokens has ended.
 * Call it behind everything that reads `tokens`, and before the position is advanced.
 */
export function putToken(
  tokens: Value,
  { next, length, position }: { readonly next: Value; readonly length: Value; readonly position: Value },
): void {
  tokens.graph.add(putTokenOp, [tokens, next, length, position], null);
}
