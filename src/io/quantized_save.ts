// Tensors of a quantized weight in the names and layouts that quantized_read.ts describes.
import { BLOCK, LEVELS, MAP, NESTED_BLOCK, quantizeNf4 } from "./nf4.ts";
import { quantizeInt8 } from "./packing.ts";
import type { LazyTensor } from "./safetensors_write.ts";
import { asBytes, type TensorDType } from "./tensor_dtype.ts";

/** A weight to quantize. */
export interface QuantizedWeight {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** The tensors of a weight in 8 or 4 bits; `computeDType` is what bitsandbytes unpacks it to. */
export function quantizedWeight(
  { name, shape, data }: QuantizedWeight,
  { format, computeDType }: { readonly format: "int8" | "nf4"; readonly computeDType: string },
): LazyTensor[] {
  const tensor = (
    suffix: string,
    dtype: TensorDType,
    sizes: readonly number[],
    array: ArrayBufferView,
  ): LazyTensor => ({
    name: `${name}${suffix}`,
    dtype,
    shape: sizes,
    data: () => asBytes(array),
  });
  if (format === "int8") {
    const { codes, scales } = quantizeInt8(data);
    return [tensor("", "I8", shape, codes), tensor(".scales", "F32", [scales.length], scales)];
  }
  const { codes, absmax, nested, offset } = quantizeNf4(data);
  const state = JSON.stringify({
    quant_type: "nf4",
    blocksize: BLOCK,
    dtype: computeDType,
    shape,
    nested_blocksize: NESTED_BLOCK,
    nested_dtype: "float32",
    nested_offset: offset,
  });
  const text = new TextEncoder().encode(state);
  return [
    tensor("", "U8", [codes.length, 1], codes),
    tensor(".absmax", "U8", [absmax.length], absmax),
    tensor(".quant_map", "F32", [LEVELS.length], Float32Array.from(LEVELS)),
    tensor(".nested_absmax", "F32", [nested.length], nested),
    tensor(".nested_quant_map", "F32", [MAP.length], MAP),
    tensor(".quant_state.bitsandbytes__nf4", "U8", [text.length], text),
  ];
}

/**
 * `quantization_config` of config.json. Weights that are stored [In, Out] have other blocks than the [Out, In] that
 * transformers expects of bitsandbytes, and 8 bits have scales of their own: both are marked as ours.
 */
export function quantizationConfig(
  { format, computeDType, transposed }: {
    readonly format: "int8" | "nf4";
    readonly computeDType: string;
    readonly transposed: boolean;
  },
): Readonly<Record<string, unknown>> {
  if (format === "int8" || transposed) return { quant_method: "graft", format, block_size: BLOCK };
  return {
    quant_method: "bitsandbytes",
    load_in_4bit: true,
    load_in_8bit: false,
    bnb_4bit_quant_type: "nf4",
    bnb_4bit_use_double_quant: true,
    bnb_4bit_compute_dtype: computeDType,
    bnb_4bit_quant_storage: "uint8",
    llm_int8_skip_modules: ["lm_head"],
  };
}
