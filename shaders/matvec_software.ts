// c = alpha · a·b (+ low) (+ bias) (+ add) for so few rows that reading b is all the work, on a software driver.
//
// Every vector of b is loaded once and by one lane, in blocks of loads before their arithmetic (else they spill).
//   nt  b[N, K]: a subgroup takes as many rows of b as it has lanes; the lanes share the summands of all of them.
//   nn  b[K, N]: a lane owns groups of four columns, so that a subgroup reads long pieces of each row of b.
// Workgroup [x, y] = [columns, rows of a]; one workgroup is one subgroup.
import { lowSum } from "./lib/low_sum.ts";
import { type ProductFeatures, productLoader, productPrelude, unroll } from "./lib/product.ts";
import { wgsl } from "./wgsl.ts";

/** Options of {@linkcode matvecSoftware}. */
export interface MatvecSoftwareOptions extends ProductFeatures {
  /** Lanes of a subgroup, a multiple of four. */
  readonly lanes: number;
  /** Rows of a that share the loads of b. */
  readonly rows: number;
  /** Groups of four columns of a lane (nn). */
  readonly groups: number;
  /** K is no multiple of a step. */
  readonly tail: boolean;
}

/** Summands that one step takes: a vector for every lane, or one that all lanes read. */
export function matvecStep({ tb, lanes }: Pick<MatvecSoftwareOptions, "tb" | "lanes">): number {
  return tb ? 4 * lanes : 4;
}

/** Columns of a workgroup. */
export function matvecColumns({ tb, lanes, groups }: Pick<MatvecSoftwareOptions, "tb" | "lanes" | "groups">): number {
  return tb ? lanes : 4 * lanes * groups;
}

/** a[M, K], b[K, N] or [N, K], (bias[N]), (add[M, N]), (low_a[M, R], low_b) → c[M, N] */
export function matvecSoftware(options: MatvecSoftwareOptions): string {
  const { lanes, rows, tb, vectors, packed, parts } = options;
  return wgsl`
${productPrelude(options)}
${productLoader("a", vectors.a)}
${productLoader("b", vectors.b, packed)}
${lowSum(options)}

@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(local_invocation_index) lane: u32) {
  let batch = id.z;
  let part = part_of(batch);
  let m0 = id.y * ${rows}u;
  let first = id.x * ${matvecColumns(options)}u;
#if ${parts}
  if (m0 >= part.M || first >= part.N) { return; }
#endif
  let b_start = start(p.b, batch) + part.b;
${unroll(rows, (m) => `  let a${m}_at = start(p.a, batch) + part.a + min(m0 + ${m}u, part.M - 1u) * p.a.stride;`)}
${tb ? rowsOfB(options) : columnsOfB(options)}
}`;
}

function rowsOfB(options: MatvecSoftwareOptions): string {
  const { lanes, rows, tail } = options;
  const each = (text: (r: number, m: number) => string) => unroll(lanes, (r) => unroll(rows, (m) => text(r, m)));
  const column = tail ? "min(k + 4u * lane, part.K - 4u)" : "k + 4u * lane";
  const halves = Array.from({ length: Math.log2(lanes) }, (_, i) => lanes >> (i + 1));
  return wgsl`
${unroll(lanes, (r) => `  let b${r}_at = b_start + min(first + ${r}u, part.N - 1u) * p.b.stride;`)}
${each((r, m) => `  var c${r}_${m} = 0.0;`)}
  for (var k = 0u; k < part.K; k += ${matvecStep(options)}u) {
${
    unroll(rows, (m) => {
      const value = `load_a(a${m}_at + k + 4u * lane)`;
      return `    let a${m} = ${tail ? `select(vec4f(), ${value}, k + 4u * lane < part.K)` : value};`;
    })
  }
    let at = ${column};
${unroll(lanes, (r) => `    let b${r} = load_b(b${r}_at + at);`)}
${each((r, m) => `    c${r}_${m} += dot(a${m}, b${r});`)}
  }
  let at = home(batch);
  let n = first + lane;
${
    unroll(rows, (m) =>
      `  {
    var own = 0.0;
${
        unroll(lanes, (r) =>
          `    {
      var v = c${r}_${m};
${halves.map((half) => `      v += subgroupShuffleXor(v, ${half}u);`).join("\n")}
      own = select(own, v, lane == ${r}u);
    }`)
      }
    finish(own + low_sum(batch, m0 + ${m}u, n), at, m0 + ${m}u, n);
  }`)
  }`;
}

function columnsOfB(options: MatvecSoftwareOptions): string {
  const { lanes, rows, groups } = options;
  const each = (text: (g: number, m: number) => string) => unroll(groups, (g) => unroll(rows, (m) => text(g, m)));
  return wgsl`
${
    unroll(groups, (g) =>
      `  let n${g} = first + ${4 * g * lanes}u + 4u * lane;
  let b${g}_at = b_start + min(n${g}, part.N - 4u);`)
  }
${each((g, m) => `  var c${g}_${m} = vec4f();`)}
  for (var k = 0u; k < part.K; k += ${matvecStep(options)}u) {
${unroll(rows, (m) => `    let a${m} = load_a(a${m}_at + k);`)}
${unroll(4, (j) => unroll(groups, (g) => `    let b${g}_${j} = load_b(b${g}_at + (k + ${j}u) * p.b.stride);`))}
${each((g, m) => `    c${g}_${m} += b${g}_0 * a${m}.x + b${g}_1 * a${m}.y + b${g}_2 * a${m}.z + b${g}_3 * a${m}.w;`)}
  }
  let at = home(batch);
${
    each((g, m) =>
      `  finish4(c${g}_${m} + vec4f(low_sum(batch, m0 + ${m}u, n${g}), low_sum(batch, m0 + ${m}u, n${g} + 1u), low_sum(batch, m0 + ${m}u, n${g} + 2u), low_sum(batch, m0 + ${m}u, n${g} + 3u)), at, m0 + ${m}u, n${g});`
    )
  }`;
}
