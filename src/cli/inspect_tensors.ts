// A safetensors file: what it holds, and values that are not finite.
import { printable } from "../core/errors.ts";
import { openSafetensors, type SafetensorsFile } from "../io/safetensors.ts";
import { type TensorDType, toF32 } from "../io/tensor_dtype.ts";
import { attempt, type Findings, sortTensors, tensorFacts } from "./findings.ts";

const FLOATS: ReadonlySet<TensorDType> = new Set(["F32", "F16", "BF16"]);

/** Look at a safetensors file; `values` reads all of it. */
export async function inspectTensors(path: string, { values }: { readonly values: boolean }): Promise<Findings> {
  const problems: string[] = [];
  const file = await attempt(problems, () => openSafetensors(path));
  if (!file) return { kind: "safetensors", facts: [], tensors: [], problems, warnings: [] };
  try {
    const tensors = sortTensors([...file.tensors].map(([name, info]) => ({ name, ...info })));
    if (values) problems.push(...await valueProblems(path, file));
    const { size } = await Deno.stat(path);
    const metadata = [...file.metadata].map(([key, value]) =>
      [`metadata ${printable(key)}`, printable(value)] as const
    );
    return {
      kind: "safetensors",
      facts: [...tensorFacts(tensors, size), ...metadata],
      tensors,
      problems,
      warnings: [],
    };
  } finally {
    file.close();
  }
}

/** Tensors with values that are not finite. */
export async function valueProblems(path: string, file: SafetensorsFile): Promise<string[]> {
  const problems: string[] = [];
  for (const [name, { dtype }] of file.tensors) {
    if (!FLOATS.has(dtype)) continue;
    await attempt(problems, async () => {
      const numbers = toF32(dtype, await file.read(name), { name, path });
      const bad = numbers.reduce((count, x) => count + (Number.isFinite(x) ? 0 : 1), 0);
      if (bad > 0) problems.push(`${printable(name)}: ${bad} of ${numbers.length} values are not finite`);
    });
  }
  return problems;
}
