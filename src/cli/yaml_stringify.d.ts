/** YAML text of a value. The npm copy has no types. */
export function stringify(value: unknown, options: { readonly schema: "core"; readonly lineWidth: number }): string;
