// One step of beam search, as transformers' `_beam_search`: W beams of a prompt, K candidates for each of them.
//
//   candidates   the K best of scores[b] + continuations of b, over all beams
//   ended        those of the first W that are an end token, or the last token allowed; the W best of them and of those
//                that had ended before are kept, by score / length^penalty
//   running      the first W of the others
//   done         when W have ended and the best running beam cannot do better, or the last token was written
//
// `chooseBeams`: one invocation per prompt. What it chose is moved by `moveTexts` and `moveCache`, one invocation per
// prompt and column, each of which reads its column of all W rows before it writes: in place. Row r is beam r mod W.
import { declareBuffers } from "./lib/bindings.ts";
import { flatMain } from "./lib/index.ts";
import { vectorType, widthOf } from "./lib/vector.ts";
import { wgsl } from "./wgsl.ts";

/** Invocations of a workgroup. */
export const BEAM_LANES = 64;

/** Words of a prompt's state in front of the lengths of its W ended texts: done, tokens written, tokens allowed. */
export const BEAM_HEAD = 3;

/** Options of {@linkcode chooseBeams}. */
export interface ChooseBeamsOptions {
  /** Beams of a prompt. */
  readonly W: number;
  /** Candidates of a prompt that are looked at. */
  readonly K: number;
  /** Continuations of a beam that there are. */
  readonly kept: number;
  /** End tokens. */
  readonly ends: readonly number[];
  /** Whether a prompt is done as soon as W texts have ended. */
  readonly early: boolean;
  /** Whether the best running beam is taken at the last length instead of at its own. */
  readonly far: boolean;
}

/** Words of a prompt's choice: active, column of the new token, then W each of parents, tokens, sources, end tokens. */
export function choiceWords(W: number): number {
  return 2 + 4 * W;
}

/** Loop iterations of an invocation of {@linkcode chooseBeams}. */
export function chooseTrips({ W, K }: Pick<ChooseBeamsOptions, "W" | "K">): number {
  return K * (1 + 2 * W) + 4 * W;
}

/**
 * found[S, kept], found_tokens u32 [S, kept], powers[·] (n^penalty at n) → floats[P, 2W] (scores of running beams, of
 * ended texts), words u32 [P, 3 + W], current u32 [S], position u32 [S] in place, choice u32 [P, 2 + 4W]; uniform p: P.
 */
export function chooseBeams({ W, K, kept, ends, early, far }: ChooseBeamsOptions): string {
  const isEnd = ends.map((token) => `token == ${token}u`).join(" || ") || "false";
  return wgsl`
struct P { count: u32 }
const W = ${W}u;
const KEPT = ${kept}u;
const WORDS = ${BEAM_HEAD + W}u;
const CHOICE = ${choiceWords(W)}u;
const EMPTY = -1.0e9;
${
    declareBuffers(
      ["found: array<f32>", "found_tokens: array<u32>", "powers: array<f32>"],
      ["floats: array<f32>", "words: array<u32>", "current: array<u32>", "position: array<u32>", "choice: array<u32>"],
    )
  }
${flatMain(BEAM_LANES, "n")}
  if (n >= p.count) { return; }
  let state = n * WORDS;
  let made = n * CHOICE;
  if (words[state] != 0u) {
    for (var i = 0u; i < CHOICE; i++) { choice[made + i] = 0u; }
    return;
  }
  let step = words[state + 1u] + 1u;
  let is_last = step >= words[state + 2u];
  var heads: array<u32, W>;
  var ended: array<f32, W>;
  var lengths: array<u32, W>;
  var sources: array<u32, W>;
  var end_tokens: array<u32, W>;
  var parents: array<u32, W>;
  var tokens: array<u32, W>;
  var scores: array<f32, W>;
  var running = 0u;
  for (var b = 0u; b < W; b++) {
    heads[b] = 0u;
    ended[b] = floats[(2u * n + 1u) * W + b];
    lengths[b] = words[state + ${BEAM_HEAD}u + b];
    sources[b] = b;
    end_tokens[b] = 0u;
    parents[b] = b;
    tokens[b] = 0u;
    scores[b] = EMPTY;
  }
  for (var rank = 0u; rank < ${K}u; rank++) {
    var best = -3.0e38;
    var beam = W;
    for (var b = 0u; b < W; b++) {
      let at = (n * W + b) * KEPT + min(heads[b], KEPT - 1u);
      let score = floats[2u * n * W + b] + found[at];
      if (heads[b] < KEPT && score > best) { best = score; beam = b; }
    }
    if (beam == W) { break; }
    let token = found_tokens[(n * W + beam) * KEPT + heads[beam]];
    heads[beam]++;
    if (is_last || ${isEnd}) {
      let value = best / powers[step];
      var place = W;
      // Behind all that are not worse; the worse ones move one on and the last falls out.
      for (var i = W; i > 0u; i--) {
        if (lengths[i - 1u] != 0u && ended[i - 1u] >= value) { break; }
        place = i - 1u;
      }
      if (rank < W && place < W) {
        for (var i = W - 1u; i > place; i--) {
          ended[i] = ended[i - 1u];
          lengths[i] = lengths[i - 1u];
          sources[i] = sources[i - 1u];
          end_tokens[i] = end_tokens[i - 1u];
        }
        ended[place] = value;
        lengths[place] = step;
        sources[place] = W + beam;
        end_tokens[place] = token;
      }
    } else if (running < W) {
      parents[running] = beam;
      tokens[running] = token;
      scores[running] = best;
      running++;
    }
  }
  let possible = scores[0] / powers[${far ? "words[state + 2u]" : "step"}];
  let full = lengths[W - 1u] != 0u;
  let done = is_last || running == 0u || (full && (${early} || possible <= ended[W - 1u]));
  words[state] = select(0u, 1u, done);
  words[state + 1u] = step;
  choice[made] = 1u;
  choice[made + 1u] = position[n * W] + 1u;
  for (var b = 0u; b < W; b++) {
    floats[2u * n * W + b] = scores[b];
    floats[(2u * n + 1u) * W + b] = ended[b];
    words[state + ${BEAM_HEAD}u + b] = lengths[b];
    current[n * W + b] = tokens[b];
    position[n * W + b]++;
    choice[made + 2u + b] = parents[b];
    choice[made + 2u + W + b] = tokens[b];
    choice[made + 2u + 2u * W + b] = sources[b];
    choice[made + 2u + 3u * W + b] = end_tokens[b];
  }
}`;
}

/** choice u32 [P, 2 + 4W] → tokens u32 [S, Tmax], ended u32 [S, Tmax], both in place; uniform p: P, Tmax. */
export function moveTexts(W: number): string {
  return wgsl`
struct P { count: u32, Tmax: u32 }
const W = ${W}u;
${declareBuffers(["choice: array<u32>"], ["tokens: array<u32>", "ended: array<u32>"])}
${flatMain(BEAM_LANES)}
  let n = i / p.Tmax;
  let t = i % p.Tmax;
  if (n >= p.count) { return; }
  let made = n * ${choiceWords(W)}u;
  let now = choice[made + 1u];
  if (choice[made] == 0u || t > now) { return; }
  let parents = made + 2u;
  var before: array<u32, W>;
  var kept: array<u32, W>;
  for (var b = 0u; b < W; b++) {
    before[b] = tokens[(n * W + b) * p.Tmax + t];
    kept[b] = ended[(n * W + b) * p.Tmax + t];
  }
  for (var b = 0u; b < W; b++) {
    let at = (n * W + b) * p.Tmax + t;
    tokens[at] = select(before[choice[parents + b]], choice[parents + W + b], t == now);
    let source = choice[parents + 2u * W + b];
    if (source >= W) {
      ended[at] = select(before[source - W], choice[parents + 3u * W + b], t == now);
    } else {
      ended[at] = kept[source];
    }
  }
}`;
}

/** Options of {@linkcode moveCache}. */
export interface MoveCacheOptions {
  readonly W: number;
  /** Numbers of a position. */
  readonly D: number;
}

/** choice u32 [P, 2 + 4W] → cache[n·W, Tmax, D] in place; uniform p: prompts n, first of them, first word, Tmax. */
export function moveCache({ W, D }: MoveCacheOptions): string {
  const width = widthOf(D);
  return wgsl`
struct P { count: u32, first: u32, base: u32, Tmax: u32 }
const W = ${W}u;
const D = ${D / width}u; // vectors of a position
${declareBuffers(["choice: array<u32>"], [`cache: array<${vectorType(width)}>`])}
${flatMain(BEAM_LANES)}
  let columns = p.Tmax * D;
  let n = i / columns;
  let column = i % columns;
  if (n >= p.count) { return; }
  let made = (p.first + n) * ${choiceWords(W)}u;
  if (choice[made] == 0u || column / D >= choice[made + 1u]) { return; }
  var moved = false;
  for (var b = 0u; b < W; b++) { moved = moved || choice[made + 2u + b] != b; }
  if (!moved) { return; }
  let start = p.base / ${width}u + n * W * columns + column;
  var before: array<${vectorType(width)}, W>;
  for (var b = 0u; b < W; b++) { before[b] = cache[start + b * columns]; }
  for (var b = 0u; b < W; b++) { cache[start + b * columns] = before[choice[made + 2u + b]]; }
}`;
}
