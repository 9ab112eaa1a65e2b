/**
 * Parameters of models: plain nested objects and arrays of tensors, laid out and named as PyTorch does it. Counting them,
 * training them, loading and saving them under the names of timm, Hugging Face or anybody else.
 *
 * @module
 */
import { elements, type NumericArray } from "../data/mod.ts";
import { flatten, mapTree, tf } from "../tensor/mod.ts";
import { type Described, isDescription } from "./initialise.ts";

/** Whatever has a shape: a tensor, or the description of a parameter. */
export interface Shaped {
  readonly shape: readonly number[];
}

const isShaped = (value: object): value is Shaped => value instanceof tf.Tensor || isDescription(value);
const isTensor = (value: object): value is tf.Tensor => value instanceof tf.Tensor;

/**
 * Number of numbers in parameters, or in a description of them. A tensor that occurs twice (tied weights) counts once.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { linearLayer } from "tessera/nn/mod.ts";
 * assert.equal(countParameters({ head: linearLayer(384, 1000) }), 385_000);
 * ```
 */
export function countParameters(parameters: object): number {
  const all = new Set(flatten<Shaped>(parameters, isShaped).values());
  return [...all].reduce((sum, { shape }) => sum + elements(shape), 0);
}

/**
 * Parameters to be trained: the same tree with variables. Takes the tensors over: they are the variables' first values
 * and are disposed of; those that stay as they are, are kept.
 *
 * @param choose Which to train, by name. Default: all. The rest is frozen: it stays tensors.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const model = trainable({ body: { weight: tf.zeros([2]) }, head: { weight: tf.ones([2]) } }, (name) => /^head/.test(name));
 * assert.ok(model.head.weight instanceof tf.Variable && !(model.body.weight instanceof tf.Variable));
 * ```
 */
export function trainable<P extends object>(parameters: P, choose: (name: string) => boolean = () => true): P {
  const made = new Map<tf.Tensor, tf.Variable>(); // tied weights stay one
  const result = mapTree(parameters, isTensor, (tensor, name) => {
    if (tensor instanceof tf.Variable) return tensor;
    if (!choose(name)) return tf.keep(tensor);
    const variable = made.get(tensor) ?? tf.variable(tensor);
    made.set(tensor, variable);
    return variable;
  });
  for (const tensor of made.keys()) tensor.dispose();
  return result as P;
}

/**
 * Under which name a file has a parameter. Several names: the file has it in parts, which follow each other along the
 * first axis (query, key and value, where we have one `qkv`).
 */
export type NameMap = (name: string) => string | readonly string[];

/** Options of {@link loadParameters}. */
export interface LoadOptions {
  /** The file's names. Default: ours. */
  readonly names?: NameMap;
  /** Which of the file's tensors may be left unused. Default: none. */
  readonly ignore?: (name: string) => boolean;
}

/**
 * Parameters from arrays, as `readSafetensors` gives them.
 *
 * @param description What is wanted, as descriptions or tensors in plain objects and arrays.
 * @param arrays By the file's names; float32, float16 or bfloat16.
 * @throws {Error} Where one is missing, has another shape, or is left over.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { linearLayer } from "tessera/nn/mod.ts";
 * const array = (shape: number[], ...data: number[]) => ({ shape, dtype: "float32" as const, data: Float32Array.from(data) });
 * const file = new Map([["fc.weight", array([1, 2], 3, 4)], ["fc.bias", array([1], 5)]]);
 * const { head } = loadParameters({ head: linearLayer(2, 1) }, file, { names: (name) => name.replace("head", "fc") });
 * assert.deepEqual(head.weight.arraySync(), [[3, 4]]);
 * ```
 */
export function loadParameters<D extends object>(
  description: D,
  arrays: ReadonlyMap<string, NumericArray>,
  { names = (name) => name, ignore = () => false }: LoadOptions = {},
): Described<D> {
  const used = new Set<string>();
  const wanted = flatten<Shaped>(description, isShaped);
  const loaded = new Map<string, Float32Array>();
  for (const [name, { shape }] of wanted) {
    const parts = [names(name)].flat() as string[];
    const numbers = new Float32Array(elements(shape));
    const partShape = [shape[0] / parts.length, ...shape.slice(1)];
    parts.forEach((part, i) => {
      const wantedShape = parts.length === 1 ? shape : partShape;
      numbers.set(numbersOf(part, arrays, wantedShape), i * elements(wantedShape));
      used.add(part);
    });
    loaded.set(name, numbers);
  }
  const unused = [...arrays.keys()].filter((name) => !used.has(name) && !ignore(name));
  if (unused.length > 0) {
    const list = unused.slice(0, 3).join(", ") + (unused.length > 3 ? ` and ${unused.length - 3} more` : "");
    throw new Error(
      `${unused.length === 1 ? "weight" : "weights"} ${list} would not be used, so that the model would not be the ` +
        "file's; describe a model that has them, or pass ignore",
    );
  }
  return mapTree(description, isShaped, ({ shape }: Shaped, name) => {
    return tf.tensor(loaded.get(name)!, shape as number[], "float32");
  }) as Described<D>;
}

function numbersOf(name: string, arrays: ReadonlyMap<string, NumericArray>, shape: readonly number[]): Float32Array {
  const array = arrays.get(name);
  if (!array) {
    throw new Error(`weight ${name} is missing among ${arrays.size}; load a file of this model, or pass other names`);
  }
  if (array.shape.join() !== shape.join()) {
    throw new RangeError(
      `weight ${name} must have shape [${shape}], but it has [${array.shape}]; make the sizes agree with the file`,
    );
  }
  if (!(array.data instanceof Float32Array)) {
    throw new TypeError(`weight ${name} must be float32, float16 or bfloat16, but it is ${array.dtype}; convert it`);
  }
  return array.data;
}

/**
 * Parameters as arrays, for `writeSafetensors`; the opposite of {@link loadParameters}. Reads them back from the device.
 *
 * @param names The names to store them under. Default: ours.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const arrays = await saveParameters({ head: { weight: tf.tensor2d([[3, 4]]) } });
 * assert.deepEqual([...arrays.get("head.weight")!.data], [3, 4]);
 * ```
 */
export async function saveParameters(
  parameters: object,
  names: NameMap = (name) => name,
): Promise<Map<string, NumericArray>> {
  const arrays = new Map<string, NumericArray>();
  for (const [name, tensor] of flatten(parameters)) {
    const data = Float32Array.from(await tensor.data());
    const parts = [names(name)].flat() as string[];
    const shape = parts.length === 1 ? tensor.shape : [tensor.shape[0] / parts.length, ...tensor.shape.slice(1)];
    parts.forEach((part, i) => {
      const size = data.length / parts.length;
      arrays.set(part, { shape: [...shape], dtype: "float32", data: data.slice(i * size, (i + 1) * size) });
    });
  }
  return arrays;
}
