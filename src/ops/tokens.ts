// The text so far on the GPU, so that many tokens are decoded before anything is read back.
import { putToken as shader, TOKENS_LANES } from "../../shaders/tokens.ts";
import { dims } from "../core/dims.ts";
import { defineOp, type V0, type V4, type Value } from "../graph/graph.ts";

const putTokenOp = defineOp<null, V4, V0>({
  name: "put_token",
  infer([tokens, next, current, position]) {
    const shapes = { tokens: "S Tmax", next: "S", current: "S", position: "S" } as const;
    dims("put_token", shapes, { tokens, next, current, position });
    return [];
  },
  kernels({ inputs: [tokens, next, current, position] }) {
    const [S, Tmax] = tokens.shape as [number, number];
    const workgroups = Math.ceil(S / TOKENS_LANES);
    const write = [tokens, current, position];
    return [{ name: "put token", wgsl: shader(), read: [next], write, uniform: [S, Tmax], workgroups, trips: 0 }];
  },
});

/** Where a decoding program is: states of u32. */
export interface TextState {
  /** The tokens [S, Tmax]. */
  readonly tokens: Value;
  /** The token [S] that the next run reads. */
  readonly current: Value;
  /** Its position [S]. */
  readonly position: Value;
}

/**
 * Write next[S] behind position[S] into the text, where the next run reads it, and advance the positions; at the end of
 * a text all stays as it is. The last node of a decoding program.
 *
 * @throws {ShapeError} if the shapes do not fit.
 */
export function putToken({ tokens, current, position }: TextState, next: Value): void {
  tokens.graph.add(putTokenOp, [tokens, next, current, position], null);
}
