// AdaLoRA's file: without the ranks that were taken away, whose places `rank_pattern` keeps.
import { adaloraNames } from "./adalora.ts";
import type { AdaloraConfig } from "./adalora_config.ts";
import type { AdapterTensor, FileForm } from "./file_form.ts";

/** Settings and tensors as they are saved. */
export function adaloraFileForm(
  config: AdaloraConfig,
  tensors: ReadonlyMap<string, AdapterTensor>,
): FileForm<AdaloraConfig> {
  const saved = new Map(tensors);
  for (const [place, kept] of patterns(config)) {
    const names = adaloraNames(place), r = kept.flatMap((is, i) => is ? [i] : []);
    const { a, b, e } = triple(tensors, names);
    saved.set(names.a, rows(a, r));
    saved.set(names.e, rows(e, r));
    const [Out = 0, R = 0] = b.shape;
    const data = new Float32Array(Out * r.length);
    for (let o = 0; o < Out; o++) r.forEach((from, to) => data[o * r.length + to] = b.data[o * R + from]!);
    saved.set(names.b, { shape: [Out, r.length], data });
  }
  return { config, tensors: saved };
}

/** The tensors of a file with zeros in the places of the ranks that it leaves out. */
export function adaloraFromFile(
  config: AdaloraConfig,
  tensors: ReadonlyMap<string, AdapterTensor>,
): ReadonlyMap<string, AdapterTensor> {
  const full = new Map(tensors);
  for (const [place, kept] of patterns(config)) {
    const names = adaloraNames(place), r = kept.flatMap((is, i) => is ? [i] : []);
    if (![names.a, names.b, names.e].every((name) => tensors.has(name))) continue; // told as missing
    const { a, b, e } = triple(tensors, names);
    // A file that fits neither is left to the check of shapes.
    if (a.shape[0] !== r.length || e.shape[0] !== r.length || b.shape[1] !== r.length) continue;
    const spread = ({ shape: [, width = 0], data }: AdapterTensor): AdapterTensor => {
      const result = new Float32Array(kept.length * width);
      r.forEach((to, from) => result.set(data.subarray(from * width, (from + 1) * width), to * width));
      return { shape: [kept.length, width], data: result };
    };
    full.set(names.a, spread(a));
    full.set(names.e, spread(e));
    const [Out = 0] = b.shape;
    const data = new Float32Array(Out * kept.length);
    for (let o = 0; o < Out; o++) r.forEach((to, from) => data[o * kept.length + to] = b.data[o * r.length + from]!);
    full.set(names.b, { shape: [Out, kept.length], data });
  }
  return full;
}

function patterns({ rankPattern }: AdaloraConfig): (readonly [path: string, kept: readonly boolean[]])[] {
  return Object.entries(rankPattern ?? {}).map(([name, kept]) => [name.replace(/\.lora_E$/, ""), kept] as const);
}

function triple(tensors: ReadonlyMap<string, AdapterTensor>, { a, b, e }: ReturnType<typeof adaloraNames>) {
  return { a: tensors.get(a)!, b: tensors.get(b)!, e: tensors.get(e)! };
}

function rows({ shape: [, width = 0], data }: AdapterTensor, kept: readonly number[]): AdapterTensor {
  const result = new Float32Array(kept.length * width);
  kept.forEach((from, to) => result.set(data.subarray(from * width, (from + 1) * width), to * width));
  return { shape: [kept.length, width], data: result };
}
