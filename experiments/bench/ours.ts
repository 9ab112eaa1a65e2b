/**
 * The workloads in this library. A worker that bench.ts starts, one process per workload and way to run, with the same
 * protocol as peers/common.py.
 *
 * @module
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { backend, compile, type Compiled, type Explanation, flatten, scan, tf } from "tessera/tensor/mod.ts";
import {
  applyMap,
  block,
  blockLayer,
  crossEntropy,
  gelu,
  layerNorm,
  linear,
  loadParameters,
  trainable,
  ViT,
  vitLayers,
} from "tessera/nn/mod.ts";
import { bipartiteSoftMatching, reducers } from "tessera/reduction/mod.ts";
import { adam, trainStep } from "tessera/train/mod.ts";
import { type Job, type Parameter, pattern, type Sizes, vitParameters, type Way } from "./workloads.ts";

/** A workload, made ready. */
interface Ready {
  /** One call, or `perCall` of them. */
  call(): void;
  perCall: number;
  /** Numbers that everybody who does the same work gets. */
  check: number[];
  firstMs: number;
  explain?: () => Explanation;
}

const way = Deno.args[0] as Way;
const isFallback = way === "wasm" || way === "cpu";

function patternTensor<T extends tf.Tensor>(salt: number, shape: readonly number[], scale = 1): T {
  return tf.tensor(pattern(salt, tf.util.sizeFromShape([...shape]), scale), [...shape]) as T;
}

/** A function in the way that is measured. */
function inThisWay(fn: (...inputs: tf.Tensor[]) => tf.Tensor): Compiled<tf.Tensor[], tf.Tensor> | typeof fn {
  return way === "xla" || way === "graph" ? compile(fn, { xla: way === "xla" }) : fn;
}

function read(fn: (...inputs: tf.Tensor[]) => tf.Tensor, inputs: tf.Tensor[]): number[] {
  return tf.tidy(() => [...fn(...inputs).dataSync()]);
}

/** A function that is called again and again, and waited for. */
function inferred(body: (...inputs: tf.Tensor[]) => tf.Tensor, inputs: tf.Tensor[]): Ready {
  const fn = inThisWay(body);
  const start = performance.now();
  const out = read(fn, inputs);
  const firstMs = performance.now() - start;
  const mean = out.reduce((sum, value) => sum + Math.abs(value), 0) / out.length;
  return {
    call: () =>
      tf.tidy(() => {
        const out = fn(...inputs);
        if (isFallback) out.dataSync(); // there an op may be put off until it is read
      }),
    perCall: 1,
    check: [mean, ...out.slice(0, 4)],
    firstMs,
    ...("explain" in fn ? { explain: fn.explain } : {}),
  };
}

/** A training step; reads the loss each time, as its users do. */
function trained(parameters: object, loss: (...inputs: tf.Tensor[]) => tf.Tensor, inputs: tf.Tensor[]): Ready {
  const options = { learningRate: 1e-3, epsilon: 1e-7 };
  const step = way === "eager"
    ? stepByStep(parameters, loss, options)
    : trainStep(loss, adam(options), parameters, { xla: way === "xla" });
  const lossNow = () => tf.tidy(() => step(...inputs).loss.dataSync()[0]);
  const start = performance.now();
  const losses = [lossNow()];
  const firstMs = performance.now() - start;
  losses.push(lossNow(), lossNow());
  return {
    call: () => void lossNow(),
    perCall: 1,
    check: losses,
    firstMs,
    ...("explain" in step ? { explain: step.explain } : {}),
  };
}

/** The same with TensorFlow.js alone, one operation at a time. */
function stepByStep(
  parameters: object,
  loss: (...inputs: tf.Tensor[]) => tf.Tensor,
  { learningRate, epsilon }: { learningRate: number; epsilon: number },
) {
  const optimizer = tf.train.adam(learningRate, 0.9, 0.999, epsilon);
  const variables = [...flatten(parameters).values()] as tf.Variable[];
  return (...inputs: tf.Tensor[]) => ({
    loss: optimizer.minimize(() => loss(...inputs) as tf.Scalar, true, variables)!,
  });
}

function many(op: () => void, times = 1000): Ready {
  const start = performance.now();
  op();
  const firstMs = performance.now() - start;
  return {
    call: () => {
      for (let i = 0; i < times; i++) op();
    },
    perCall: times,
    check: [],
    firstMs,
  };
}

/** The described parameters, with the numbers that the peers have. */
function numbersOf(list: readonly Parameter[]) {
  return new Map(list.map(({ name, shape, scale, offset }, salt) => [name, {
    shape: [...shape],
    dtype: "float32" as const,
    data: pattern(salt, tf.util.sizeFromShape([...shape]), scale, offset),
  }]));
}

function modelOf(sizes: Sizes, trained: boolean): ViT {
  const { image: imageSize, patch: patchSize, width, depth, heads, classes } = sizes;
  const config = { imageSize, patchSize, channels: 3, width, depth, heads, mlpWidth: 4 * width, classes };
  const parameters = loadParameters(vitLayers(config), numbersOf(vitParameters(sizes)));
  return new ViT(config, trained ? trainable(parameters) : parameters);
}

function imagesOf({ image }: Sizes, batch: number): tf.Tensor4D {
  return tf.tidy(() => patternTensor<tf.Tensor4D>(900, [batch, 3, image, image]).transpose([0, 2, 3, 1]));
}

function prepare(job: Job): Ready {
  switch (job.kind) {
    case "mlp_step": {
      const { batch, width } = job;
      const w = [0, 1, 2].map((k) => tf.variable(patternTensor(k, [width, width], Math.sqrt(3 / width))));
      const b = w.map(() => tf.variable(tf.zeros([width])));
      const forward = (x: tf.Tensor) =>
        w.reduce((h: tf.Tensor, weight, k) => {
          const y = tf.matMul(h, weight as tf.Tensor, false, true).add(b[k]);
          return k < 2 ? y.relu() : y;
        }, x);
      const inputs = [900, 901].map((salt) => patternTensor(salt, [batch, width]));
      return trained({ w, b }, (x, y) => forward(x).sub(y).square().mean(), inputs);
    }
    case "block_step": {
      const { batch, tokens, width, heads } = job;
      const described = { blocks: [blockLayer(width, 4 * width)] };
      const parameters = trainable(loadParameters(described, numbersOf(blockParameters(width))));
      const run = (x: tf.Tensor) => block(x as tf.Tensor3D, parameters.blocks[0], { heads, epsilon: 1e-6 }).x;
      const inputs = [900, 901].map((salt) => patternTensor(salt, [batch, tokens, width]));
      return trained(parameters, (x, y) => run(x).sub(y).square().mean(), inputs);
    }
    case "vit_step": {
      const { sizes, batch } = job;
      const model = modelOf(sizes, true);
      const labels = tf.range(0, batch, 1, "int32").mod(tf.scalar(sizes.classes, "int32"));
      const loss = (images: tf.Tensor, labels: tf.Tensor) =>
        crossEntropy(model.forward(images as tf.Tensor4D).logits, labels);
      return trained(model.weights, loss, [imagesOf(sizes, batch), labels]);
    }
    case "vit":
    case "vit_tome":
    case "vit_evit": {
      const model = modelOf(job.sizes, false);
      const images = imagesOf(job.sizes, job.batch);
      const reducerOf = (parity: boolean) => {
        if (job.kind === "vit_tome") return reducers.tome({ r: job.r, parity });
        return job.kind === "vit_evit" ? reducers.evit({ keepRate: job.keepRate, parity }) : undefined;
      };
      const forward = (parity: boolean) => (images: tf.Tensor) => {
        const reducer = reducerOf(parity);
        return model.forward(images as tf.Tensor4D, reducer ? { reducer } : {}).logits;
      };
      const ready = inferred(forward(false), [images]);
      if (job.kind === "vit") return ready;
      if (way !== "eager") return { ...ready, check: [] };
      // the peers follow the authors where our default does not: they are held against that form
      const logits = read(forward(true), [images]);
      const mean = logits.reduce((sum, value) => sum + Math.abs(value), 0) / logits.length;
      return { ...ready, check: [mean, ...logits.slice(0, 4)] };
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
    case "part": {
      const { part, batch, tokens, width, heads } = job;
      const dense = (salt: number, inputs: number, outputs: number) => ({
        weight: patternTensor<tf.Tensor2D>(salt, [outputs, inputs], Math.sqrt(3 / inputs)),
        bias: patternTensor<tf.Tensor1D>(salt + 10, [outputs]),
      });
      const layers = [dense(0, width, 3 * width), dense(1, width, width), dense(2, width, 4 * width)];
      const last = dense(3, 4 * width, width);
      const norm = { weight: patternTensor<tf.Tensor1D>(20, [width]), bias: patternTensor<tf.Tensor1D>(21, [width]) };
      const channels = { linear: width, attention: 3 * width, norm: width, gelu: 4 * width }[part];
      const x = patternTensor(900, [batch, tokens, channels]);
      const run: Record<typeof part, (x: tf.Tensor) => tf.Tensor> = {
        linear: (x) => {
          const rows = linear(x.reshape<tf.Tensor2D>([-1, width]), layers[0]).slice([0, 0], [-1, width]);
          return linear(linear(linear(rows, layers[1]), layers[2]), last);
        },
        attention: (x) => {
          const split = x.reshape([batch, tokens, 3, heads, width / heads]).transpose([2, 0, 3, 1, 4]);
          const [q, k, v] = tf.unstack(split, 0);
          const logits = tf.matMul(q, k, false, true).mul((width / heads) ** -0.5);
          return tf.matMul(tf.softmax(logits), v).transpose([0, 2, 1, 3]).reshape([batch, tokens, width]);
        },
        norm: (x) => layerNorm(layerNorm(x, norm, 1e-6), norm, 1e-6),
        gelu,
      };
      return inferred(run[part], [x]);
    }
    case "small_op": {
      const [x, y] = [0, 1].map((salt) => patternTensor(salt, [8, 8]));
      return many(() => tf.add(x, y).dispose());
    }
    case "compiled_call": {
      const x = patternTensor(0, [8, 8]);
      const fn = inThisWay((x) => x.add(1).mul(2));
      return { ...many(() => tf.tidy(() => void fn(x))), ...("explain" in fn ? { explain: fn.explain } : {}) };
    }
    case "upload": {
      const host = pattern(0, job.megabytes * 250_000);
      // a tensor of values goes to the backend when an op first takes it; this one moves nothing
      return many(() => tf.tidy(() => void tf.tensor1d(host).reshape([-1, 1]).slice([0, 0], [1, 1])), 1);
    }
    case "download": {
      const device = tf.tidy(() => patternTensor(0, [job.megabytes * 250_000]).mul(1));
      let kept: unknown;
      const ready = many(() => {
        const copy = tf.tidy(() => device.mul(1)); // a tensor remembers what was read of it
        kept = copy.dataSync();
        copy.dispose();
      }, 1);
      if (!kept) throw new Error("nothing was downloaded");
      return ready;
    }
    case "scan": {
      const { steps, batch, width } = job;
      const [w, u] = [0, 1].map((salt) => patternTensor(salt, [width, width], Math.sqrt(3 / width)));
      const x = patternTensor(900, [steps, batch, width]);
      const run = (x: tf.Tensor) => {
        const step = (h: tf.Tensor, x: tf.Tensor): [tf.Tensor, tf.Tensor] => {
          const next = tf.matMul(x, w).add(tf.matMul(h, u)).tanh();
          return [next, next];
        };
        return scan(step, tf.zeros([batch, width]) as tf.Tensor, x)[1];
      };
      return inferred(run, [x]);
    }
  }
}

function blockParameters(width: number): Parameter[] {
  const sizes = { image: 16, patch: 16, width, depth: 1, heads: 1, classes: 1 };
  return vitParameters(sizes).filter(({ name }) => name.startsWith("blocks.0."));
}

/** Million multiplications and additions per millisecond of one product of matrices: GFLOP/s. */
function productRate(): number {
  const side = way === "cpu" ? 128 : way === "wasm" ? 512 : 1024;
  const a = patternTensor(0, [side, side]);
  const times = Array.from({ length: 6 }, () => {
    const start = performance.now();
    tf.tidy(() => {
      const product = tf.matMul(a, a);
      if (isFallback) product.dataSync();
    });
    return performance.now() - start;
  });
  a.dispose();
  return 2 * side ** 3 / Math.min(...times.slice(1)) / 1e6;
}

function memory(name: string): number {
  const line = Deno.readTextFileSync("/proc/self/status").split("\n").find((line) => line.startsWith(name));
  return Number(line?.split(/\s+/)[1]) / 1000;
}

function say(value: object): void {
  console.log(JSON.stringify(value));
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const job = JSON.parse((await lines.next()).value!) as Job;
let before: number | null = memory("VmRSS");
try {
  Deno.writeTextFileSync("/proc/self/clear_refs", "5");
} catch {
  before = null; // not allowed here, or not Linux
}
try {
  const ready = prepare(job);
  const slow = isFallback && ready.firstMs > 500; // there once is enough, and the others wait
  if (!slow) { for (let i = 0; i < 2; i++) ready.call(); }
  const { version, threads } = backend;
  say({ first_ms: ready.firstMs, check: ready.check, version, threads });
  for await (const line of lines) {
    if (line.trim() === "end") break;
    if (!slow) ready.call();
    const times: number[] = [];
    const stop = performance.now() + Number(line);
    while (performance.now() < stop || (!slow && times.length < 3)) {
      const start = performance.now();
      ready.call();
      times.push((performance.now() - start) / ready.perCall);
    }
    say({ ms: times, gflops: productRate() });
  }
  const trace = ready.explain?.().traces.at(-1);
  say({
    peak_mb: before === null ? null : memory("VmHWM") - before,
    ...(trace ? { nodes: trace.nodes, trace_s: trace.traceSeconds, compile_s: trace.compileSeconds ?? null } : {}),
  });
} catch (error) {
  say({ error: String(error).split("\n")[0] });
}
Deno.exit(0);
