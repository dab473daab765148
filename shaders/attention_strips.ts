// Attention for a software driver with subgroups: one subgroup owns a strip of `rows` queries of a head and walks over
// the keys, four a lane at a time; scores, probabilities and results stay in its registers (arXiv:2205.14135).
//
//   forward    s = scale·q·k, bent and masked    L = log Σ exp(s)    o = Σ exp(s − L)·v
//   gradient   dA = exp(s − L)·(dO·v − Σ dO·o), times 1 − (s / cap)² with softcap    dq = scale · Σ dA·k
//   keys       dv = Σ exp(s − L)·dO    dk = scale · Σ dA·q, over all queries of the heads that share a key head
//
// s and dA are kept for what comes next as [B·H, S, C], the queries of a key side by side (C: T rounded up to vectors of
// four): a lane stores its four rows and columns either way at the same cost, and sums over queries then read rows.
// Masked scores are −1e30. Tiles that no row sees are never written nor read.
// A storage load costs as much as dozens of multiply-adds there and shuffles cost nothing: every word is loaded by one
// lane. Workgroup [x, y] = [strip, head of a sequence].
import { unroll } from "./lib/product.ts";
import {
  addRows,
  four,
  joined,
  MASKED,
  prelude,
  results,
  rotate,
  split,
  store,
  strip,
  type StripOptions,
  type StripTile,
  tile,
} from "./lib/strips.ts";
import { wgsl } from "./wgsl.ts";

/** Loop iterations of a lane whose strip walks over `S` keys. */
export function stripTrips({ lanes, rows }: StripTile, E: number, S: number): number {
  return Math.ceil(S / (4 * lanes)) * (1 + E / 4 + rows / 4 + lanes) + (rows / lanes) * (1 + E / 4) + rows / 4;
}

/** Loop iterations of a lane whose strip of keys walks over `T` queries of `group` heads. */
export function stripKeyTrips({ rows }: StripTile, T: number, group: number): number {
  return group * (1 + Math.ceil(T / 4)) + rows / 4;
}

/** Options of {@linkcode stripForward}. */
export interface StripForwardOptions extends StripOptions {
  /** How the mask of real keys [B, S] is read, where there is one: vectors need S to be a multiple of four. */
  readonly mask: "none" | "vectors" | "words";
}

/** q, k, v, (mask[B, S]) → o, s[B·H, S, C], L[B·H, C] */
export function stripForward(options: StripForwardOptions): string {
  const { tile: { lanes, rows }, softcap, mask } = options, { type, parts } = split(options);
  const quads = rows / 4;
  const seen = (j: number) =>
    [
      `vec4<bool>(column + ${j}u <= last)`,
      "(row < vec4u(p.T))",
      ...mask === "none" ? [] : [`vec4<bool>(real[${j}])`],
      `(newest >= vec4u(column + ${j}u))`,
      `(row < vec4u(column + ${j}u + p.window))`,
    ].join(" & ");
  const score = (j: number) =>
    softcap
      ? `p.softcap * tanh(clamp(x[${j}] * (p.scale / p.softcap), vec4f(-15.0), vec4f(15.0)))`
      : `p.scale * x[${j}]`;
  return wgsl`
${
    prelude(options, [
      "a_in: array<vec4f>",
      "b_in: array<vec4f>",
      "d_in: array<vec4f>",
      ...mask === "none" ? [] : [`mask: array<${mask === "vectors" ? "vec4u" : "u32"}>`],
    ], [`r_out: array<${type}>`, "s_out: array<vec4f>", "L: array<vec4f>"])
  }
${strip(options)}
  var highest: array<vec4f, ${quads}>;
  var sums = array<vec4f, ${quads}>();
  var factor = array<vec4f, ${quads}>();
${unroll(quads, (i) => `  highest[${i}] = ${MASKED};`)}
  for (var n0 = first; n0 < limit; n0 += ${4 * lanes}u) {
#if ${mask === "vectors"}
    let real = mask[(sequence * p.S + min(n0 + 4u * lane, p.S - 4u)) / 4u] != vec4u();
#elif ${mask === "words"}
    let key = vec4u(sequence * p.S) + min(vec4u(n0 + 4u * lane) + LANE4, vec4u(last));
    let real = vec4u(mask[key.x], mask[key.y], mask[key.z], mask[key.w]) != vec4u();
#endif
${
    tile(
      options,
      `      let row = vec4u(m) + LANE4;
      let newest = select(vec4u(p.S), row, p.causal != 0u);
${unroll(4, (j) => `      let s${j} = select(${MASKED}, ${score(j)}, ${seen(j)});`)}
${
        unroll(
          4,
          (j) =>
            `      if (column + ${j}u <= last && m < p.pitch) { s_out[(scores_at + ${j}u * p.pitch) / 4u] = s${j}; }`,
        )
      }
      var top = max(max(s0, s1), max(s2, s3));
${joined("top", (a, b) => `max(${a}, ${b})`, lanes)}
      top = max(top, highest[0]);
      let scaled = exp(highest[0] - top);
${unroll(4, (j) => `      x[${j}] = select(exp(s${j} - top), vec4f(), s${j} == ${MASKED});`)}
${rotate("highest", quads, "top")}
${rotate("sums", quads, "sums[0] * scaled + ((x[0] + x[1]) + (x[2] + x[3]))")}
${rotate("factor", quads, "scaled")}`,
      unroll(rows * parts, (i) => {
        const row = Math.floor(i / parts);
        return `    o[${i}] *= factor[${Math.floor(row / 4)}][${row % 4}];`;
      }),
    )
  }
  }
${
    store(
      options,
      "p.T",
      (r) => `share[${r}]`,
      `      var total = sums[0];
${joined("total", (a, b) => `${a} + ${b}`, lanes)}
      let none = highest[0] == ${MASKED};
      let share = select(1.0 / total, vec4f(), none);
      if (lane == 0u && m < p.pitch) {
        L[(matrix * p.pitch + m) / 4u] = select(highest[0] + log(total), vec4f(1e30), none);
      }
${rotate("highest", quads, "vec4f()")}
${rotate("sums", quads, "vec4f()")}`,
    )
  }
}`;
}

/** dO, v, k, o, s[B·H, S, C], L[B·H, C] → dq, dA[B·H, S, C] */
export function stripQueryGrad(options: StripOptions): string {
  const { tile: { lanes, rows }, softcap } = options, { type } = split(options);
  const quads = rows / 4;
  const along = (i: number) => `subgroupShuffle(along[${Math.floor(i / lanes)}], ${i % lanes}u)`;
  return wgsl`
${
    prelude(options, [
      "a_in: array<vec4f>",
      "b_in: array<vec4f>",
      "d_in: array<vec4f>",
      "o_in: array<vec4f>",
      "s_in: array<vec4f>",
      "L: array<vec4f>",
    ], [`r_out: array<${type}>`, "dA: array<vec4f>"])
  }
${strip(options)}
  var along = array<f32, ${rows / lanes}>();
  for (var u = 0u; u < ${rows / lanes}u; u++) {
    let at = a_start + min(m0 + lane + u * ${lanes}u, p.T - 1u) * p.a.stride;
    var sum = 0.0;
    for (var e = 0u; e < p.E; e += 4u) { sum += dot(a_in[(at + e) / 4u], o_in[(at + e) / 4u]); }
${rotate("along", rows / lanes, "sum")}
  }
  var delta: array<vec4f, ${quads}>;
${unroll(quads, (i) => `  delta[${i}] = vec4f(${four((r) => along(4 * i + r))});`)}
  for (var n0 = first; n0 < limit; n0 += ${4 * lanes}u) {
${
    tile(
      options,
      `      let inside = min(m, p.pitch - 4u);
      let L4 = L[(matrix * p.pitch + inside) / 4u];
${unroll(4, (j) => `      let s${j} = s_in[((matrix * p.S + min(column + ${j}u, last)) * p.pitch + inside) / 4u];`)}
${
        unroll(4, (j) =>
          `      let g${j} = exp(s${j} - L4) * (x[${j}] - delta[0])${
            softcap ? ` * (1.0 - s${j} * s${j} * (1.0 / (p.softcap * p.softcap)))` : ""
          };
      x[${j}] = select(g${j}, vec4f(), vec4<bool>(column + ${j}u > last) | (s${j} == ${MASKED}));`)
      }
${
        unroll(
          4,
          (j) =>
            `      if (column + ${j}u <= last && m < p.pitch) { dA[(scores_at + ${j}u * p.pitch) / 4u] = x[${j}]; }`,
        )
      }
${rotate("delta", quads, "delta[0]")}`,
    )
  }
  }
${store(options, "p.T", () => "p.scale")}
}`;
}

/** s[B·H, S, C], L[B·H, C], dO → dv with `p.made`, of which weights are made, or dA[B·H, S, C], L, q → dk */
export function stripKeyGrad(options: StripOptions): string {
  const { tile: { lanes, rows } } = options, { type } = split(options);
  const weight = (u: number) =>
    `      let s${u} = w_in[(w${u}_at + from_row) / 4u];
      let w${u} = select(s${u}, select(exp(s${u} - L4), vec4f(), s${u} == ${MASKED}), p.made != 0u);`;
  return wgsl`
${prelude(options, ["w_in: array<vec4f>", "L: array<vec4f>", "d_in: array<vec4f>"], [`r_out: array<${type}>`])}
  let m0 = turn(id.x, count.x) * ${rows}u;
  let heads = p.H / p.group;
  let sequence = id.y / heads;
  let head = id.y % heads;
  let r_start = place(p.r, sequence, head);
  let first = select(0u, m0, p.causal != 0u);
  let limit = min(p.T, m0 + ${rows - 1}u + p.window);
${results(options)}
  for (var h = head * p.group; h < (head + 1u) * p.group; h++) {
    let matrix = sequence * p.H + h;
    let d_start = place(p.d, sequence, h);
${
    unroll(rows / lanes, (u) =>
      `    let w${u}_at = (matrix * p.S + min(m0 + lane + ${u * lanes}u, p.S - 1u)) * p.pitch;`)
  }
    for (var from_row = first; from_row < limit; from_row += 4u) {
      let L4 = L[(matrix * p.pitch + from_row) / 4u];
${unroll(rows / lanes, weight)}
${addRows(options, "p.T - 1u", (i) => `subgroupShuffle(w${Math.floor(i / lanes)}, ${i % lanes}u)`)}
    }
  }
${store(options, "p.S", () => "p.scale")}
}`;
}
