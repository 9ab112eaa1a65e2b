import assert from "node:assert/strict";
import { backend, compile, tf, tidy, TraceError } from "tessera/tensor/mod.ts";
import { tensorflow } from "tessera/tensor/backend.ts";

const onTensorFlow = tensorflow !== undefined;
if (!onTensorFlow) console.log(`refusals are not tested: ${backend} is in use, where nothing is traced`);

type Body = (x: tf.Tensor) => unknown;

function counts() {
  const { scopeStack, gradientDepth, kernelDepth } = (tf.engine() as unknown as {
    state: { scopeStack: unknown[]; gradientDepth: number; kernelDepth: number };
  }).state;
  return {
    tensors: tf.memory().numTensors,
    buffers: tf.memory().numDataBuffers,
    bytes: tf.memory().numBytes,
    handles: tensorflow?.binding.getNumOfTensors(),
    variables: Object.keys(tf.engine().registeredVariables).length,
    scopes: scopeStack.length,
    gradientDepth,
    kernelDepth,
  };
}

/** Calls a function that cannot be traced, in all the places where it might leave something behind. */
function assertRefused(
  name: string,
  body: Body,
  message: RegExp,
  { type = "TraceError" }: { type?: string } = {},
): void {
  Deno.test({
    name: `${name} is refused, and everything is as before`,
    ignore: !onTensorFlow,
    fn() {
      const variable = tidy(() => tf.variable(tf.tensor1d([1, 2, 3])));
      const optimizer = tf.train.adam(0.1);
      optimizer.minimize(() => variable.square().sum(), false, [variable]);
      const values = () => [variable, ...slotsOf(optimizer)].map((v) => Array.from(v.dataSync()));
      const x = tf.tensor1d([3, 1, 2]);
      take(tf.neg(x)); // now it is a tensor of TensorFlow
      const [before, valuesBefore] = [counts(), values()];

      /** The function alone; after a variable has been assigned; in a gradient; in a step of an optimizer; in tidies. */
      const places: Body[] = [
        body,
        (x) => {
          variable.assign(variable.add(x) as tf.Tensor1D);
          return body(x);
        },
        (x) => tf.grad((y) => [body(y.square().mul(variable)), y.sum()][1] as tf.Tensor)(x),
        (x) =>
          optimizer.minimize(
            () => [body(variable.mul(x).square()), variable.sum()][1] as tf.Scalar,
            true,
            [variable],
          ),
        (x) => tf.tidy(() => tf.tidy(() => [body(tf.keep(x.add(1))), x][1] as tf.Tensor)),
      ];
      for (const place of places) {
        for (const xla of [false, true]) {
          const fn = compile(place, { xla });
          for (let i = 0; i < 2; i++) assert.throws(() => fn(x), { name: type, message });
          assert.deepEqual(counts(), before);
          assert.deepEqual(values(), valuesBefore);
          assert.equal(fn.explain().traces.length, 0);
        }
      }
      optimizer.minimize(() => variable.square().sum(), false, [variable]); // works as ever
      assert.notDeepEqual(values(), valuesBefore);
      optimizer.dispose();
      tf.dispose([variable, x]);
    },
  });
}

/** Adam's moments. */
function slotsOf(optimizer: tf.AdamOptimizer): tf.Variable[] {
  const { accumulatedFirstMoment, accumulatedSecondMoment, accBeta1 } = optimizer as unknown as
    & Record<
      "accumulatedFirstMoment" | "accumulatedSecondMoment",
      { variable: tf.Variable }[]
    >
    & { accBeta1: tf.Variable };
  return [...accumulatedFirstMoment, ...accumulatedSecondMoment].map(({ variable }) => variable).concat(accBeta1);
}

function take(x: tf.Tensor): unknown {
  const value = x.arraySync();
  x.dispose();
  return value;
}

const inner = compile((x: tf.Tensor) => x.neg());

const READ = (name: string) => new RegExp(`^${name} reads the value of a tensor inside a compiled function`);

assertRefused("dataSync()", (x) => x.dataSync(), READ("dataSync\\(\\)"));
assertRefused("arraySync()", (x) => x.arraySync(), READ("arraySync\\(\\)"));
assertRefused("bufferSync()", (x) => x.bufferSync(), READ("bufferSync\\(\\)"));
assertRefused("data()", (x) => void x.data(), READ("data\\(\\)"));
assertRefused("array()", (x) => void x.array(), READ("array\\(\\)"));
assertRefused("bytes()", (x) => void x.bytes(), READ("bytes\\(\\)"));
assertRefused("print()", (x) => x.print(), READ("print\\(\\)"));
assertRefused("tf.print()", (x) => tf.print(x), READ("toString\\(\\), which tf.print calls,"));
assertRefused("writing a tensor into a text", (x) => `${x}`, READ("toString\\(\\), which tf.print calls,"));
assertRefused(
  "a variable's value",
  () => tf.engine().registeredVariables[firstVariable()].dataSync(),
  READ("dataSync\\(\\)"),
);
assertRefused("booleanMaskAsync", (x) => void tf.booleanMaskAsync(x, x.greater(1)), READ("data\\(\\)"));
assertRefused(
  "an operation that looks at values",
  (x) => tf.image.nonMaxSuppression(boxes(x), x as tf.Tensor1D, 1),
  /NonMaxSuppression/,
);

assertRefused(
  "a shape that depends on values",
  (x) => tf.unique(x),
  /^the shape of what UniqueV2 makes depends on values/,
);
assertRefused(
  "where() of unknown length",
  (x) => places(x.greater(1)),
  /^the shape of what Where makes depends on values/,
);

const RANDOM = (name: string) =>
  new RegExp(`^tf\\.${name} inside a compiled function .* randomUniform\\(key, shape\\)`);
assertRefused("tf.dropout", (x) => tf.dropout(x, 0.5), RANDOM("dropout"));
assertRefused("tf.randomUniform", () => tf.randomUniform([2]), RANDOM("randomUniform"));
assertRefused("tf.randomNormal", () => tf.randomNormal([2]), RANDOM("randomNormal"));
assertRefused("tf.truncatedNormal", () => tf.truncatedNormal([2]), RANDOM("truncatedNormal"));
assertRefused("tf.randomGamma", () => tf.randomGamma([2], 1), RANDOM("randomGamma"));
assertRefused("tf.multinomial", (x) => tf.multinomial(x as tf.Tensor1D, 2), RANDOM("multinomial"));
assertRefused(
  "a large constant from values of JavaScript",
  (x) => x.sum().add(tf.tensor1d(Float32Array.from({ length: 2 ** 14 + 1 }, (_, i) => i))),
  /^a tensor of shape \[16385\] is made from values of JavaScript .* randomUniform\(key, shape\)/,
);

assertRefused(
  "disposing a variable",
  () => tf.disposeVariables(),
  /^the variable \S+ is disposed inside a compiled function/,
);
assertRefused(
  "an op with side effects only",
  (x) => tensorflow!.binding.executeOp("NoOp", [], tensorflow!.getInputTensorIds([x]), 0),
  /^NoOp has side effects only/,
);
assertRefused(
  "an op with a state",
  (x) => tensorflow!.executeSingleOutput("RandomShuffle", [], [x]),
  /^RandomShuffle keeps a state outside the graph/,
);
assertRefused("async() of another compiled function", (x) => inner.async(x), /^async\(\) inside a compiled function/);
assertRefused("encoding an image", (x) => encode(x), /EncodePng takes values from JavaScript|dataSync\(\) reads/);
assertRefused(
  "the function's own error",
  () => {
    throw new RangeError("mine");
  },
  /^mine$/,
  { type: "RangeError" },
);
assertRefused(
  "an error of TensorFlow",
  (x) => tensorflow!.executeSingleOutput("MatMul", [], [x, x]),
  /^TensorFlow's MatMul failed: Shape must be rank 2/,
  {
    type: "Error",
  },
);

Deno.test({
  name: "a tensor of an earlier trace is refused, eagerly, in a trace, and by whoever reads it",
  ignore: !onTensorFlow,
  fn() {
    let kept: tf.Tensor | undefined;
    const fn = compile((x: tf.Tensor) => {
      kept = tf.keep(x.add(1));
      return x.neg();
    });
    const x = tf.tensor1d([1]);
    take(fn(x));
    const message = /never had a value; return it from the compiled function instead of keeping it/;
    assert.throws(() => kept!.add(1), { name: "TraceError", message });
    assert.throws(() => kept!.dataSync(), { name: "TraceError", message });
    assert.throws(() => compile((x: tf.Tensor) => kept!.add(x))(x), { name: "TraceError", message });
    assert.throws(() => fn(kept!), { name: "TraceError", message });
    kept!.dispose();
    fn.dispose();
    x.dispose();
  },
});

Deno.test({
  name: "a tensor that the function makes from values and keeps is a tensor like any other afterwards",
  ignore: !onTensorFlow,
  fn() {
    let table: tf.Tensor | undefined;
    const fn = compile((x: tf.Tensor) => x.add(table ??= tf.keep(tf.tensor1d([1, 2]))));
    const [x, y] = [tf.tensor1d([1, 1]), tf.tensor2d([[1, 1]])];
    assert.deepEqual(take(fn(x)), [2, 3]);
    assert.deepEqual(take(fn(y)), [[2, 3]]);
    assert.deepEqual(table!.arraySync(), [1, 2]);
    fn.dispose();
    tf.dispose([x, y, table!]);
  },
});

Deno.test({
  name: "variables may be made in the first call, which then runs as it is; later they are refused",
  ignore: !onTensorFlow,
  fn() {
    const careless = compile((x: tf.Tensor) => x.add(tidy(() => tf.variable(tf.zeros([1])))));
    const x = tf.tensor1d([1]);
    assert.deepEqual(take(careless(x)), [1]);
    const before = counts();
    assert.throws(() => careless(x), {
      name: "TraceError",
      message: /makes a variable after its first call; make it outside the compiled function/,
    });
    assert.deepEqual(counts(), before);

    let state: tf.Variable | undefined;
    const careful = compile((x: tf.Tensor) => {
      state ??= tidy(() => tf.variable(tf.zeros([1])));
      state.assign(state.add(x));
      return state.mul(1);
    });
    assert.deepEqual([1, 2, 3].map(() => take(careful(x))), [[1], [2], [3]]);
    careful.dispose();
    tf.disposeVariables();
    x.dispose();
  },
});

Deno.test({ name: "an async function is refused", ignore: !onTensorFlow }, async () => {
  const x = tf.tensor1d([1]);
  const before = counts();
  // deno-lint-ignore require-await -- that is the point
  assert.throws(() => compile(async (x: tf.Tensor) => x.neg())(x), /^TraceError: an async function cannot be compiled/);
  assert.throws(() => compile(async (x: tf.Tensor) => x.mul((await x.data())[0]))(x), /^TraceError: data\(\) reads/);
  await new Promise((resolve) => setTimeout(resolve, 5)); // no rejection is left over
  assert.deepEqual(counts(), before);
  x.dispose();
});

Deno.test("what is no tensor, plain value, plain object or array is refused", () => {
  const fn = compile((x: unknown) => x);
  const cases: [unknown, RegExp][] = [
    [new Float32Array(2), /an argument of a compiled function holds a Float32Array, .* make it a tensor/],
    [{ deep: [new Map()] }, /holds a Map, which a compiled function cannot take or give; use plain objects and arrays/],
    [() => 1, /holds a function, .* let the function close over it/],
    [Symbol("s"), /holds a symbol/],
  ];
  for (const [value, message] of cases) assert.throws(() => fn(value), { name: "TypeError", message });
  const circle: unknown[] = [];
  circle.push(circle);
  assert.throws(() => fn(circle), /nested more than 64 deep; does it contain itself\?/);
  const x = tf.scalar(1);
  const { numTensors } = tf.memory();
  assert.throws(
    () => compile((x: tf.Tensor) => ({ later: () => x }))(x),
    /the result of a compiled function holds a function/,
  );
  assert.equal(tf.memory().numTensors, numTensors);
  x.dispose();
  assert.throws(() => fn(x), /an argument of a compiled function holds a tensor of shape \[\] that was disposed/);
});

Deno.test({ name: "a variable that was disposed since the trace is named", ignore: !onTensorFlow }, () => {
  const v = tidy(() => tf.variable(tf.scalar(1), true, "gone"));
  const fn = compile((x: tf.Tensor) => x.mul(v));
  const x = tf.scalar(2);
  take(fn(x));
  v.dispose();
  assert.throws(() => fn(x), /the variable gone, which a compiled function uses, was disposed/);
  fn.dispose();
  x.dispose();
});

for (const xla of [false, true]) {
  const way = xla ? "by XLA" : "as a graph";
  const at = (values: number[]) => tf.tensor1d(values, "int32");
  const rows: { name: string; fn(x: tf.Tensor, i: tf.Tensor): tf.Tensor; wrong: number[]; right: number[] }[] = [
    { name: "gather", fn: (x, i) => tf.gather(x, i), wrong: [0, 3], right: [0, 2] },
    { name: "gather", fn: (x, i) => tf.gather(x, i), wrong: [-1, 0], right: [2, 2] },
    { name: "gatherND", fn: (x, i) => tf.gatherND(x, i.reshape([2, 1])), wrong: [0, 3], right: [1, 2] },
    {
      name: "gather of a constant index",
      fn: (x, i) => tf.gather(x, at([0, 5])).add(i.sum()),
      wrong: [0, 1],
      right: [],
    },
    {
      name: "scatterND",
      fn: (x, i) => tf.scatterND(i.reshape([2, 1]), x.slice(0, 2), [3]),
      wrong: [0, 3],
      right: [1, 0],
    },
    {
      name: "unsortedSegmentSum",
      fn: (x, i) => tf.unsortedSegmentSum(x.slice(0, 2), i as tf.Tensor1D, 3),
      wrong: [0, 3],
      right: [1, -1],
    },
  ];
  for (const { name, fn, wrong, right } of rows) {
    Deno.test({
      name: `an index out of range is an error ${way}: ${name} [${wrong}]`,
      ignore: !onTensorFlow,
      fn() {
        const x = tf.tensor1d([10, 20, 30]);
        const written = tidy(() => tf.variable(tf.scalar(0)));
        const compiled = compile((x: tf.Tensor, i: tf.Tensor) => {
          written.assign(tf.scalar(1));
          return fn(x, i.mul(tf.scalar(1, "int32")));
        }, { xla });
        const bad = at(wrong);
        [x, bad].forEach((tensor) => take(tf.neg(tensor))); // now they are tensors of TensorFlow
        const before = counts();
        for (let i = 0; i < 2; i++) {
          assert.throws(() => compiled(x, bad), /(3|-1|5)\b.* (is not in|is out of range|does not index into)/);
        }
        assert.equal(written.arraySync(), 0);
        const constants = name.includes("constant") ? 0 : undefined;
        assert.equal(compiled.explain().traces.length, constants ?? 1);
        assert.deepEqual(counts(), before);
        if (right.length > 0) {
          const good = at(right);
          assert.deepEqual(take(compiled(x, good)), take(fn(x, good)));
          good.dispose();
        }
        compiled.dispose();
        tf.dispose([x, bad, written]);
      },
    });
  }
}

Deno.test("TraceError is exported, and is an Error of its name", () => {
  const error = new TraceError("x");
  assert.ok(error instanceof Error);
  assert.equal(String(error), "TraceError: x");
});

function firstVariable(): string {
  return Object.keys(tf.engine().registeredVariables)[0];
}

function boxes(x: tf.Tensor): tf.Tensor2D {
  return x.expandDims<tf.Tensor2D>(1).tile([1, 4]);
}

function places(condition: tf.Tensor): tf.Tensor {
  return tensorflow!.executeSingleOutput("Where", [], [condition]);
}

/** Hands values over beside the tensors, as tfjs-node does with images. */
function encode(_x: tf.Tensor): void {
  const { binding } = tensorflow!;
  const image = binding.createTensor([1, 1, 3], binding.TF_UINT8, new Uint8Array(3));
  try {
    binding.executeOp("EncodePng", [], [image], 1);
  } finally {
    binding.deleteTensor(image);
  }
}
