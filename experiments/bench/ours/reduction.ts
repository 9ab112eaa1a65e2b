/**
 * Workloads of `reduction`, in this library.
 *
 * @module
 */
import { randomKey, tf } from "tessera/tensor/mod.ts";
import { applyMap, type BlockView, identityMap, positionsOf, type Reducer } from "tessera/nn/mod.ts";
import {
  bipartiteSoftMatching,
  catalogue,
  type LayerBudget,
  type MethodName,
  type ModelSizes,
  reducers,
} from "tessera/reduction/mod.ts";
import type { Parameter } from "../workload.ts";
import type { Job } from "../workloads/reduction.ts";
import { imagesOf, modelOf } from "./vit.ts";
import { inferred, numbersOf, patternTensor, read, type Ready, way } from "./worker.ts";

/** Makes a workload ready. */
export function prepare(job: Job, parameters: readonly Parameter[]): Ready {
  switch (job.kind) {
    case "vit_tome":
    case "vit_evit": {
      const model = modelOf(job.sizes, parameters, false);
      const images = imagesOf(job.sizes, job.batch);
      const reducerOf = (parity: boolean) => {
        if (job.kind === "vit_tome") return reducers.tome({ r: job.r, parity });
        return reducers.evit({ keepRate: job.keepRate, parity });
      };
      const forward = (parity: boolean) => (images: tf.Tensor) => {
        return model.forward(images as tf.Tensor4D, { reducer: reducerOf(parity) }).logits;
      };
      const ready = inferred(forward(false), [images]);
      if (way !== "eager") return { ...ready, check: [] };
      // the peers follow the authors where our default does not: they are held against that form
      return { ...ready, check: meanAndFirst(read(forward(true), [images])) };
    }
    case "call": {
      const { batch, tokens, channels, heads, keep } = job;
      const patches = tokens - 1, side = Math.round(Math.sqrt(patches));
      const place = {
        layer: 0,
        layers: 12,
        tokens,
        initialTokens: tokens,
        specialTokens: 1,
        grid: [side, side] as const,
      };
      const sizes = { width: channels, heads, layers: 12, grid: place.grid, specialTokens: 1 };
      const budget = { keep: [keep], layers: [0] };
      const shapes = { keys: [batch, heads, tokens, channels / heads], attention: [batch, heads, tokens, tokens] };
      const known: Readonly<Record<string, () => tf.Tensor>> = {
        keys: () => patternTensor(901, shapes.keys),
        values: () => patternTensor(902, shapes.keys),
        attention: () => tf.softmax(patternTensor(903, shapes.attention)),
        positions: () => positionsOf(identityMap(batch, tokens)),
        key: () => randomKey(1),
      };
      const reducers = [false, job.parity].map((parity) => reducerOf(job.method, budget, sizes, parity, parameters));
      const needs = ["x", "size", ...reducers[0].needs];
      const inputs = [
        patternTensor(900, [batch, tokens, channels]),
        tf.ones([batch, tokens]),
        ...reducers[0].needs.map((name) => known[name]()),
      ];
      const once = (reducer: Reducer) => (...inputs: tf.Tensor[]) => {
        const fields = Object.fromEntries(needs.map((name, i) => [name, inputs[i]]));
        const view = { ...place, ...fields } as unknown as BlockView;
        return applyMap(reducer.reduce(view), view.x, view.size).x;
      };
      const ready = inferred(once(reducers[0]), inputs);
      return { ...ready, check: job.drawn ? [] : meanAndFirst(read(once(reducers[1]), inputs)).slice(0, 1) };
    }
    case "vit_method": {
      const { method, keep, layers, sizes: { image, patch, width, heads, depth } } = job;
      const isOwn = ({ name }: Parameter) => name.startsWith("reduce.");
      const model = modelOf(job.sizes, parameters.filter((one) => !isOwn(one)), false);
      const sizes = { width, heads, layers: depth, grid: [image / patch, image / patch] as const, specialTokens: 1 };
      const images = imagesOf(job.sizes, job.batch);
      const forward = (parity: boolean) => {
        const reducer = reducerOf(method, { keep, layers }, sizes, parity, parameters);
        const key = reducer.needs.includes("key") ? { key: randomKey(1) } : {};
        return (images: tf.Tensor) => model.forward(images as tf.Tensor4D, { reducer, ...key }).logits;
      };
      const ready = inferred(forward(false), [images]);
      return { ...ready, check: job.drawn ? [] : meanAndFirst(read(forward(job.parity), [images])) };
    }
    case "tome": {
      const { batch, tokens, channels, r } = job;
      const x = patternTensor<tf.Tensor3D>(900, [batch, tokens, channels]);
      const size = tf.ones([batch, tokens]);
      const once = (x: tf.Tensor, size: tf.Tensor) => {
        const map = bipartiteSoftMatching(x as tf.Tensor3D, { r });
        return applyMap(map, x as tf.Tensor3D, size as tf.Tensor2D).x;
      };
      const ready = inferred(once, [x, size]);
      return { ...ready, check: ready.check.slice(0, 1) };
    }
  }
}

function meanAndFirst(values: readonly number[]): number[] {
  return [values.reduce((sum, value) => sum + Math.abs(value), 0) / values.length, ...values.slice(0, 4)];
}

/** A method of the catalogue, with the described parameters where it has any. */
function reducerOf(
  method: string,
  budget: LayerBudget,
  sizes: ModelSizes,
  parity: boolean,
  described: readonly Parameter[],
): Reducer {
  const { create } = catalogue.get(method as MethodName) as unknown as { create: (options: object) => Reducer };
  const own = [...numbersOf(described)].filter(([name]) => name.startsWith("reduce."));
  const sets: Record<string, unknown>[] = [];
  for (const [name, { data, shape }] of own) {
    const [, stage, ...path] = name.split(".");
    let at: Record<string, unknown> = sets[Number(stage)] ??= {};
    path.slice(0, -1).forEach((key, i) => {
      at = (at[key] ??= path[i + 1] === "0" || path[i + 1] === "1" ? [] : {}) as Record<string, unknown>;
    });
    at[path.at(-1)!] = tf.tensor(data, shape);
  }
  return create({ ...budget, parity, sizes, ...(sets.length ? { parameters: sets } : {}) });
}
