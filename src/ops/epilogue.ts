// What may follow a product without a dispatch of its own: an op that treats every element alike, done to the sums of
// the product before they are stored. The value in between, of the size of c, is then never written nor read.
import type { AnyNode, Node, Op, Values } from "../graph/graph.ts";
import { addOp } from "./elementwise.ts";
import type { ProductCall } from "./product.ts";
import { cut } from "./product_cut.ts";
import { type ProductOutputs, splitKernels } from "./product_split.ts";

/** An op that is one product; c is its first output. */
export interface ProductOp<A, In extends Values> extends Omit<Op<A, In, ProductOutputs>, "kernels" | "absorb"> {
  call(node: Node<A, In, ProductOutputs>): ProductCall;
}

/** Declare an op that is one product, and does what follows it. */
export function productOp<A, In extends Values>({ call, ...op }: ProductOp<A, In>): Op<A, In, ProductOutputs> {
  return {
    ...op,
    kernels: (node, target) => splitKernels(call(node), node.outputs[1], target),
    absorb: (node, user) => follow(call, node, user),
  };
}

/** The product with the work of `user` in its store; the new op finds the other operand behind those of the maker. */
function follow<A, In extends Values>(
  call: ProductOp<A, In>["call"],
  maker: Node<A, In, ProductOutputs>,
  user: AnyNode,
): AnyNode | undefined {
  const { pointwise, name } = user.op;
  const [c, ...shares] = maker.outputs;
  if (!pointwise || call(maker).add) return undefined;
  const place = user.inputs[0] === c ? 0 : 1;
  const other = (user.inputs as Values)[1 - place];
  const outputs: ProductOutputs = [user.outputs[0], ...shares];
  const { reads, expression, functions = "" } = pointwise;
  const then = { expression, functions, result: reads[place]!, ...(other ? { other: reads[1 - place]! } : {}) };
  const joined = (node: Node<null, Values, ProductOutputs>): ProductCall => {
    const inputs = node.inputs.slice(0, maker.inputs.length) as Values as In;
    const product = call({ ...maker, inputs, outputs: node.outputs });
    return {
      ...product,
      name: `${product.name} + ${name}`,
      ...(other ? { add: { ...product.c, value: node.inputs[maker.inputs.length]! } } : {}),
      ...(user.op === addOp ? {} : { then }),
    };
  };
  const op: Op<null, Values, ProductOutputs> = {
    name: `${maker.op.name} + ${name}`,
    infer: () => outputs,
    kernels: (node, target) => splitKernels(joined(node), node.outputs[1], target),
  };
  const inputs = other ? [...maker.inputs, other] : maker.inputs;
  const node = { op, inputs, outputs, attrs: null, scope: maker.scope };
  // A product that is cut along its summands is complete only behind the last cut; sums do not mind.
  const whole = joined(node);
  if (whole.then && cut(whole, c.graph.target).some(({ accumulate }) => accumulate)) return undefined;
  return node;
}
