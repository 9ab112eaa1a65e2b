import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { backend, compile, tf } from "tessera/tensor/mod.ts";
import { tensorflow } from "tessera/tensor/backend.ts";
import { describeFailure, type OpAttribute, type TensorMetadata } from "tessera/tensor/binding.ts";
import { checkVersion, findTensorFlow, TENSORFLOW_VERSION, WrongVersion } from "tessera/tensor/load.ts";

const require = createRequire(import.meta.url);
const full = Deno.env.get("TESSERA_FULL") === "1";

if (tensorflow === undefined) console.log(`the binding is not tested: ${backend} is in use, not TensorFlow`);

/** A test of what only TensorFlow does. Each leaves as many tensors behind as it found, by `tf.tidy` unless told not to. */
function testTensorFlow(
  name: string,
  body: (found: NonNullable<typeof tensorflow>) => void,
  { tidy = true }: { tidy?: boolean } = {},
): void {
  Deno.test({
    name,
    ignore: tensorflow === undefined,
    fn() {
      const handles = tensorflow!.binding.getNumOfTensors();
      const { numTensors } = tf.memory();
      if (tidy) tf.tidy(() => body(tensorflow!));
      else body(tensorflow!);
      assert.equal(tf.memory().numTensors, numTensors, "tensors are left over");
      assert.equal(tensorflow!.binding.getNumOfTensors(), handles, "handles are left over");
    },
  });
}

testTensorFlow("TensorFlow.js and tfjs-node are one engine, with one set of functions", () => {
  const node = require("@tensorflow/tfjs-node-gpu") as typeof tf;
  assert.equal(node.add, tf.add);
  assert.equal(node.engine(), tf.engine());
  assert.equal(tf.getBackend(), "tensorflow");
});

testTensorFlow("values of every type come back as they went", () => {
  const float = tf.tensor2d([[1.5, -2], [NaN, Infinity]]);
  assert.deepEqual(tf.concat([float, float]).arraySync(), [[1.5, -2], [NaN, Infinity], [1.5, -2], [NaN, Infinity]]);

  const int = tf.tensor1d([2 ** 31 - 1, -(2 ** 31), 0], "int32");
  assert.deepEqual(tf.reverse(int).dataSync(), Int32Array.of(0, -(2 ** 31), 2 ** 31 - 1));

  const bool = tf.tensor1d([true, false], "bool");
  assert.deepEqual(tf.logicalNot(bool).dataSync(), Uint8Array.of(0, 1));

  const complex = tf.complex([1, 2], [3, -4]);
  assert.deepEqual(tf.mul(complex, complex).dataSync(), Float32Array.of(-8, 6, -12, -16));
  assert.equal(complex.dtype, "complex64");

  assert.equal(tf.scalar(3).add(4).arraySync(), 7);
  assert.deepEqual(tf.zeros([0, 3]).concat(tf.ones([1, 3])).arraySync(), [[1, 1, 1]]);
  assert.deepEqual(tf.neg(tf.zeros([2, 0])).shape, [2, 0]);
});

testTensorFlow("values of another array type are converted, as on the other backends", () => {
  assert.deepEqual(tf.neg(tf.tensor1d(new Uint8Array([1, 200]), "float32")).arraySync(), [-1, -200]);
  assert.deepEqual(tf.neg(tf.tensor1d(new Float32Array([1.7, -1.7]), "int32")).arraySync(), [-1, 1]);
  assert.deepEqual(tf.neg(tf.tensor1d(new Float32Array([9, 1, 2]).subarray(1), "float32")).arraySync(), [-1, -2]);
});

testTensorFlow("strings of any length and any bytes come back as they went", () => {
  const texts = ["", "a", "grün", "x".repeat(22), "y".repeat(23), "z".repeat(1e5)];
  assert.deepEqual(tf.expandDims(tf.tensor1d(texts), 0).arraySync(), [texts]);
  assert.deepEqual(tf.concat([tf.tensor1d([], "string"), tf.tensor1d(["b"])]).arraySync(), ["b"]);
  const bytes = tf.expandDims(tf.tensor([Uint8Array.of(255, 0, 7)], [1], "string"), 0);
  assert.deepEqual(tensorflow!.readSync(bytes.dataId), [Uint8Array.of(255, 0, 7)]);
});

testTensorFlow("a string tensor that shares another's strings outlives it", () => {
  const text = "a text that is too long to be kept inside the element";
  const first = tf.tensor1d([text]);
  const second = tf.expandDims(first, 0);
  first.dispose();
  assert.deepEqual(second.arraySync(), [[text]]);
});

testTensorFlow("an Int64Scalar is an input like any other, and is freed after the op", ({ binding }) => {
  const { Int64Scalar } = require("@tensorflow/tfjs-node-gpu/dist/int64_tensors.js") as {
    Int64Scalar: new (value: number) => tf.TensorInfo;
  };
  const handles = binding.getNumOfTensors();
  const cast = [type("SrcT", binding.TF_INT64), type("DstT", binding.TF_FLOAT)];
  const float = tensorflow!.executeSingleOutput("Cast", cast, [new Int64Scalar(-5)]);
  assert.equal(float.arraySync(), -5);
  assert.equal(binding.getNumOfTensors(), handles + 1);
});

testTensorFlow("outputs of a type that tfjs does not know become int32", ({ binding }) => {
  const places = tensorflow!.executeSingleOutput("Where", [], [tf.tensor1d([0, 1, 1], "bool")]); // int64
  assert.equal(places.dtype, "int32");
  assert.deepEqual(tf.add(places, places).arraySync(), [[2], [4]]);
  const cast = [type("SrcT", binding.TF_FLOAT), type("DstT", binding.TF_UINT8)];
  const bytes = tensorflow!.executeSingleOutput("Cast", cast, [tf.tensor1d([1, 255])]);
  assert.deepEqual(tf.add(bytes, bytes).arraySync(), [2, 510]);
});

testTensorFlow("variables are assigned, trained and freed", () => {
  const variable = tf.variable(tf.tensor1d([1, 2]));
  variable.assign(variable.add(tf.tensor1d([1, 1])));
  assert.deepEqual(variable.arraySync(), [2, 3]);
  const optimizer = tf.train.sgd(0.5);
  optimizer.minimize(() => variable.square().sum(), false, [variable]);
  assert.deepEqual(variable.arraySync(), [0, 0]);
  optimizer.dispose();
  variable.dispose();
});

testTensorFlow("there is one handle per tensor in memory, and none after disposal", ({ binding }) => {
  const [handles, { numDataBuffers }] = [binding.getNumOfTensors(), tf.memory()];
  const sum = tf.add(tf.tensor1d([1, 2]), tf.tensor1d([3, 4]));
  const view = sum.clone();
  assert.equal(binding.getNumOfTensors() - handles, 3);
  assert.equal(tf.memory().numDataBuffers - numDataBuffers, 3);
  view.dispose();
  assert.equal(binding.getNumOfTensors() - handles, 3); // the clone shared the value of `sum`
  sum.dispose();
  assert.equal(binding.getNumOfTensors() - handles, 2);
});

testTensorFlow("an op that fails names itself and says why, and the next one works", ({ binding }) => {
  const x = tf.tensor1d([1, 2, 3]);
  assert.throws(() => tf.gather(x, tf.tensor1d([5], "int32")), {
    message: "TensorFlow's GatherV2 failed: indices[0] = 5 is not in [0, 3)",
  });
  assert.throws(
    () => tensorflow!.executeSingleOutput("NoSuchOp", [], []),
    /^Error: TensorFlow's NoSuchOp failed: .*NoSuchOp/,
  );
  assert.throws(() => tensorflow!.executeSingleOutput("MatMul", [], [tf.zeros([2, 3]), tf.zeros([2, 3])]), {
    message: "TensorFlow's MatMul failed: Matrix size-incompatible: In[0]: [2,3], In[1]: [2,3]",
  });
  assert.throws(() => binding.deleteTensor(1e9), /there is no tensor 1000000000/);
  assert.deepEqual(tf.neg(x).arraySync(), [-1, -2, -3]);
});

testTensorFlow("an index out of range is refused by TensorFlow, an axis from the end is understood", () => {
  const x = tf.tensor2d([[1, 2], [3, 4]]);
  assert.deepEqual(tf.gather(x, tf.tensor1d([1], "int32"), -1).arraySync(), [[2], [4]]);
  assert.throws(() => tf.gather(x, tf.tensor1d([-1], "int32")), /indices\[0\] = -1 is not in \[0, 2\)/);
});

testTensorFlow(
  "a product that repeats a factor along one of several batch dimensions writes into its output alone",
  () => {
    const rows = Array.from({ length: 256 }, (_, i) => i % 7);
    const expected = Array.from({ length: 128 }, (_, i) => 4 * rows[2 * i] + 5 * rows[2 * i + 1]);
    const multiply = (a: tf.Tensor, b: tf.Tensor) => tf.matMul(a, b);
    const compiled = compile(multiply);
    for (let i = 0; i < 50; i++) { // without the repair: other numbers, then "free(): invalid pointer"
      const a = tf.tensor4d(rows, [2, 1, 64, 2]), b = tf.tensor4d([4, 5], [1, 1, 2, 1]);
      assert.deepEqual([...multiply(a, b).dataSync()], expected);
      if (i === 0) assert.deepEqual([...compiled(a, b).dataSync()], expected);
    }
    const grouped = tf.matMul(tf.ones([2, 3, 4, 5]), tf.ones([1, 5, 2]));
    assert.deepEqual(grouped.shape, [2, 3, 4, 2]);
    compiled.dispose();
  },
);

testTensorFlow("a gather reads nothing back", ({ binding }) => {
  const read = binding.tensorDataSync;
  binding.tensorDataSync = () => assert.fail("it read its indices");
  try {
    tf.gather(tf.tensor1d([1, 2, 3]), tf.argMax(tf.tensor2d([[0, 1], [1, 0]]), 1));
  } finally {
    binding.tensorDataSync = read;
  }
});

testTensorFlow("an interceptor sees every op, and no op runs", ({ binding }) => {
  const seen: string[] = [];
  let id = -1;
  binding.interceptor = {
    executeOp(name: string, _attributes: OpAttribute[], inputs: number[], outputs: number): TensorMetadata[] {
      seen.push(`${name} ${inputs.length}`);
      return Array.from({ length: outputs }, () => ({ id: --id, shape: [2], dtype: binding.TF_FLOAT }));
    },
  };
  try {
    const sum = tf.add(tf.tensor1d([1, 2]), tf.tensor1d([3, 4]));
    tf.neg(sum).dispose();
    tf.expandDims(tf.tensor1d(["uploaded, not traced"]), 0);
    assert.throws(() => sum.dataSync(), /never had a value/);
  } finally {
    binding.interceptor = undefined;
  }
  assert.deepEqual(seen, ["Add 2", "Neg 1", "ExpandDims 2"]);
});

testTensorFlow("a seed that is a fraction is taken", () => {
  const drawn = tf.multinomial(tf.tensor1d([0, 0, 0]), 4); // tfjs draws a seed in [0, 1)
  assert.deepEqual([drawn.shape, drawn.dtype], [[4], "int32"]);
});

testTensorFlow("saved models are refused in one sentence", ({ binding }) => {
  assert.throws(() => binding.loadSavedModel(), /saved models are not supported/);
  assert.equal(binding.getNumOfSavedModels(), 0);
});

// tidy keeps a list of all tensors made in it, so these two do without
testTensorFlow(`${full ? "10^6" : "10^5"} ops leave the memory flat`, () => {
  const a = tf.randomNormal([32, 32]);
  const twoOps = () => {
    const sum = tf.add(a, a);
    tf.sum(sum, 1).dispose(); // uploads a constant, the axis
    sum.dispose();
  };
  assertFlat(twoOps, (full ? 1e6 : 1e5) / 2);
  a.dispose();
}, { tidy: false });

testTensorFlow("10^5 string tensors leave the memory flat", () => {
  const text = new TextEncoder().encode("s".repeat(1000));
  assertFlat(() => {
    const tensor = tf.tensor([text], [1], "string");
    tf.expandDims(tensor, 0).dispose();
    tensor.dispose();
  }, 1e5);
}, { tidy: false });

Deno.test("another version of TensorFlow is refused in one sentence that says what to do", () => {
  checkVersion(TENSORFLOW_VERSION, "tensorflow");
  assert.throws(() => checkVersion("2.20.0", "/there"), (error: Error) => {
    assert.ok(error instanceof WrongVersion);
    assert.match(
      error.message,
      /^TensorFlow must be 2\.21\.0, but \/there holds 2\.20\.0; run .* or set TESSERA_BACKEND/,
    );
    return true;
  });
  assert.throws(() => checkVersion("", "/there"), /holds one without a version/);
});

Deno.test("TensorFlow is looked for in the project's .venv alone", () => {
  assert.equal(findTensorFlow(`${Deno.makeTempDirSync()}/`), undefined);
});

Deno.test("TensorFlow's messages become one sentence", () => {
  assert.equal(
    describeFailure("Add", "{{function_node x}} bad [Op:Add] name: y\nTrace"),
    "TensorFlow's Add failed: bad",
  );
  assert.equal(describeFailure("Add", ""), "TensorFlow's Add failed: it gave no reason");
});

function type(name: string, value: number): OpAttribute {
  return { name, type: tensorflow!.binding.TF_ATTR_TYPE, value };
}

/** Looks at the process' memory after a fifth of the rounds and after all, each time without garbage of JavaScript's. */
function assertFlat(action: () => void, times: number): void {
  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  const settled = times / 5; // V8 and the allocator take 20 MB at first
  let before = 0;
  for (let i = 0; i < times + settled; i++) {
    if (i === settled) {
      collect();
      before = Deno.memoryUsage().rss;
    }
    action();
  }
  collect();
  const grown = (Deno.memoryUsage().rss - before) / 1e6;
  assert.ok(grown < 5, `${times} rounds leave ${grown.toFixed(1)} MB behind`);
}
