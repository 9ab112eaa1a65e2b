/**
 * Tensors in nested objects and arrays, by name: `blocks.0.attn.qkv.weight`, as PyTorch names the parameters of a model.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";

/** Whether a value is a leaf of a tree: a tensor, unless said otherwise. */
export type LeafTest<Leaf> = (value: object) => value is Leaf & object;

const isTensor = (value: object): value is tf.Tensor => value instanceof tf.Tensor;

/**
 * The tensors of nested plain objects and arrays by name, in their order: keys and indices on the way to each, joined by
 * dots. `undefined` is left out.
 *
 * @param isLeaf What to take instead of tensors.
 * @throws {TypeError} Where the tree holds anything else.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const model = { blocks: [{ weight: tf.zeros([2, 2]) }], head: { weight: tf.zeros([2]), bias: undefined } };
 * assert.deepEqual([...flatten(model).keys()], ["blocks.0.weight", "head.weight"]);
 * ```
 */
export function flatten(tree: object): Map<string, tf.Tensor>;
export function flatten<Leaf>(tree: object, isLeaf: LeafTest<Leaf>): Map<string, Leaf>;
export function flatten(tree: object, isLeaf: LeafTest<unknown> = isTensor): Map<string, unknown> {
  const found = new Map<string, unknown>();
  mapTree(tree, isLeaf, (leaf, name) => found.set(name, leaf));
  return found;
}

/**
 * The same nested objects and arrays with something else in the place of each tensor.
 *
 * @param isLeaf What to replace instead of tensors.
 * @throws {TypeError} Where the tree holds anything else.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const shapes = mapTree({ a: [tf.zeros([2, 3])] }, (value) => value instanceof tf.Tensor, (tensor, name) => {
 *   return `${name}: ${tensor.shape}`;
 * });
 * assert.deepEqual(shapes, { a: ["a.0: 2,3"] });
 * ```
 */
export function mapTree<Leaf>(
  tree: object,
  isLeaf: LeafTest<Leaf>,
  change: (leaf: Leaf, name: string) => unknown,
): unknown {
  const visit = (value: unknown, name: string): unknown => {
    if (value === undefined) return undefined;
    if (typeof value === "object" && value !== null) {
      if (isLeaf(value)) return change(value, name);
      const under = (key: string | number) => name === "" ? `${key}` : `${name}.${key}`;
      if (Array.isArray(value)) return value.map((item, i) => visit(item, under(i)));
      const prototype = Object.getPrototypeOf(value);
      if (prototype === null || prototype === Object.prototype) {
        return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, visit(item, under(key))]));
      }
    }
    const what = typeof value === "object" && value !== null ? value.constructor?.name ?? "object" : String(value);
    throw new TypeError(
      `parameters are tensors in plain objects and arrays, but ${name || "the whole"} is ${what}; keep it elsewhere`,
    );
  };
  return visit(tree, "");
}
