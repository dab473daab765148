/** The value of a YAML text; throws a `SyntaxError` that names line and column. The npm copy has no types. */
export function parse(text: string, options: { readonly schema: "core" }): unknown;
