// What a window of micro-batches adds up, and the ring in which updates leave their figures until they are read:
// reading costs 10 ms whatever its size, so the trainer reads the ring once per log interval.
import { accumulate as shader, accumulateLoss, ringWrite as ringShader } from "../../shaders/accumulate.ts";
import { sweepWords } from "../../shaders/lib/sweep.ts";
import { size } from "../core/dims.ts";
import { ShapeError } from "../core/errors.ts";
import { RING_SLOTS } from "../core/scalars.ts";
import { defineOp, type Graph, type V0, type V3, type V4, type Value } from "../graph/graph.ts";
import { bindingsOf, type FlatLayout, flatPages } from "./flat.ts";
import { scalarsLeaf, statsLeaf } from "./norm.ts";
import { sweepOf } from "./sweep.ts";

const accumulateOp = defineOp<null, V3, V0>({
  name: "accumulate",
  infer: () => [],
  kernels: ({ inputs: [gradient, scalars, total] }, target) =>
    bindingsOf({ offset: 0, length: size(total.shape) }, target).map((part) => ({
      name: "accumulate",
      wgsl: shader(sweepOf(target)),
      read: [{ value: gradient, ...part }, scalars],
      write: [{ value: total, ...part }],
      uniform: [part.length],
      workgroups: Math.ceil(part.length / sweepWords(sweepOf(target))),
      trips: sweepOf(target).vectors,
    })),
});

/**
 * Append total = FIRST ? grads : total + grads, one dispatch a page, after {@linkcode placeGradients}. Only needed with
 * more than one micro-batch an update; with one, the update reads "grads" itself.
 */
export function accumulate(graph: Graph, layout: FlatLayout): void {
  const totals = flatPages(graph, layout, "total");
  for (const [page, gradient] of flatPages(graph, layout, "grads").entries()) {
    graph.add(accumulateOp, [gradient, scalarsLeaf(graph), totals[page]!], null);
  }
}

const recordLossOp = defineOp<null, V3, V0>({
  name: "record_loss",
  infer: () => [],
  kernels: ({ inputs: [loss, scalars, total] }) => [{
    name: "record_loss",
    wgsl: accumulateLoss(),
    read: [loss, scalars],
    write: [total],
    workgroups: 1,
    trips: 0,
  }],
});

/** The state "loss" [1]: the sum over the micro-batches of the window so far. */
export function lossLeaf(graph: Graph): Value {
  return graph.leaf("state", "loss", [1]);
}

/**
 * Append loss state = FIRST ? loss : loss state + loss.
 *
 * @throws {ShapeError} if `loss` is not [1].
 */
export function recordLoss(graph: Graph, loss: Value): void {
  if (size(loss.shape) !== 1) throw new ShapeError("record_loss", "loss", "1", loss.shape);
  graph.add(recordLossOp, [loss, scalarsLeaf(graph), lossLeaf(graph)], null);
}

/** The state "ring" [slots, 4]: a row an update with its loss, norm of gradients, non-finite flag and rate. */
export function ringLeaf(graph: Graph): Value {
  return graph.leaf("state", "ring", [RING_SLOTS, 4]);
}

const ringOp = defineOp<null, V4, V0>({
  name: "ring",
  infer: () => [],
  kernels: ({ inputs: [loss, stats, scalars, ring] }) => [{
    name: "ring",
    wgsl: ringShader(),
    read: [loss, stats, scalars],
    write: [ring],
    workgroups: 1,
    trips: 0,
  }],
});

/** Append ring[SLOT] = (loss, norm, flag, rate), last of the update program. */
export function ringWrite(graph: Graph): void {
  graph.add(ringOp, [lossLeaf(graph), statsLeaf(graph), scalarsLeaf(graph), ringLeaf(graph)], null);
}
