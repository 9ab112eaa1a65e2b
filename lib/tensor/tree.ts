/**
 * Tensors in plain objects and arrays: what goes into a compiled function and what comes out.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";

/** A value with its tensors taken out. */
export type Template =
  | { readonly kind: "tensor"; readonly index: number }
  | { readonly kind: "plain"; readonly value: unknown }
  | { readonly kind: "array"; readonly items: readonly Template[] }
  | { readonly kind: "object"; readonly entries: readonly (readonly [string, Template])[] };

/** Deeper than any value that is meant: it contains itself. */
const MAX_DEPTH = 64;

/**
 * Takes the tensors out of a value. Variables are part of the template: they are meant by reference.
 *
 * @param tensors Receives them.
 * @param what What the value is, to begin the sentence of an error with.
 * @param once Whether a tensor that occurs twice is taken out once, so that it is one tensor again when put together.
 * @throws {TypeError} If it holds anything but tensors, arrays, plain objects, numbers, strings, booleans, bigints, null
 *   and undefined.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const tensors: tf.Tensor[] = [];
 * const template = takeApart({ x: tf.scalar(1), name: "one" }, tensors, "the result");
 * assert.equal(tensors.length, 1);
 * assert.deepEqual(putTogether(template, ["here"]), { x: "here", name: "one" });
 * ```
 */
export function takeApart(value: unknown, tensors: tf.Tensor[], what: string, once = false): Template {
  return apart(value, tensors, once ? new Map() : undefined, what, 0);
}

/**
 * The value of a template, with `tensors` in the places of those taken out.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(putTogether({ kind: "array", items: [{ kind: "tensor", index: 0 }] }, ["t"]), ["t"]);
 * ```
 */
export function putTogether(template: Template, tensors: readonly unknown[]): unknown {
  switch (template.kind) {
    case "tensor":
      return tensors[template.index];
    case "plain":
      return template.value;
    case "array":
      return template.items.map((item) => putTogether(item, tensors));
    case "object":
      return Object.fromEntries(template.entries.map(([key, item]) => [key, putTogether(item, tensors)]));
  }
}

/**
 * A text that is the same for two values that differ in their tensors' values only: structure, types and shapes, plain
 * values, and which variables.
 *
 * @param tensors Receives the tensors, in the order of {@link takeApart}.
 * @throws {TypeError} As {@link takeApart}.
 * @throws {Error} If a tensor was disposed.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.equal(signatureOf([tf.zeros([2, 3]), { r: 8 }], [], "argument"), "[float32[2,3],{r:8}]");
 * ```
 */
export function signatureOf(value: unknown, tensors: tf.Tensor[], what: string): string {
  return signature(value, tensors, what, 0);
}

function signature(value: unknown, tensors: tf.Tensor[], what: string, depth: number): string {
  if (value === null || typeof value !== "object") return plainSignature(value, what);
  if (value instanceof tf.Tensor) {
    if (value.isDisposed) throw new Error(`${what} holds a tensor of shape [${value.shape}] that was disposed`);
    if (value instanceof tf.Variable) return `variable ${value.id}`;
    tensors.push(value);
    return `${value.dtype}[${value.shape}]`;
  }
  refuseOther(value, what, depth);
  let text = "";
  if (Array.isArray(value)) {
    for (const item of value) text += `${text && ","}${signature(item, tensors, what, depth + 1)}`;
    return `[${text}]`;
  }
  for (const key in value) {
    const item = (value as Record<string, unknown>)[key];
    const name = /^\w+$/.test(key) ? key : JSON.stringify(key);
    text += `${text && ","}${name}:${signature(item, tensors, what, depth + 1)}`;
  }
  return `{${text}}`;
}

function apart(
  value: unknown,
  tensors: tf.Tensor[],
  seen: Map<tf.Tensor, number> | undefined,
  what: string,
  depth: number,
): Template {
  if (value instanceof tf.Tensor && !(value instanceof tf.Variable)) {
    const index = seen?.get(value) ?? tensors.push(value) - 1;
    seen?.set(value, index);
    return { kind: "tensor", index };
  }
  if (value === null || typeof value !== "object") {
    plainSignature(value, what); // refuses what cannot be kept
    return { kind: "plain", value };
  }
  if (value instanceof tf.Variable) return { kind: "plain", value };
  refuseOther(value, what, depth);
  const inside = (item: unknown) => apart(item, tensors, seen, what, depth + 1);
  if (Array.isArray(value)) return { kind: "array", items: value.map(inside) };
  return { kind: "object", entries: Object.entries(value).map(([key, item]) => [key, inside(item)]) };
}

function plainSignature(value: unknown, what: string): string {
  switch (typeof value) {
    case "number":
      return Object.is(value, -0) ? "-0" : String(value);
    case "string":
      return JSON.stringify(value);
    case "bigint":
      return `${value}n`;
    case "boolean":
    case "undefined":
    case "object": // null
      return String(value);
    default:
      throw new TypeError(
        `${what} holds a ${typeof value}, which a compiled function cannot take or give; let the function close over it`,
      );
  }
}

function refuseOther(value: object, what: string, depth: number): void {
  if (depth > MAX_DEPTH) throw new TypeError(`${what} is nested more than ${MAX_DEPTH} deep; does it contain itself?`);
  if (Array.isArray(value)) return;
  const prototype = Object.getPrototypeOf(value);
  if (prototype === null || prototype === Object.prototype) return;
  const name: string = prototype.constructor?.name ?? "object of another kind";
  const advice = ArrayBuffer.isView(value)
    ? "make it a tensor, as tf.tensor(...)"
    : "use plain objects and arrays, or let the function close over it";
  throw new TypeError(`${what} holds a ${name}, which a compiled function cannot take or give; ${advice}`);
}
