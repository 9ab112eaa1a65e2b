/** The training step and the loop around it: what they refuse, and that nothing is lost when a run is stopped. */
import assert from "node:assert/strict";
import { readSafetensors } from "tessera/data/mod.ts";
import { crossEntropy, dropout, fractionRight, initialise, linear, linearLayer, trainable } from "tessera/nn/mod.ts";
import { random } from "tessera/random.ts";
import { backend, tf, tidy } from "tessera/tensor/mod.ts";
import { adam, adamW, examples, fit, type FitOptions, sgd, type TrainingData, trainStep } from "tessera/train/mod.ts";
import { normalTensor } from "../tensor/agreement.ts";

const onTensorFlow = backend.name === "tensorflow";
const ignore = backend.name === "wasm";
if (ignore) console.log("skipped on wasm: tfjs has no gradients there for what these models use");

type Batch = [x: tf.Tensor2D, y: tf.Tensor1D, key: tf.Tensor1D];

/** A classifier with dropout, its step, and 23 examples: batches of 5 leave 3. */
function task() {
  const model = trainable(initialise({ fc1: linearLayer(6, 8), fc2: linearLayer(8, 3) }, random(1, "init")));
  const logits = (x: tf.Tensor2D, key?: tf.Tensor1D) =>
    linear(dropout(linear(x, model.fc1).relu<tf.Tensor2D>(), 0.2, key), model.fc2);
  const step = trainStep(
    (...[x, y, key]: Batch) => {
      const given = logits(x, key);
      return { loss: crossEntropy(given, y), accuracy: fractionRight(given, y) };
    },
    adamW({ learningRate: 1e-2 }),
    model,
    { clip: 1 },
  );
  const x = tf.keep(normalTensor<tf.Tensor2D>("x", [23, 6]));
  const y = tf.keep(tidy(() => x.slice([0, 0], [-1, 3]).argMax<tf.Tensor1D>(1)));
  const sizes: number[] = [];
  const all = examples(x, y);
  const data: TrainingData<Batch> = {
    count: 23,
    async batch(rows, context) {
      sizes.push(rows.length);
      const [some, labels] = await all.batch(rows, context);
      return [some, labels, context.key];
    },
  };
  const weights = () => Array.from(step.variables.values(), (variable) => Array.from(variable.dataSync()));
  const dispose = () => {
    step.dispose();
    tf.dispose([x, y, ...step.variables.values()]);
  };
  return { model, logits, step, data, x, y, sizes, weights, dispose };
}

const settings = { epochs: 4, batch: 5, seed: 7, show: false } as const;

/** Runs it in a folder that is removed afterwards. */
async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test({
  name: "each example is seen once an epoch, in an order of its own, and the last batch is what is left",
  ignore,
}, async () => {
  const seen: number[][] = [];
  const { step, data, sizes, dispose } = task();
  const watched: TrainingData<Batch> = {
    ...data,
    batch: (rows, context) => {
      (seen[context.epoch] ??= []).push(...rows);
      return data.batch(rows, context);
    },
  };
  const run = await fit({ step, data: watched, ...settings });
  assert.deepEqual(sizes.slice(0, 5), [5, 5, 5, 5, 3]);
  const all = Array.from({ length: 23 }, (_, i) => i);
  for (const epoch of seen) assert.deepEqual(epoch.toSorted((a, b) => a - b), all);
  assert.notDeepEqual(seen[0], seen[1]);
  assert.equal(run.steps, 20);
  assert.deepEqual(Object.keys(run.history).toSorted(), ["accuracy", "gradientNorm", "loss"]);
  assert.ok(Object.values(run.history).every((values) => values.length === 20));
  assert.ok(run.history.loss.at(-1)! < run.history.loss[0]);
  assert.match(run.backend, /TensorFlow/);
  dispose();
});

for (const at of [0, 1, 5, 12]) {
  Deno.test({
    name: `a run stopped after step ${at} goes on to the same numbers, in memory and from its checkpoint`,
    ignore,
  }, async () => {
    await inFolder(async (folder) => {
      const unbroken = task();
      const whole = await fit({ step: unbroken.step, data: unbroken.data, ...settings });

      const file = `${folder}/run.safetensors`;
      const stopped = task();
      const controller = new AbortController();
      const stopping: TrainingData<Batch> = {
        ...stopped.data,
        batch: (rows, context) => {
          if (context.step === at) controller.abort(); // this step is still made
          return stopped.data.batch(rows, context);
        },
      };
      const options = { ...settings, checkpoint: file };
      await assert.rejects(
        fit({ step: stopped.step, data: stopping, ...options, signal: controller.signal }),
        { name: "AbortError" },
      );
      assert.equal(stopped.step.count, at + 1);

      const resumed = task(); // as in another process
      const second = await fit({ step: resumed.step, data: resumed.data, ...options });
      assert.deepEqual(resumed.weights(), unbroken.weights());
      assert.deepEqual(second.history, whole.history);
      const third = await fit({ step: stopped.step, data: stopped.data, ...settings });
      assert.deepEqual(stopped.weights(), unbroken.weights());
      assert.deepEqual(third.history, whole.history);
      for (const { dispose } of [unbroken, stopped, resumed]) dispose();
    });
  });
}

Deno.test({ name: "more epochs go on from where the last ones ended", ignore }, async () => {
  const [once, twice] = [task(), task()];
  await fit({ step: once.step, data: once.data, ...settings });
  await fit({ step: twice.step, data: twice.data, ...settings, epochs: 2 });
  await fit({ step: twice.step, data: twice.data, ...settings });
  assert.deepEqual(twice.weights(), once.weights());
  once.dispose();
  twice.dispose();
});

Deno.test({ name: "another seed gives other weights, the same seed the same", ignore }, async () => {
  const weights = [];
  for (const seed of [1, 1, 2]) {
    const { step, data, weights: read, dispose } = task();
    await fit({ step, data, ...settings, seed });
    weights.push(read());
    dispose();
  }
  assert.deepEqual(weights[0], weights[1]);
  assert.notDeepEqual(weights[0], weights[2]);
});

Deno.test({
  name: "patience ends a run, the best weights come back, and the last ones are there to go on from",
  ignore,
}, async () => {
  await inFolder(async (folder) => {
    const { step, data, weights, dispose } = task();
    const given = [3, 2, 2.5, 2.1, 2.2, 1];
    const after: number[][][] = [];
    const options: FitOptions<Batch> = {
      step,
      data,
      ...settings,
      epochs: 6,
      patience: 2,
      checkpoint: `${folder}/run.safetensors`,
      validate: (epoch) => {
        after[epoch] = weights();
        return { loss: given[epoch - 1] };
      },
    };
    const run = await fit(options);
    assert.deepEqual([run.ended, run.epochs, run.bestEpoch], ["patience", 4, 2]);
    assert.deepEqual(run.validation.map(({ values }) => values.loss), [3, 2, 2.5, 2.1]);
    assert.deepEqual(weights(), after[2]);

    const other = task(); // a run that has ended ends at once, from its checkpoint too
    const again = await fit({ ...options, step: other.step, data: other.data });
    assert.deepEqual([again.ended, again.epochs, other.weights()], ["patience", 4, after[2]]);

    const longer = await fit({ ...options, patience: 4 });
    assert.deepEqual([longer.ended, longer.epochs, longer.bestEpoch], ["epochs", 6, 6]);
    const straight = task();
    await fit({ step: straight.step, data: straight.data, ...settings, epochs: 6 });
    assert.deepEqual(weights(), straight.weights());
    for (const one of [other, straight]) one.dispose();
    dispose();
  });
});

Deno.test({
  name:
    "a checkpoint holds weights under their names, moments, history and the run; a damaged write leaves the old one",
  ignore,
}, async () => {
  await inFolder(async (folder) => {
    const { step, data, weights, dispose } = task();
    const checkpoint = `${folder}/run.safetensors`;
    await fit({ step, data, ...settings, epochs: 1, checkpoint, checkpointEvery: 2 });
    const { tensors, metadata } = await readSafetensors(checkpoint);
    assert.deepEqual(Array.from(tensors.get("fc1.weight")!.data as Float32Array), weights()[0]);
    assert.ok(tensors.has("optimizer.exp_avg_sq.fc2.bias") && tensors.get("history.loss")!.shape[0] === 5);
    const { count, run } = JSON.parse(metadata.run);
    assert.deepEqual([count, run.settings.seed], [5, 7]);
    assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name), ["run.safetensors"]);
    await assert.rejects(
      fit({ step, data, ...settings, epochs: 2, checkpoint: `${folder}/no/such.safetensors` }),
      /there is no folder/,
    );
    dispose();
  });
});

Deno.test(
  { name: "a checkpoint of another run, model or optimizer is refused, and the step is as before", ignore },
  async () => {
    await inFolder(async (folder) => {
      const { step, data, dispose } = task();
      const checkpoint = `${folder}/run.safetensors`;
      await fit({ step, data, ...settings, epochs: 1, checkpoint });
      const other = task();
      const before = other.weights();
      const go = { step: other.step, data: other.data, ...settings, checkpoint };
      await assert.rejects(fit({ ...go, seed: 8 }), /is a checkpoint of a run with .*"seed":7.*, not with .*"seed":8/);
      await assert.rejects(fit({ ...go, batch: 4 }), /"batch":5/);
      const w = tf.variable(tf.zeros([2]));
      const loss = (x: tf.Tensor2D) => x.slice([0, 0], [1, 2]).mul(w).sum();
      const strange = trainStep((...[x]: Batch) => loss(x), adamW({ learningRate: 1 }), { w });
      await assert.rejects(fit({ ...go, step: strange }), /of another model: variable w is missing among 4/);
      const sgdStep = trainStep((...[x]: Batch) => loss(x), sgd({ learningRate: 1 }), { w });
      await assert.rejects(fit({ ...go, step: sgdStep }), /was made with adamW, but the step has sgd/);
      await Deno.writeTextFile(checkpoint, "no safetensors");
      await assert.rejects(fit(go), /run.safetensors/);
      assert.deepEqual(other.weights(), before);
      strange.dispose();
      sgdStep.dispose();
      w.dispose();
      other.dispose();
      dispose();
    });
  },
);

Deno.test(
  { name: "a loss that is no number ends the run and says in which step, and spares the checkpoint", ignore },
  async () => {
    await inFolder(async (folder) => {
      const w = tf.variable(tf.scalar(1));
      const step = trainStep((x: tf.Tensor) => x.mul(w).log().sum(), sgd({ learningRate: 0.1 }), { w });
      const checkpoint = `${folder}/run.safetensors`;
      const x = tf.tensor1d([1, 1, 1, -1]);
      const go = { step, data: examples(x), batch: 1, seed: 1, shuffle: false, show: false, checkpoint };
      await assert.rejects(fit({ ...go, epochs: 1 }), /the loss of step 4 is NaN; a lower learning rate/);
      await assert.rejects(Deno.stat(checkpoint));
      step.dispose();
      tf.dispose([w, x]);
    });
  },
);

Deno.test({ name: "fit and trainStep refuse what makes no sense, in one sentence", ignore }, async () => {
  const { step, data, dispose } = task();
  const go = { step, data, ...settings };
  await assert.rejects(fit({ ...go, epochs: 0 }), /epochs must be a whole number from 1, but it is 0/);
  await assert.rejects(fit({ ...go, batch: 1.5 }), /batch must be a whole number from 1, but it is 1.5/);
  await assert.rejects(fit({ ...go, data: { ...data, count: 0 } }), /the number of examples must be/);
  await assert.rejects(fit({ ...go, patience: 1 }), /there is no validate; pass it/);
  await assert.rejects(
    fit({ ...go, epochs: 1, patience: 1, validate: () => ({ accuracy: 1 }) }),
    /validate gives accuracy, and patience has to know what is better; pass monitor/,
  );
  assert.throws(() => trainStep(() => tf.scalar(1), sgd({ learningRate: 1 }), { w: tf.zeros([1]) }), /no variable/);
  const w = tf.variable(tf.zeros([2]));
  const vector = trainStep(() => w.mul(2), sgd({ learningRate: 1 }), { w });
  assert.throws(() => vector(), /a loss must be one number of float32, but it is float32 of shape \[2\]/);
  assert.equal(vector.count, 0, "a step that failed does not count");
  assert.throws(() => trainStep(() => w.sum(), sgd({ learningRate: 1 }), { w }, { clip: 0 }), /clip must be a norm/);
  assert.throws(() => examples(tf.zeros([2]), tf.zeros([3])), /must have one length/);
  w.dispose();
  dispose();
});

Deno.test(
  { name: "a variable that the loss does not depend on is left alone, frozen ones and tied ones too", ignore },
  () => {
    tidy(() => {
      const tied = tf.tensor1d([1, 2]);
      const model = trainable(
        { a: tied, b: tied, unused: tf.tensor1d([5]), frozen: tf.tensor1d([3, 3]) },
        (name) => name !== "frozen",
      );
      assert.equal(model.a, model.b);
      const step = trainStep(
        () => model.a.add(model.b).mul(model.frozen).sum(),
        adamW({ learningRate: 1, weightDecay: 0.5 }),
        model,
      );
      assert.deepEqual([...step.variables.keys()], ["a", "unused"]);
      step();
      assert.deepEqual([...model.unused.dataSync()], [5]);
      assert.deepEqual([...model.frozen.dataSync()], [3, 3]);
      assert.notDeepEqual([...model.a.dataSync()], [1, 2]);
      step.dispose();
    });
  },
);

Deno.test({ name: "steps leave the number of tensors as it was, also where they fail", ignore }, async () => {
  const { step, data, x, y, dispose } = task();
  await fit({ step, data, ...settings, epochs: 1 });
  const before = tf.memory().numTensors;
  await fit({ step, data, ...settings, epochs: 3 });
  assert.equal(tf.memory().numTensors, before);
  const wrong = tf.tensor1d([9], "int32");
  const one = x.slice([0, 0], [1, -1]) as tf.Tensor2D;
  const key = tf.tensor1d([1, 2], "int32");
  const outside = tf.memory().numTensors;
  if (onTensorFlow) {
    assert.throws(() => step(one, wrong, key), /9/);
    await assert.rejects(step.async(one, wrong, key), /9/);
    assert.equal(tf.memory().numTensors, outside);
    assert.equal(step.count, 15);
  }
  tf.dispose([wrong, one, key, y]);
  dispose();
});

Deno.test({ name: "steps under way in a row are made one after another", ignore: !onTensorFlow }, async () => {
  const [together, apart] = [task(), task()];
  const key = tf.tensor1d([1, 2], "int32");
  const results = await Promise.all([1, 2, 3].map(() => together.step.async(together.x, together.y, key)));
  for (let i = 0; i < 3; i++) tf.dispose(apart.step(apart.x, apart.y, key) as unknown as tf.TensorContainer);
  assert.deepEqual(together.weights(), apart.weights());
  assert.equal(together.step.count, 3);
  tf.dispose([results as unknown as tf.TensorContainer, key]);
  together.dispose();
  apart.dispose();
});

Deno.test({ name: "the event loop stays free while a run is under way", ignore: !onTensorFlow }, async () => {
  const w = tf.variable(normalTensor("w", [600, 600], 0.01));
  const power = (x: tf.Tensor) =>
    Array.from({ length: 6 }).reduce<tf.Tensor>((y) => tf.matMul(y, w), x).square().mean();
  const step = trainStep(power, adam({ learningRate: 1e-6 }), { w });
  const x = normalTensor("x", [600, 600]);
  tf.dispose(step(x) as unknown as tf.TensorContainer);
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  await fit({ step, data: examples(x), epochs: 8, batch: 600, seed: 1, show: false });
  clearInterval(timer);
  assert.ok(ticks >= 8, `${ticks}`);
  step.dispose();
  tf.dispose([w, x]);
});

Deno.test(
  { name: "a trained step is one function with one trace per shape of the batch", ignore: !onTensorFlow },
  async () => {
    const { step, data, dispose } = task();
    await fit({ step, data, ...settings });
    const { traces, eagerCalls } = step.explain();
    assert.deepEqual([traces.length, eagerCalls], [2, 0]); // batches of 5, and the last one of 3
    assert.equal(traces.reduce((sum, { calls }) => sum + calls, 0), 20);

    dispose();
  },
);
