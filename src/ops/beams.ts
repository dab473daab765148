// A step of beam search over states on the GPU, so that many steps are made before anything is read back; the rules are
// in shaders/beams.ts. Nothing here is differentiated.
import {
  BEAM_HEAD,
  BEAM_LANES,
  choiceWords,
  chooseBeams as chooseShader,
  chooseTrips,
  moveCache as cacheShader,
  moveTexts as textsShader,
} from "../../shaders/beams.ts";
import { widthOf } from "../../shaders/lib/vector.ts";
import { dims } from "../core/dims.ts";
import { ShapeError } from "../core/errors.ts";
import { defineOp, type V0, type V1, type V2, type V3, type Value, type Values } from "../graph/graph.ts";
import { continuations } from "./continuations.ts";
import { cacheParts } from "./decode.ts";
import { requireU32 } from "./require_u32.ts";

/** How beams are chosen. */
export interface BeamRules {
  /** Beams of a prompt. */
  readonly W: number;
  /** Tokens that end a text. */
  readonly ends: readonly number[];
  /** Whether a prompt is done as soon as W texts have ended; else when the best running beam cannot do better. */
  readonly early: boolean;
  /** Whether that beam is judged at the last length instead of at its own. */
  readonly far: boolean;
}

/** States of P prompts with W beams each; row r = p·W + b is beam b of prompt p. */
export interface BeamState {
  /** f32 [P, 2·W]: scores of the running beams, then of the ended texts. */
  readonly floats: Value;
  /** u32 [P, 3 + W]: whether the prompt is done, tokens written, tokens allowed, lengths of the ended texts. */
  readonly words: Value;
  /** f32: length^penalty at each length up to the longest allowed. */
  readonly powers: Value;
  /** u32 [P·W]: the token that the next run reads. */
  readonly current: Value;
  /** u32 [P·W]: its position. */
  readonly position: Value;
  /** u32 [P·W, Tmax]: the running texts. */
  readonly tokens: Value;
  /** u32 [P·W, Tmax]: the ended texts. */
  readonly ended: Value;
}

/** Words of `words` in front of the lengths. */
export const BEAM_WORDS = BEAM_HEAD;

/** Candidates that are looked at so that W beams go on whatever ends. */
export function beamCandidates({ W, ends }: Pick<BeamRules, "W" | "ends">): number {
  return Math.max(2, 1 + ends.length) * W;
}

const chooseOp = defineOp<BeamRules, Values, V1>({
  name: "choose_beams",
  infer: ([, , , , words], { W }) => [{ shape: [words!.shape[0]!, choiceWords(W)], dtype: "u32" }],
  kernels({ inputs, outputs: [choice], attrs }) {
    const [found, foundTokens, powers, floats, words, current, position] = inputs as Value[] as [...V3, ...V3, Value];
    const P = words.shape[0]!, kept = found.shape[1]!;
    const options = { ...attrs, K: beamCandidates(attrs), kept };
    return [{
      name: "choose beams",
      wgsl: chooseShader(options),
      read: [found, foundTokens, powers],
      write: [floats, words, current, position, choice],
      uniform: [P],
      workgroups: Math.ceil(P / BEAM_LANES),
      trips: chooseTrips(options),
    }];
  },
  stops: true,
});

const moveTextsOp = defineOp<{ readonly W: number }, V3, V0>({
  name: "move_texts",
  infer: () => [],
  kernels({ inputs: [choice, tokens, ended], attrs: { W } }) {
    const P = choice.shape[0]!, Tmax = tokens.shape[1]!;
    return [{
      name: "move texts",
      wgsl: textsShader(W),
      read: [choice],
      write: [tokens, ended],
      uniform: [P, Tmax],
      workgroups: Math.ceil(P * Tmax / BEAM_LANES),
      trips: 2 * W,
    }];
  },
});

const moveCacheOp = defineOp<{ readonly W: number }, V2, V0>({
  name: "move_cache",
  infer: () => [],
  kernels({ inputs: [choice, cache], attrs: { W } }, target) {
    const [, Tmax, D] = cache.shape as [number, number, number];
    const wgsl = cacheShader({ W, D });
    return cacheParts(cache, target, W).map(({ first, count, base, range }) => ({
      name: "move cache",
      wgsl,
      read: [choice],
      write: [range(cache)],
      uniform: [count / W, first / W, base, Tmax],
      workgroups: Math.ceil(count / W * Tmax * D / widthOf(D) / BEAM_LANES),
      trips: 3 * W,
    }));
  },
});

/**
 * One step: choose the beams of every prompt from log-probabilities[P·W, V] of their next tokens, and move their texts.
 * The result says how; give it to {@linkcode moveCache} for every cache of positions. The last nodes of a program.
 *
 * @throws {ShapeError} if a shape does not fit.
 * @throws {RangeError} if a prompt has fewer tokens than candidates.
 */
export function beamStep(logProbabilities: Value, state: BeamState, rules: BeamRules): Value {
  const { W, ends } = rules;
  const { floats, words, powers, current, position, tokens, ended } = state;
  const { S, V } = dims("beam_step", { logProbabilities: "S V", tokens: "S Tmax", ended: "S Tmax" }, {
    logProbabilities,
    tokens,
    ended,
  });
  requireU32("beam_step", { words, current, position, tokens, ended });
  const P = S / W, K = beamCandidates({ W, ends });
  for (const [name, value, shape] of [["floats", floats, [P, 2 * W]], ["words", words, [P, BEAM_WORDS + W]]] as const) {
    if (String(value.shape) !== String(shape)) throw new ShapeError("beam_step", name, "P columns", value.shape, { P });
  }
  if (W * V < K) throw new RangeError(`Cannot search with ${W} beams: they have ${W * V} tokens for ${K} candidates`);
  const found = continuations(logProbabilities, Math.min(K, V));
  const inputs = [found.scores, found.tokens, powers, floats, words, current, position];
  const [choice] = words.graph.add(chooseOp, inputs, rules);
  words.graph.add(moveTextsOp, [choice, tokens, ended], { W });
  return choice;
}

/**
 * Move the rows of a cache, a state [P·W, Tmax, D], to the beams that go on with them.
 *
 * @throws {RangeError} if the rows of a prompt exceed one binding.
 */
export function moveCache(cache: Value, choice: Value, { W }: Pick<BeamRules, "W">): void {
  cache.graph.add(moveCacheOp, [choice, cache], { W });
}
