/**
 * `compile`: a function of tensors as one TensorFlow function.
 *
 * TensorFlow.js runs one operation at a time; in models of research size most of a step is then dispatch and memory
 * traffic. A compiled function runs once with symbols for tensors, is recorded as a graph, and from then on TensorFlow,
 * or XLA, runs that graph whole.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { isTracing, tensorflow } from "./backend.ts";
import { Executable, type TraceReport, type XLAOption } from "./executable.ts";
import { NewVariable } from "./trace.ts";
import { TraceError } from "./trace_error.ts";
import { engine } from "./trace_hooks.ts";
import { tidy } from "./tidy.ts";
import { putTogether, signatureOf, takeApart } from "./tree.ts";

/** Options of {@link compile}. */
export interface CompileOptions {
  /**
   * Whether XLA compiles the graph. "auto", the default: it runs as a graph until its calls have taken as long as XLA
   * would need to pay for compiling, five times an estimate of 1.5 ms per node; then XLA compiles it, and if ten calls
   * are no faster than the graph's, it goes back. The last digits may change at the switch, and when it comes depends on
   * the clock: where a run must repeat bit for bit, say true or false.
   */
  readonly xla?: XLAOption;
  /** Traces kept, of those used last. Default: 8. */
  readonly maxTraces?: number;
}

/** A compiled function. */
export interface Compiled<Args extends unknown[], Result> {
  /** Calls it: traces it first where the arguments have a signature that is new. */
  (...args: Args): Result;
  /**
   * Calls it without keeping the event loop: timers, progress and Stop go on meanwhile. An error comes as a rejection.
   * Calls of one function run one after another, each with the variables as the one before has left them. The arguments
   * may be disposed of at once; the result belongs to no `tf.tidy`.
   */
  async(...args: Args): Promise<Result>;
  /** Its traces: what they hold and what they took. Shows itself in a notebook, `String(...)` is a table. */
  explain(): Explanation;
  /** Frees its traces and what they keep alive. A later call traces anew. A function that is dropped is freed too. */
  dispose(): void;
}

/** See {@link Compiled.explain}. */
export interface Explanation {
  /** The function's name. */
  readonly name: string;
  /** Those that are kept, the one used last at the end. */
  readonly traces: readonly TraceReport[];
  /** Calls that ran operation by operation: on a fallback backend, under an eager gradient, or to make variables. */
  readonly eagerCalls: number;
  /** Traces that had to go because there were more than `maxTraces`. */
  readonly evicted: number;
  /** A table. */
  toString(): string;
}

/**
 * Compiles a function.
 *
 * It takes and returns tensors, in plain objects and arrays too, and plain values (numbers, strings, booleans, null,
 * undefined). There is one trace for each signature: the tensors' types and shapes, and the plain values. Between two
 * calls with the same signature nothing of its JavaScript runs again, so plain values that it looks up elsewhere stay as
 * they were. What it takes from outside:
 *
 * - a tensor becomes an input, kept alive as long as the trace;
 * - a variable is meant by reference: its value at the call counts, and what the function assigns is assigned after each
 *   call. Optimizers work inside. Where the first call would make variables (an optimizer's moments), it runs as it is,
 *   and the next one is traced; later, new variables are an error.
 *
 * Gradients (`tf.grad`, `tf.variableGrads`, `tf.customGrad`) belong inside; called under an eager gradient it runs as it
 * is. A compiled function inside another becomes part of it. On a backend other than TensorFlow it runs as it is, in a
 * `tf.tidy`. Random numbers come from a key among the arguments, see `randomUniform`. An index out of range is an error
 * also under XLA, which would clamp it: the smallest and largest index of each gather are looked at after the call. (That
 * costs 1 to 2 us; on a GPU it waits until the call's work is done.)
 *
 * A call costs 10 to 50 us, so that single operations are not worth compiling.
 *
 * @throws {TraceError} At a call, from inside, where the function does what a graph cannot hold: reads a value, prints,
 *   makes a shape depend on values, draws random numbers without a key, makes a large constant from values of
 *   JavaScript. Variables, optimizers and memory are then as before.
 * @throws {TypeError} At a call, if an argument or result is neither tensor, plain value, plain object nor array.
 *
 * @example A training step
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const w = tf.variable(tf.scalar(1));
 * const optimizer = tf.train.sgd(0.25);
 * const step = compile((x: tf.Tensor) => optimizer.minimize(() => w.mul(x).square().mean(), true, [w])!);
 * assert.equal(step(tf.tensor1d([1, 1])).arraySync(), 1); // the loss
 * assert.equal(w.arraySync(), 0.5);
 * ```
 */
export function compile<Args extends unknown[], Result>(
  fn: (...args: Args) => Result,
  { xla = "auto", maxTraces = 8 }: CompileOptions = {},
): Compiled<Args, Result> {
  if (xla !== "auto" && typeof xla !== "boolean") {
    throw new TypeError(`xla must be "auto", true or false, but it is ${JSON.stringify(xla)}`);
  }
  if (!Number.isInteger(maxTraces) || maxTraces < 1) {
    throw new RangeError(`maxTraces must be a whole number from 1, but it is ${maxTraces}; the default is 8`);
  }
  const body = fn as (...args: unknown[]) => unknown;
  const traces = new Traces(fn.name || "compiled function", xla, maxTraces);
  let last: Promise<unknown> = Promise.resolve();
  let waiting = 0; // calls of async() that have not ended

  const call = (...args: Args): Result => {
    if (isTracing()) return runAsItIs(body, args) as Result;
    const tensors: tf.Tensor[] = [];
    const found = traces.find(body, args, tensors);
    if (waiting > 0 && found?.assigns) {
      throw new Error(
        "this compiled function assigns variables, and a call of its async() has not ended; await that first, " +
          "or one of the two would be lost",
      );
    }
    return (found ? found.call(tensors) : traces.runEagerly(body, args)) as Result;
  };
  const callAside = async (args: Args): Promise<Result> => {
    const tensors: tf.Tensor[] = [];
    const found = traces.find(body, args, tensors);
    return await (found ? found.callAside(tensors) : traces.runEagerly(body, args)) as Result;
  };
  const compiled = Object.assign(call, {
    async: (...args: Args): Promise<Result> => {
      if (isTracing()) {
        throw new TraceError("async() inside a compiled function cannot be traced; call the function itself there");
      }
      const held = hold(args);
      waiting++;
      const result = last.then(() => callAside(held.args)).finally(() => {
        waiting--;
        held.release();
      });
      last = result.catch(() => {}); // the next one starts all the same
      return result;
    },
    explain: () => traces.explain(),
    dispose: () => traces.dispose(),
  });
  dropped.register(compiled, traces);
  return compiled;
}

/** Frees the traces of functions that nobody can call any more. They must not lead back to their function. */
const dropped = new FinalizationRegistry<Traces>((traces) => traces.dispose());

/** The traces of one function, by signature. */
class Traces {
  readonly #name: string;
  readonly #xla: XLAOption;
  readonly #max: number;
  readonly #bySignature = new Map<string, Executable>();
  #eagerCalls = 0;
  #evicted = 0;
  /** Whether a call has succeeded: variables are made in the first one only. */
  #called = false;

  constructor(name: string, xla: XLAOption, max: number) {
    this.#name = name;
    this.#xla = xla;
    this.#max = max;
  }

  /** The trace for these arguments, whose tensors are added to `tensors`; undefined if the call is to run as it is. */
  find(body: (...args: unknown[]) => unknown, args: unknown[], tensors: tf.Tensor[]): Executable | undefined {
    const signature = signatureOf(args, tensors, "an argument of a compiled function");
    if (tensorflow === undefined || engine().backendName !== "tensorflow" || engine().isTapeOn()) return undefined;
    const known = this.#bySignature.get(signature);
    if (known) {
      if (this.#bySignature.size > 1) { // the one used last stands last
        this.#bySignature.delete(signature);
        this.#bySignature.set(signature, known);
      }
      return known;
    }
    try {
      const made = new Executable(body, args, this.#name, signature, this.#xla);
      this.#add(signature, made);
      this.#called = true;
      return made;
    } catch (error) {
      if (!(error instanceof NewVariable)) throw error;
      if (this.#called) {
        throw new TraceError(
          `${this.#name} makes a variable after its first call; make it outside the compiled function`,
          { cause: error },
        );
      }
      this.#called = true;
      return undefined;
    }
  }

  runEagerly(body: (...args: unknown[]) => unknown, args: unknown[]): unknown {
    this.#eagerCalls++;
    return runAsItIs(body, args);
  }

  explain(): Explanation {
    const traces = Array.from(this.#bySignature.values(), (executable) => executable.report());
    const value = { name: this.#name, traces, eagerCalls: this.#eagerCalls, evicted: this.#evicted };
    const text = table(value);
    Object.defineProperty(value, "toString", { value: () => text });
    Object.defineProperty(value, Symbol.for("Jupyter.display"), { value: () => ({ "text/plain": text }) });
    return value;
  }

  dispose(): void {
    for (const executable of this.#bySignature.values()) executable.dispose();
    this.#bySignature.clear();
  }

  #add(signature: string, executable: Executable): void {
    if (this.#bySignature.size === this.#max) {
      const [oldest, unused] = this.#bySignature.entries().next().value!;
      if (this.#evicted === 0) {
        console.warn(
          `${this.#name} has been traced for more than ${this.#max} signatures, the last of them ${signature}; each ` +
            "trace takes time and memory: pad to fewer shapes, pass what changes as a tensor, or raise maxTraces",
        );
      }
      this.#bySignature.delete(oldest);
      unused.dispose();
      this.#evicted++;
    }
    this.#bySignature.set(signature, executable);
  }
}

/** Runs a function in a tidy. A tensor that it returns from outside is cloned: the caller may dispose of every result. */
function runAsItIs(body: (...args: unknown[]) => unknown, args: unknown[]): unknown {
  const { nextTensorId } = engine().constructor;
  return tidy(() => {
    const tensors: tf.Tensor[] = [];
    const template = takeApart(body(...args), tensors, "the result of a compiled function", true);
    return putTogether(template, tensors.map((tensor) => tensor.id < nextTensorId ? tensor.clone() : tensor));
  });
}

/** The arguments with tensors of their own, for a call that comes later. */
function hold<Args extends unknown[]>(args: Args): { args: Args; release(): void } {
  const tensors: tf.Tensor[] = [];
  const template = takeApart(args, tensors, "an argument of a compiled function");
  const held = tensors.map((tensor) => tf.keep(tensor.clone()));
  return {
    args: putTogether(template, held) as Args,
    release: () => held.forEach((tensor) => tensor.dispose()),
  };
}

function table({ name, traces, eagerCalls, evicted }: Omit<Explanation, "toString">): string {
  const lines = [`${name}: ${traces.length} ${traces.length === 1 ? "trace" : "traces"}`];
  if (eagerCalls > 0) lines.push(`${eagerCalls} calls ran operation by operation`);
  if (evicted > 0) lines.push(`${evicted} traces were dropped, see maxTraces`);
  for (const trace of traces) {
    const { calls, seconds, compileSeconds, whyNotXLA } = trace;
    const timed = calls - (compileSeconds === undefined ? 0 : 1);
    const compiled = compileSeconds === undefined ? "" : `, compiled in ${compileSeconds.toFixed(2)} s`;
    lines.push(
      trace.signature,
      `  ${trace.nodes} nodes, ${trace.inputs} inputs, ${trace.variables} variables, ` +
        `${kilobytes(trace.capturedBytes)} captured, ${kilobytes(trace.constantBytes)} constants`,
      `  traced in ${trace.traceSeconds.toFixed(2)} s${compiled}, ${calls} calls, ` +
        `${timed > 0 ? (seconds / timed * 1000).toPrecision(3) : "-"} ms a call`,
      `  next call: ${trace.xla ? "XLA" : "graph"}${whyNotXLA === undefined ? "" : `, not XLA because ${whyNotXLA}`}`,
    );
  }
  return lines.join("\n");
}

function kilobytes(bytes: number): string {
  return `${(bytes / 1000).toFixed(1)} kB`;
}
