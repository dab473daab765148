// A graph as text: for DEBUG=3, for snapshots in tests, for reading.
import type { Listing } from "./fuse.ts";
import type { AnyNode, Value, Values } from "./graph.ts";

/** One line per node: `%7 f32[12, 64] = rms_norm(%3, w) {"eps":1e-6}  # model.layers.0`. */
export function print(graph: Pick<Listing, "nodes" | "places">): string {
  return graph.nodes.map((node) => line(graph, node)).join("\n");
}

function line(graph: Pick<Listing, "places">, { op, inputs, outputs, attrs, scope }: AnyNode): string {
  const results = (outputs as Values).map((v) => {
    const place = graph.places.get(v);
    return `%${v.id} ${v.dtype}[${v.shape.join(", ")}]${place ? ` @${place.parent.name}+${place.offset}` : ""}`;
  });
  const settings = attrs === null || attrs === undefined ? "" : ` ${JSON.stringify(attrs)}`;
  const left = results.length > 0 ? `${results.join(", ")} = ` : "";
  return `${left}${op.name}(${(inputs as Values).map(reference).join(", ")})${settings}${scope ? `  # ${scope}` : ""}`;
}

function reference(v: Value): string {
  return v.role === "temp" ? `%${v.id}` : v.name;
}
