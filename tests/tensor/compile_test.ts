import assert from "node:assert/strict";
import { backend, compile, foldIn, randomKey, randomMask, randomUniform, tf, tidy } from "tessera/tensor/mod.ts";
import { tensorflow } from "tessera/tensor/backend.ts";

const onTensorFlow = tensorflow !== undefined;
if (!onTensorFlow) console.log(`tracing is not tested: ${backend} is in use, where compiled functions run as they are`);

/** A test that leaves as many tensors, handles and variables behind as it found. */
function testClean(name: string, body: () => void | Promise<void>, { traced = false } = {}): void {
  Deno.test({
    name,
    ignore: traced && !onTensorFlow,
    async fn() {
      const before = counts();
      await body();
      assert.deepEqual(counts(), before, "something is left over");
    },
  });
}

function counts() {
  return {
    tensors: tf.memory().numTensors,
    handles: tensorflow?.binding.getNumOfTensors(),
    variables: Object.keys(tf.engine().registeredVariables).length,
  };
}

/** Reads and frees. */
function take(x: tf.Tensor): unknown {
  const value = x.arraySync();
  x.dispose();
  return value;
}

testClean("a compiled function gives what the function gives, traced once per shape and type", () => {
  let runs = 0;
  const twice = compile((x: tf.Tensor) => {
    runs++;
    return x.mul(tf.scalar(2, x.dtype));
  });
  tidy(() => {
    for (let i = 0; i < 3; i++) assert.deepEqual(take(twice(tf.tensor1d([i, 1]))), [2 * i, 2]);
    assert.deepEqual(take(twice(tf.tensor1d([1, 2], "int32"))), [2, 4]);
    assert.deepEqual(take(twice(tf.tensor2d([[1, 2]]))), [[2, 4]]);
  });
  assert.equal(runs, onTensorFlow ? 3 : 5);
  assert.equal(twice.explain().traces.length, onTensorFlow ? 3 : 0);
  twice.dispose();
});

testClean("plain arguments are part of the signature, and come back as they are", () => {
  const fn = compile((x: tf.Tensor, options: { power: number; name?: string | null; flags: boolean[] }) => ({
    y: tf.pow(x, options.power),
    options,
    missing: undefined,
    list: [x.neg(), "text"] as [tf.Tensor, string],
  }));
  const x = tf.tensor1d([2, 3]);
  for (const power of [2, 3, 2]) {
    const options = { power, name: null, flags: [true] };
    const result = fn(x, options);
    assert.deepEqual(take(result.y), [2 ** power, 3 ** power]);
    assert.deepEqual(take(result.list[0]), [-2, -3]);
    assert.deepEqual([result.options, result.missing, result.list[1]], [options, undefined, "text"]);
  }
  if (onTensorFlow) assert.equal(fn.explain().traces.length, 2);
  x.dispose();
  fn.dispose();
});

testClean("numbers that print alike but differ have traces of their own", () => {
  const fn = compile((x: tf.Tensor, n: number | string | null | undefined) => x.mul(Object.is(n, -0) ? -1 : 1));
  const x = tf.scalar(1);
  assert.equal(take(fn(x, 0)), 1);
  assert.equal(take(fn(x, -0)), -1);
  for (const n of ["0", null, "null", undefined, NaN]) assert.equal(take(fn(x, n)), 1);
  if (onTensorFlow) assert.equal(fn.explain().traces.length, 7);
  fn.dispose();
  x.dispose();
});

testClean("one tensor in two places is two inputs, one result in two places is one tensor", () => {
  const fn = compile((a: tf.Tensor, b: tf.Tensor) => {
    const sum = a.add(b);
    return [sum, sum];
  });
  const [x, y] = [tf.scalar(1), tf.scalar(2)];
  const [first, second] = fn(x, x);
  assert.equal(first, second);
  assert.equal(take(first), 2);
  assert.equal(take(fn(x, y)[0]), 3);
  tf.dispose([x, y]);
  fn.dispose();
});

testClean("arguments, constants and tensors from outside can be returned, and disposed of by the caller", () => {
  const outside = tf.tensor1d([7]);
  const fn = compile((x: tf.Tensor) => ({ x, outside, constant: tf.scalar(5) }));
  const x = tf.tensor1d([1]);
  for (let i = 0; i < 2; i++) {
    const result = fn(x);
    assert.deepEqual([take(result.x), take(result.outside), take(result.constant)], [[1], [7], 5]);
  }
  assert.deepEqual([take(x), take(outside)], [[1], [7]]);
  fn.dispose();
});

testClean("a tensor from outside is kept alive as long as the trace", () => {
  const outside = tf.tensor1d([10, 20]);
  const fn = compile((x: tf.Tensor) => x.add(outside));
  const x = tf.tensor1d([1, 2]);
  assert.deepEqual(take(fn(x)), [11, 22]);
  outside.dispose();
  assert.deepEqual(take(fn(x)), [11, 22]);
  assert.equal(fn.explain().traces[0].capturedBytes, 8);
  fn.dispose();
  x.dispose();
}, { traced: true });

testClean("a variable is meant by reference: later values count", () => {
  const variable = tidy(() => tf.variable(tf.scalar(2)));
  const fn = compile((x: tf.Tensor) => x.mul(variable));
  const x = tf.scalar(3);
  assert.equal(take(fn(x)), 6);
  tidy(() => variable.assign(tf.scalar(10)));
  assert.equal(take(fn(x)), 30);
  fn.dispose();
  tf.dispose([variable, x]);
});

testClean("variables that share a value when traced are told apart, and from tensors that share it", () => {
  const value = tf.scalar(1);
  const [a, b] = [tf.variable(value), tf.variable(value)];
  const fn = compile(() => tf.stack([a, b, value]));
  assert.deepEqual(take(fn()), [1, 1, 1]);
  tidy(() => {
    a.assign(tf.scalar(2));
    b.assign(tf.scalar(3));
  });
  assert.deepEqual(take(fn()), [2, 3, 1]);
  fn.dispose();
  tf.dispose([a, b, value]);
});

testClean("what a function assigns is assigned after each call, swaps too", () => {
  const [a, b] = [1, 2].map((value) => tidy(() => tf.variable(tf.scalar(value))));
  const swapAndCount = compile((by: tf.Tensor) => {
    const held = a.clone();
    a.assign(b.add(by) as tf.Scalar);
    b.assign(held as tf.Scalar);
    return a.mul(10);
  });
  const by = tf.scalar(1);
  assert.equal(take(swapAndCount(by)), 30);
  assert.deepEqual([a.arraySync(), b.arraySync()], [3, 1]);
  assert.equal(take(swapAndCount(by)), 20);
  assert.deepEqual([a.arraySync(), b.arraySync()], [2, 3]);
  swapAndCount.dispose();
  tf.dispose([a, b, by]);
});

testClean("variables can be arguments, in objects too: each has its trace", () => {
  const [a, b] = [1, 2].map((value) => tidy(() => tf.variable(tf.scalar(value))));
  const step = compile((parameters: { w: tf.Variable }, x: tf.Tensor) => {
    const { value, grads } = tf.variableGrads(() => parameters.w.mul(x).square().sum(), [parameters.w]);
    parameters.w.assign(parameters.w.sub(grads[parameters.w.name]));
    return value;
  });
  const x = tf.scalar(0.5);
  assert.equal(take(step({ w: a }, x)), 0.25);
  assert.equal(take(step({ w: b }, x)), 1);
  assert.equal(take(step({ w: a }, x)), 0.0625);
  assert.deepEqual([a.arraySync(), b.arraySync()], [0.25, 1]);
  step.dispose();
  tf.dispose([a, b, x]);
});

testClean("gradients of every kind work inside", () => {
  const w = tidy(() => tf.variable(tf.scalar(3)));
  const seven = tf.customGrad((x, save) => {
    (save as tf.GradSaveFunc)([x as tf.Tensor]);
    return { value: (x as tf.Tensor).square(), gradFunc: (dy, saved) => dy.mul(saved[0]).mul(7) };
  });
  const fn = compile((x: tf.Tensor) => ({
    grad: tf.grad((x) => x.square().mul(w))(x),
    grads: tf.grads((a, b) => a.mul(b))([x, x.add(1)]),
    both: tf.valueAndGrad((x) => x.square().sum())(x),
    variable: tf.variableGrads(() => x.mul(w).sum(), [w]).grads[w.name],
    custom: tf.grad((x) => seven(x))(x),
    second: tf.grad((x) => tf.grad((y) => y.mul(y).mul(y))(x))(x),
  }));
  const x = tf.tensor1d([1, 2]);
  for (let i = 0; i < 2; i++) {
    const result = fn(x);
    assert.deepEqual(take(result.grad), [6, 12]);
    assert.deepEqual(result.grads.map(take), [[2, 3], [1, 2]]);
    assert.deepEqual([take(result.both.value), take(result.both.grad)], [5, [2, 4]]);
    assert.equal(take(result.variable), 3);
    assert.deepEqual(take(result.custom), [7, 14]);
    assert.deepEqual(take(result.second), [6, 12]);
  }
  fn.dispose();
  tf.dispose([w, x]);
});

testClean("under an eager gradient a compiled function runs as it is, so that the gradient flows", () => {
  const square = compile((x: tf.Tensor) => x.square());
  tidy(() => {
    const slope = tf.grad((x) => square(x).mul(3));
    assert.deepEqual(slope(tf.tensor1d([1, 2])).arraySync(), [6, 12]);
  });
  assert.equal(square.explain().eagerCalls, 1);
  square.dispose();
});

testClean("inside the forward pass of a custom gradient it is traced, with gradients of its own", () => {
  const slopes = compile((x: tf.Tensor) => tf.grad((x) => x.square())(x));
  const op = tf.customGrad((x) => ({ value: slopes(x as tf.Tensor), gradFunc: (dy) => dy.mul(5) }));
  tidy(() => {
    const { value, grad } = tf.valueAndGrad((x) => op(x))(tf.tensor1d([1, 2]));
    assert.deepEqual([value.arraySync(), grad.arraySync()], [[2, 4], [5, 5]]);
  });
  assert.equal(slopes.explain().traces.length, 1);
  slopes.dispose();
}, { traced: true });

testClean("a compiled function inside another becomes part of it, tidies too", () => {
  let innerRuns = 0;
  const inner = compile((x: tf.Tensor) => {
    innerRuns++;
    return tf.tidy(() => x.add(1).mul(2));
  });
  const outer = compile((x: tf.Tensor) => tf.tidy(() => inner(inner(x)).neg()));
  const x = tf.scalar(1);
  for (let i = 0; i < 3; i++) assert.equal(take(outer(x)), -10);
  if (onTensorFlow) assert.deepEqual([innerRuns, inner.explain().traces.length], [2, 0]);
  outer.dispose();
  inner.dispose();
  x.dispose();
});

const optimizers: Record<string, () => tf.Optimizer> = {
  sgd: () => tf.train.sgd(0.1),
  momentum: () => tf.train.momentum(0.1, 0.9),
  adam: () => tf.train.adam(0.1),
  adamax: () => tf.train.adamax(0.1),
  adagrad: () => tf.train.adagrad(0.1),
  rmsprop: () => tf.train.rmsprop(0.1, 0.9, 0.5),
};

for (const [name, make] of Object.entries(optimizers)) {
  // without a look at what is left over: tfjs' optimizers themselves leave constants behind
  Deno.test(`the optimizer ${name} steps inside as outside, from its first step on`, () => {
    const x = tf.tensor1d([0.5, -1, 2]);
    const train = (compiled: boolean) => {
      const w = tf.variable(x.clone());
      const optimizer = make();
      const step = () => optimizer.minimize(() => w.sub(1).square().mul(x.abs()).sum(), true, [w])!;
      const fast = compile(step, { xla: false });
      for (let i = 0; i < 5; i++) take(compiled ? fast() : tidy(step));
      const { eagerCalls, traces } = fast.explain();
      fast.dispose();
      return { result: Array.from(w.dataSync()), eagerCalls, traces: traces.length };
    };
    const eager = train(false);
    const compiled = train(true);
    compiled.result.forEach((value, i) => assert.ok(Math.abs(value - eager.result[i]) < 1e-6, `${compiled.result}`));
    if (onTensorFlow) assert.deepEqual([compiled.eagerCalls, compiled.traces], [name === "sgd" ? 0 : 1, 1]);
    tf.disposeVariables();
    x.dispose();
  });
}

testClean("random numbers differ from key to key, and are the eager ones", () => {
  const draw = (key: tf.Tensor1D) => [
    randomUniform(key, [50]),
    randomUniform(foldIn(key, 3), [2, 2]),
    randomMask(key, [500], 0.1),
  ];
  const keys = [randomKey(1, 0), randomKey(1, 1), randomKey(-5, 7)];
  const compiled = [false, true].map((xla) => compile(draw, { xla }));
  const seen = new Set<number>();
  for (const key of keys) {
    const expected = tidy(() => draw(key));
    for (const fn of compiled) {
      const got = fn(key);
      got.forEach((tensor, i) => assert.deepEqual(tensor.arraySync(), expected[i].arraySync()));
      tf.dispose(got);
    }
    seen.add(expected[0].dataSync()[0]);
    tf.dispose(expected);
  }
  assert.equal(seen.size, keys.length);
  tf.dispose(keys);
  compiled.forEach((fn) => fn.dispose());
});

testClean("strings go through", () => {
  const fn = compile((x: tf.Tensor) => [x.expandDims(0), tf.tensor1d(["a", "grün"])], { xla: false });
  const x = tf.tensor1d(["b"]);
  assert.deepEqual(fn(x).map(take), [[["b"]], ["a", "grün"]]);
  fn.dispose();
  x.dispose();
});

testClean("results belong to the tidy around the call", () => {
  const fn = compile((x: tf.Tensor) => x.neg());
  tf.tidy(() => {
    const x = tf.scalar(1);
    fn(fn(x));
  });
  fn.dispose();
});

testClean("the oldest trace goes when there are too many, with one warning", () => {
  const warnings: string[] = [];
  const warn = console.warn;
  console.warn = (text: string) => warnings.push(text);
  const fn = compile(function pad(x: tf.Tensor) {
    return x.neg();
  }, { maxTraces: 2 });
  try {
    for (const size of [1, 2, 1, 3, 1, 4, 5]) tf.tidy(() => void fn(tf.ones([size])));
  } finally {
    console.warn = warn;
  }
  const { traces, evicted } = fn.explain();
  assert.deepEqual(traces.map(({ signature }) => signature), ["[float32[4]]", "[float32[5]]"]);
  assert.equal(evicted, 3); // 2 before 1, which was used since
  assert.equal(warnings.length, 1);
  assert.match(
    warnings[0],
    /^pad has been traced for more than 2 signatures, the last of them \[float32\[3\]\]; .* pad to/,
  );
  fn.dispose();
}, { traced: true });

testClean("after dispose() a function can be called again", () => {
  const fn = compile((x: tf.Tensor) => x.neg());
  const x = tf.scalar(1);
  assert.equal(take(fn(x)), -1);
  fn.dispose();
  assert.equal(take(fn(x)), -1);
  fn.dispose();
  fn.dispose();
  x.dispose();
});

testClean("explain() tells what was traced, and shows itself", () => {
  const w = tidy(() => tf.variable(tf.ones([3])));
  const outside = tf.ones([3]);
  const fn = compile(function attend(x: tf.Tensor) {
    return x.mul(w).add(outside).add(tf.range(0, 3));
  }, { xla: false });
  const x = tf.ones([3]);
  for (let i = 0; i < 4; i++) take(fn(x));
  const explanation = fn.explain();
  const [trace] = explanation.traces;
  assert.equal(explanation.name, "attend");
  assert.deepEqual(
    [trace.signature, trace.inputs, trace.variables, trace.capturedBytes, trace.xla, trace.calls],
    ["[float32[3]]", 3, 1, 12, false, 4],
  );
  assert.equal(trace.operations.length, trace.nodes);
  const products = trace.operations.filter(({ op }) => op === "Mul");
  assert.deepEqual(products.map(({ inputs }) => inputs.map((i) => trace.operations[i].op)), [[
    "Placeholder",
    "Placeholder",
  ]]);
  assert.ok(trace.nodes >= 7 && trace.traceSeconds > 0 && trace.seconds > 0);
  const text = String(explanation);
  assert.match(text, /^attend: 1 trace\n\[float32\[3\]\]\n {2}\d+ nodes, 3 inputs, 1 variables/);
  const display: unknown = Reflect.get(explanation, Symbol.for("Jupyter.display"));
  assert.ok(typeof display === "function");
  assert.deepEqual(display(), { "text/plain": text });
  fn.dispose();
  tf.dispose([w, outside, x]);
}, { traced: true });

testClean('"auto" goes from the graph to XLA when that has paid for itself', () => {
  const fn = compile((x: tf.Tensor) => tf.tidy(() => x.matMul(x).mul(0.001).relu().add(1)));
  const x = tf.ones([192, 192]);
  const first = fn(x);
  let calls = 1;
  while (!fn.explain().traces[0].xla && calls < 3000) {
    fn(x).dispose();
    calls++;
  }
  const [{ compileSeconds, xla, seconds, nodes }] = fn.explain().traces;
  assert.deepEqual([compileSeconds, xla], [undefined, true]);
  assert.ok(seconds >= 5 * 1.5e-3 * nodes, `${seconds} s for ${nodes} nodes`);
  const second = fn(x);
  assert.ok(fn.explain().traces[0].compileSeconds! > 0);
  assert.deepEqual(take(first), take(second));
  fn.dispose();
  x.dispose();
}, { traced: true });

testClean('where XLA cannot compile a function, "auto" stays with the graph, and true says so', () => {
  const texts = tf.tensor1d(["a", "b"]);
  const body = (x: tf.Tensor) => [x.matMul(x), texts.expandDims(0)];
  const x = tf.ones([300, 300]);
  const strict = compile(body, { xla: true });
  assert.throws(
    () => strict(x),
    /^Error: TensorFlow's body failed: .*; if XLA cannot compile it, pass \{ xla: false \}$/,
  );
  const auto = compile(body);
  for (let i = 0; i < 3000 && auto.explain().traces[0]?.whyNotXLA === undefined; i++) tf.dispose(auto(x));
  assert.match(auto.explain().traces[0].whyNotXLA!, /TensorFlow's body failed/);
  tf.dispose(auto(x));
  [auto, strict].forEach((fn) => fn.dispose());
  tf.dispose([x, texts]);
}, { traced: true });

testClean("async() leaves the event loop free, and gives what a call gives", async () => {
  const fn = compile((x: tf.Tensor) => {
    for (let i = 0; i < 12; i++) x = x.matMul(x).mul(0.001);
    return x;
  }, { xla: false });
  const x = tf.ones([1024, 1024]);
  const expected = fn(x);
  let ticks = 0;
  const timer = setInterval(() => ticks++, 2);
  const result = await fn.async(x);
  clearInterval(timer);
  assert.ok(ticks >= 5, `${ticks} ticks`);
  assert.deepEqual(result.dataSync(), expected.dataSync());
  tf.dispose([x, expected, result]);
  fn.dispose();
}, { traced: true });

testClean("async() calls follow one another, with the variables as the last one left them", async () => {
  const total = tidy(() => tf.variable(tf.scalar(0)));
  const add = compile((x: tf.Tensor) => {
    total.assign(total.add(x) as tf.Scalar);
    return total.mul(1);
  }, { xla: false });
  const calls = [1, 2, 3, 4].map((value) => {
    const x = tf.scalar(value);
    const result = add.async(x);
    x.dispose(); // the call has its own
    return result;
  });
  const results = await Promise.all(calls);
  assert.deepEqual(results.map(take), [1, 3, 6, 10]);
  assert.equal(total.arraySync(), 10);
  add.dispose();
  total.dispose();
});

testClean(
  "a call between async() calls is refused where it would lose an assignment, and allowed elsewhere",
  async () => {
    const total = tidy(() => tf.variable(tf.scalar(0)));
    const add = compile((x: tf.Tensor) => total.assign(total.add(x) as tf.Scalar), { xla: false });
    const read = compile((x: tf.Tensor) => total.mul(x), { xla: false });
    const x = tf.scalar(2);
    add(x);
    const pending = [add.async(x), read.async(x)];
    assert.throws(() => add(x), /a call of its async\(\) has not ended; await that first/);
    assert.ok([4, 8].includes(take(read(x)) as number));
    await Promise.all(pending.slice(0, 1));
    add(x);
    assert.equal(total.arraySync(), 6);
    tf.dispose(await pending[1] as tf.Tensor);
    [add, read].forEach((fn) => fn.dispose());
    tf.dispose([total, x]);
  },
  { traced: true },
);

testClean("a first call that fails does not count: the next one may still make variables", () => {
  const w = tidy(() => tf.variable(tf.scalar(1)));
  const optimizer = tf.train.adam(0.5);
  const step = compile((x: tf.Tensor) => {
    if (x.rank > 0) throw new RangeError("a scalar, please");
    return optimizer.minimize(() => w.mul(x).square().asScalar(), true, [w])!;
  }, { xla: false });
  const [x, bad] = [tf.scalar(1), tf.ones([2])];
  assert.throws(() => step(bad), /a scalar, please/);
  for (let i = 0; i < 3; i++) take(step(x));
  assert.ok(Math.abs(w.arraySync() as number) < 0.6);
  step.dispose();
  optimizer.dispose();
  tf.dispose([w, x, bad]);
});

testClean("an error of async() is a rejection, and the next call works", async () => {
  const fn = compile((x: tf.Tensor, i: tf.Tensor) => tf.gather(x, i.mul(tf.scalar(1, "int32"))), { xla: false });
  const x = tf.tensor1d([1, 2]);
  const [good, bad] = [1, 5].map((i) => tf.scalar(i, "int32"));
  await assert.rejects(fn.async(x, bad), /5 is not in \[0, [12]/);
  assert.equal(take(await fn.async(x, good)), 2);
  const refused = compile((x: tf.Tensor) => x.mul(x.dataSync()[0]));
  if (onTensorFlow) await assert.rejects(refused.async(x), { name: "TraceError" });
  fn.dispose();
  tf.dispose([x, good, bad]);
});

testClean("dispose() while a call is under way frees afterwards", async () => {
  const fn = compile((x: tf.Tensor) => x.matMul(x), { xla: false });
  const x = tf.ones([1024, 1024]);
  fn(x).dispose();
  const result = fn.async(x);
  await Promise.resolve();
  await Promise.resolve();
  fn.dispose();
  assert.equal((await result).dataSync()[0], 1024);
  tf.dispose([await result, x]);
});

Deno.test("options that make no sense are refused", () => {
  const fn = (x: tf.Tensor) => x;
  assert.throws(() => compile(fn, { maxTraces: 0 }), /maxTraces must be a whole number from 1, but it is 0/);
  assert.throws(() => compile(fn, { xla: "yes" as "auto" }), /xla must be "auto", true or false, but it is "yes"/);
});
