/**
 * One trace of a compiled function, ready to be called: TensorFlow runs it as a graph or compiled by XLA.
 *
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import { tensorflow } from "./backend.ts";
import { giveBackMemory } from "./capi.ts";
import type { GraphFunction, Operation } from "./graph.ts";
import { joinBounds, refuseOutOfRange } from "./index_bounds.ts";
import { alias, type Capture, trace, type TracedGraph } from "./trace.ts";
import { putTogether } from "./tree.ts";

/** Whether XLA compiles a function: always, never, or when it has been called often enough. */
export type XLAOption = "auto" | boolean;

/** What is known of one trace, see `explain`. */
export interface TraceReport {
  /** Types, shapes and plain values of the arguments. */
  readonly signature: string;
  /** Operations in the graph, inputs and constants included. */
  readonly nodes: number;
  /** The operations themselves, for drawing: each with the places in this list that its inputs come from. */
  readonly operations: readonly Operation[];
  /** Tensors that go in at each call: arguments, variables, tensors from outside. */
  readonly inputs: number;
  /** Variables that it reads or assigns. */
  readonly variables: number;
  /** Bytes of the tensors from outside, kept alive as long as the trace. */
  readonly capturedBytes: number;
  /** Bytes of the constants inside. */
  readonly constantBytes: number;
  /** Seconds that tracing took. */
  readonly traceSeconds: number;
  /** Whether the next call runs what XLA has compiled. */
  readonly xla: boolean;
  /** Seconds of XLA's first call, which compiles; undefined where there was none. */
  readonly compileSeconds: number | undefined;
  /** Why "auto" stays with the graph, once that is decided. */
  readonly whyNotXLA: string | undefined;
  readonly calls: number;
  /** Seconds of all calls, without tracing and compiling. On a GPU a call returns before its work is done. */
  readonly seconds: number;
}

// Measured on two cores: compiling takes 1 to 2 ms a node, and saves about a fifth of a call.
const COMPILE_SECONDS_PER_NODE = 1.5e-3;
const CALLS_TO_PAY = 5;
/** On a GPU a call returns before its work is done, so that calls are counted instead. */
const CALLS_TO_PAY_ON_GPU = 50;
/** Calls after which XLA's best time is held against the graph's. */
const TRIAL_CALLS = 10;

/** One trace. */
export class Executable {
  readonly #traced: Omit<TracedGraph, "graph">;
  readonly #about: Pick<TraceReport, "signature" | "nodes" | "operations" | "constantBytes" | "traceSeconds">;
  readonly #function: GraphFunction;
  /** The same, with the indices that are to be looked at as a last output. */
  readonly #watched: GraphFunction | undefined;

  readonly #xla: XLAOption;
  #compileSeconds: number | undefined;
  #whyNotXLA: string | undefined;
  readonly #asGraph = newTimes();
  readonly #byXLA = newTimes();
  #underWay = 0;
  #disposed = false;

  /**
   * Traces `body`, see `trace`.
   *
   * @param label What to call it in errors.
   */
  constructor(
    body: (...args: unknown[]) => unknown,
    args: unknown[],
    label: string,
    signature: string,
    xla: XLAOption,
  ) {
    const start = performance.now();
    const { graph, ...traced } = trace(body, args, onGPU() || xla !== false);
    const { inputs, outputs, bounds } = traced;
    try {
      if (bounds.length > 0) {
        this.#watched = graph.toFunction(label, inputs, [...outputs, joinBounds(graph, bounds)]);
      }
      this.#function = graph.toFunction(label, inputs, outputs);
    } catch (error) {
      disposeCaptures(traced.captures);
      throw error;
    } finally {
      graph.dispose();
    }
    this.#traced = traced;
    this.#xla = xla;
    const { nodes, operations, constantBytes } = graph;
    this.#about = { signature, nodes, operations, constantBytes, traceSeconds: secondsSince(start) };
  }

  /** Whether a call assigns variables. */
  get assigns(): boolean {
    return this.#traced.assigned.length > 0;
  }

  /** Calls it with the arguments' tensors. */
  call(tensors: tf.Tensor[]): unknown {
    const inputs = this.#ids(tensors);
    const xla = this.#usesXLA();
    const start = performance.now();
    let outputs: number[];
    try {
      outputs = this.#choose(xla).run(inputs, xla);
    } catch (error) {
      this.#onFailure(error, xla);
      return this.call(tensors);
    }
    this.#note(xla, start);
    return this.#finish(outputs);
  }

  /** The same on another thread. The tensors may be disposed of meanwhile. */
  async callAside(tensors: tf.Tensor[]): Promise<unknown> {
    this.#underWay++;
    const held = tensors.map(alias); // for a second try
    try {
      const xla = this.#usesXLA();
      const start = performance.now();
      let outputs: number[];
      try {
        outputs = await this.#choose(xla).runAside(this.#ids(held), xla);
      } catch (error) {
        this.#onFailure(error, xla);
        return await this.callAside(held);
      }
      this.#note(xla, start);
      return this.#finish(outputs);
    } finally {
      for (const tensor of held) tensor.dispose();
      this.#underWay--;
      if (this.#disposed) this.#free();
    }
  }

  /** Frees it, once the calls under way have ended. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#free();
  }

  /** What is known of it. */
  report(): TraceReport {
    const { captures, assigned, inputs } = this.#traced;
    const outside = captures.flatMap((capture) => "tensor" in capture ? [capture.tensor] : []);
    const read = captures.flatMap((capture) => "variable" in capture ? [capture.variable] : []);
    return {
      ...this.#about,
      inputs: inputs.length,
      variables: new Set([...read, ...assigned]).size,
      capturedBytes: outside.reduce((sum, tensor) => sum + bytesOf(tensor), 0),
      xla: this.#usesXLA(),
      compileSeconds: this.#compileSeconds,
      whyNotXLA: this.#whyNotXLA,
      calls: this.#asGraph.calls + this.#byXLA.calls,
      seconds: this.#asGraph.seconds + this.#byXLA.seconds,
    };
  }

  #choose(xla: boolean): GraphFunction {
    return (xla || onGPU()) && this.#watched ? this.#watched : this.#function;
  }

  /** The rule of "auto", as told at `compile`. */
  #usesXLA(): boolean {
    if (this.#xla !== "auto") return this.#xla;
    if (this.#whyNotXLA !== undefined) return false;
    const { calls, seconds } = this.#asGraph;
    if (onGPU()) return calls >= CALLS_TO_PAY_ON_GPU;
    return seconds >= CALLS_TO_PAY * COMPILE_SECONDS_PER_NODE * this.#about.nodes;
  }

  #note(xla: boolean, start: number): void {
    const seconds = secondsSince(start);
    const times = xla ? this.#byXLA : this.#asGraph;
    times.calls++;
    if (xla && this.#compileSeconds === undefined) {
      this.#compileSeconds = seconds;
      return;
    }
    times.seconds += seconds;
    times.best = Math.min(times.best, seconds);
    if (xla && this.#xla === "auto" && times.calls === TRIAL_CALLS && times.best > this.#asGraph.best && !onGPU()) {
      const [byXLA, asGraph] = [times.best, this.#asGraph.best].map((best) => `${(best * 1000).toPrecision(3)} ms`);
      this.#whyNotXLA = `it is slower: ${byXLA} a call, the graph ${asGraph}`;
    }
  }

  /** Returns if the call is to be tried again, as a graph. */
  #onFailure(error: unknown, xla: boolean): void {
    if (!xla || this.#compileSeconds !== undefined || !(error instanceof Error)) throw error;
    if (this.#xla === "auto") this.#whyNotXLA = error.message;
    else throw new Error(`${error.message}; if XLA cannot compile it, pass { xla: false }`, { cause: error });
  }

  #ids(tensors: tf.Tensor[]): number[] {
    const captured = this.#traced.captures.map((capture) => {
      if ("tensor" in capture) return capture.tensor;
      refuseDisposed(capture.variable);
      return capture.variable;
    });
    return tensorflow!.getInputTensorIds([...tensors, ...captured]);
  }

  #finish(ids: number[]): unknown {
    const { outputs, assigned, result } = this.#traced;
    if (ids.length > outputs.length) this.#lookAtIndices(ids);
    const made = outputs.map(({ shape, dtype }, i) => tensorflow!.createOutputTensor({ id: ids[i], shape, dtype }));
    const results = made.splice(0, outputs.length - assigned.length);
    assigned.forEach((variable, i) => {
      refuseDisposed(variable);
      variable.assign(made[i]);
      made[i].dispose();
    });
    return putTogether(result, results);
  }

  #lookAtIndices(ids: number[]): void {
    const { binding } = tensorflow!;
    try {
      refuseOutOfRange(this.#traced.bounds, binding.tensorDataSync(ids.at(-1)!) as Int32Array);
    } catch (error) {
      for (const id of ids.slice(0, -1)) binding.deleteTensor(id);
      throw error;
    } finally {
      binding.deleteTensor(ids.at(-1)!);
    }
  }

  #free(): void {
    if (this.#underWay > 0) return;
    this.#function.dispose();
    this.#watched?.dispose();
    disposeCaptures(this.#traced.captures);
    if (this.#compileSeconds !== undefined) giveBackMemory();
  }
}

function bytesOf({ size, dtype }: tf.Tensor): number {
  return dtype === "string" ? 0 : size * tf.util.bytesPerElement(dtype); // what strings take is TensorFlow's secret
}

function newTimes() {
  return { calls: 0, seconds: 0, best: Infinity };
}

function secondsSince(start: number): number {
  return (performance.now() - start) / 1000;
}

function onGPU(): boolean {
  return tensorflow!.binding.isUsingGpuDevice();
}

function disposeCaptures(captures: Capture[]): void {
  for (const capture of captures) if ("tensor" in capture) capture.tensor.dispose();
}

function refuseDisposed(variable: tf.Variable): void {
  if (!variable.isDisposed) return;
  throw new Error(
    `the variable ${variable.name}, which a compiled function uses, was disposed; dispose the function too, or keep both`,
  );
}
