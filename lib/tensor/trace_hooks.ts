/**
 * Where a trace takes the place of TensorFlow.js' own ways: while it lasts, and nowhere else, so that eager execution is
 * as fast as without it.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { tensorflow } from "./backend.ts";
import { TraceError } from "./trace_error.ts";

/** The part of TensorFlow.js' engine that a trace replaces or looks at; its own types hide some of it. */
export interface Engine {
  readonly backend: { incRef(dataId: object): void };
  readonly backendName: string;
  readonly constructor: { readonly nextTensorId: number };
  readonly registeredVariables: Record<string, tf.Variable>;
  readonly state: {
    readonly scopeStack: readonly { readonly name: string }[];
    activeTape: unknown;
    gradientDepth: number;
    kernelDepth: number;
  };
  makeTensorFromTensorInfo(info: tf.TensorInfo): tf.Tensor & { kept: boolean };
  isTapeOn(): boolean;
  startScope(name?: string): void;
  endScope(): void;
  keep(tensor: tf.Tensor): tf.Tensor;
  runKernel(kernel: string, ...rest: unknown[]): unknown;
  makeVariable(...rest: unknown[]): tf.Variable;
  disposeVariable(variable: tf.Variable): void;
}

/**
 * TensorFlow.js' engine.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(engine().isTapeOn(), false);
 * ```
 */
export function engine(): Engine {
  return tf.engine() as unknown as Engine;
}

/** What a trace wants to be asked or told. */
export interface Hooks {
  /** The numbers of the tensors that an op is given. */
  ids(tensors: tf.TensorInfo[]): number[];
  /** Data was made from values of JavaScript. */
  made(data: object): void;
  /** A tensor will outlive its scope. */
  kept(tensor: tf.Tensor): void;
  /** Whether data can be read now. */
  hasValue(data: object): boolean;
  /** An error in a promise, which nobody may be waiting for. */
  late(error: TraceError): void;
  /** A variable is about to be made; throws. */
  newVariable(): never;
}

/** Ops of TensorFlow.js that draw random numbers in JavaScript, or keep their generator inside TensorFlow. */
const RANDOM_OPS = new Set([
  "dropout",
  "multinomial",
  "rand",
  "randomGamma",
  "randomNormal",
  "randomStandardNormal",
  "randomUniform",
  "randomUniformInt",
  "truncatedNormal",
]);

/** Methods of a tensor that read its value, and whether they give a promise. */
const READS: readonly (readonly [string, "now" | "later"])[] = [
  ["array", "later"],
  ["arraySync", "now"],
  ["buffer", "later"],
  ["bufferSync", "now"],
  ["bytes", "later"],
  ["data", "later"],
  ["dataSync", "now"],
  ["print", "now"],
  ["toString", "now"],
];

/**
 * Runs `action` with the hooks in place.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * import { tensorflow } from "tessera/tensor/backend.ts";
 * const made: object[] = [];
 * const hooks = { made: (data: object) => made.push(data) } as unknown as Hooks;
 * if (tensorflow) {
 *   const x = withHooks(hooks, () => tf.scalar(1));
 *   assert.equal(made[0], x.dataId);
 * }
 * ```
 */
export function withHooks<T>(hooks: Hooks, action: () => T): T {
  const undo: (() => void)[] = [];
  /** Puts a function into the place of a method; it is given the method that was there. */
  const replace = <Args extends unknown[], R>(
    object: object,
    name: string,
    make: (original: (...args: Args) => R) => (...args: Args) => R,
  ) => {
    const original = Reflect.get(object, name) as (this: unknown, ...args: Args) => R;
    Reflect.set(object, name, make((...args) => original.apply(object, args)));
    undo.push(() => void Reflect.set(object, name, original)); // deleting it would make V8 treat the object as a dictionary
  };
  const kernels: string[] = [];
  const backend = tensorflow!;
  const tfjs = engine();

  replace(backend, "getInputTensorIds", () => (tensors: tf.TensorInfo[]) => hooks.ids(tensors));
  replace(backend, "move", (move: (data: object, ...rest: unknown[]) => void) => (data, ...rest) => {
    move(data, ...rest);
    hooks.made(data);
  });
  replace(backend, "readSync", (read: (data: object) => unknown) => (data) => {
    if (!hooks.hasValue(data)) throw cannotRead(kernels.at(-1) ?? "an operation");
    return read(data);
  });
  replace(tfjs, "runKernel", (run: (kernel: string, ...rest: unknown[]) => unknown) => (kernel, ...rest) => {
    kernels.push(kernel);
    try {
      return run(kernel, ...rest);
    } finally {
      kernels.pop();
    }
  });
  replace(tfjs, "startScope", (start: (name?: string) => void) => (name) => {
    refuseRandom(name);
    start(name);
  });
  replace(tfjs, "keep", (keep: (tensor: tf.Tensor) => tf.Tensor) => (tensor) => {
    hooks.kept(tensor);
    return keep(tensor);
  });
  replace(tfjs, "makeVariable", () => () => hooks.newVariable());
  replace(tfjs, "disposeVariable", () => (variable: tf.Variable) => {
    throw new TraceError(
      `the variable ${variable.name} is disposed inside a compiled function, which would happen once, not at each ` +
        "call; dispose it outside",
    );
  });
  for (const [name, when] of READS) undo.push(replaceRead(name, when, hooks));
  try {
    return action();
  } finally {
    for (const back of undo.reverse()) back();
  }
}

/** Replaces a reading method of all tensors. */
function replaceRead(name: string, when: "now" | "later", hooks: Hooks): () => void {
  const { prototype } = tf.Tensor;
  const original = Reflect.get(prototype, name) as (this: tf.Tensor, ...args: unknown[]) => unknown;
  const inPlace = function (this: tf.Tensor, ...args: unknown[]) {
    if (this.isDisposed || hooks.hasValue(this.dataId)) return original.apply(this, args);
    const error = cannotRead(name === "toString" ? "toString(), which tf.print calls," : `${name}()`);
    if (when === "now") throw error;
    hooks.late(error); // thrown when the function returns: a rejection would end a program that does not await it
    return new Promise(() => {});
  };
  const descriptor = Object.getOwnPropertyDescriptor(prototype, name)!;
  Object.defineProperty(prototype, name, { ...descriptor, value: inPlace });
  return () => void Object.defineProperty(prototype, name, descriptor);
}

function cannotRead(reader: string): TraceError {
  return new TraceError(
    `${reader} reads the value of a tensor inside a compiled function, where tensors have a shape but no value yet; ` +
      "return the tensor and read it after the call, or compute with tensors (tf.where instead of if)",
  );
}

/** Each public op of TensorFlow.js opens a scope of its name. */
function refuseRandom(scope: string | undefined): void {
  const op = scope?.replace(/__op$/, "");
  if (op === undefined || op === scope || !RANDOM_OPS.has(op)) return;
  const outer = engine().state.scopeStack.map(({ name }) => name.replace(/__op$/, ""));
  const called = outer.find((name) => RANDOM_OPS.has(name)) ?? op;
  throw new TraceError(
    `tf.${called} inside a compiled function would give the same numbers at each call; ` +
      "draw them by randomUniform(key, shape), with a key that is an argument",
  );
}
