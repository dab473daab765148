// Who takes part in the shared benchmark, and how each is started.
import type { PeersMode } from "./graft_model.ts";

/** A framework on one backend. */
export interface Peer {
  readonly name: string;
  /** Script in this folder. */
  readonly script: string;
  /** npm packages, each with its version; none for Python. */
  readonly packages: readonly string[];
  readonly backend: "wasm" | "webgpu" | "cpu";
  /** Steps of a round, and those at its start that are not counted. */
  readonly steps: number;
  readonly warm: number;
  /** Only in the first round: seconds a step. */
  readonly once: boolean;
  /** Whether it trains the same model, so that losses can be compared. */
  readonly sameModel: boolean;
}

const fast = { steps: 16, warm: 4, once: false, sameModel: true } as const;
const slow = { steps: 6, warm: 2, once: true, sameModel: true } as const;
const jax = { script: "jax.mjs", packages: ["@jax-js/jax@0.1.25"] } as const;
const tfjs = {
  script: "tfjs.mjs",
  packages: ["tfjs", "tfjs-backend-wasm", "tfjs-backend-webgpu"].map((name) => `@tensorflow/${name}@4.22.0`),
} as const;

/** Our own entry in the tables. */
export const GRAFT = "graft";

/** All others, the fast ones first. */
export const peers: readonly Peer[] = [
  { ...jax, ...fast, name: "jax-js wasm", backend: "wasm" },
  { ...fast, name: "PyTorch CPU, 1 thread", script: "pytorch.py", packages: [], backend: "cpu" },
  { ...jax, ...slow, name: "jax-js webgpu", backend: "webgpu" },
  { ...tfjs, ...slow, name: "tfjs webgpu", backend: "webgpu" },
  { ...tfjs, ...slow, name: "tfjs wasm", backend: "wasm" },
  {
    ...slow,
    name: "nanogpt webgpu",
    script: "nanogpt.mjs",
    packages: ["@genai-fi/nanogpt@1.3.0"],
    backend: "webgpu",
    sameModel: false,
  },
];

/** What is trained, in the order of the tables. */
export const modes: readonly PeersMode[] = ["full", "lora"];
