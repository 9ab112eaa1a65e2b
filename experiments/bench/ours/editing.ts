/**
 * Workloads of `editing`: CLEF, in this library.
 *
 * @module
 */
import { randomKey, tf } from "tessera/tensor/mod.ts";
import { calendarOf } from "tessera/data/mod.ts";
import { CLEF, type EncoderInput, huber, type Moments, type Query } from "tessera/editing/mod.ts";
import { adam, trainStep } from "tessera/train/mod.ts";
import type { Parameter } from "../workload.ts";
import type { Job } from "../workloads/editing.ts";
import { inferred, numbersOf, patternTensor, type Ready, way } from "./worker.ts";

/** Makes a workload ready. */
export function prepare(job: Job, parameters: readonly Parameter[]): Ready {
  const weights = [...numbersOf(parameters)].map(([name, { data, shape }]): [string, tf.Variable] => [
    name,
    tf.variable(tf.tensor(data, shape), true, name),
  ]);
  const model = new CLEF(job.config, new Map(weights));
  return job.kind === "clef_step" ? training(job, model) : generating(job, model);
}

/** Histories with a tenth of the cells missing, and what is asked of them. */
function asked({ batch, days, config: { variables, records, conditionWidth } }: Job) {
  const observed = seen(901, [batch, records, variables]) as tf.Tensor3D;
  const history: EncoderInput = {
    x: patternTensor(900, [batch, records, variables]).add(2).mul(observed),
    observed,
    ...moments(batch, Array.from({ length: records }, (_, record) => record)),
  };
  const query: Query = {
    to: moments(batch, [records - 1 + days]),
    condition: patternTensor(902, [batch, conditionWidth]),
  };
  return { history, query };
}

/** 1 for nine tenths of the cells. */
function seen(salt: number, shape: number[]): tf.Tensor {
  return patternTensor(salt, shape).greater(-0.8).cast("float32");
}

/** Moments so many days after a start, which is another one for each subject. */
function moments(batch: number, days: readonly number[]): Moments {
  const hours = Array.from({ length: batch }, (_, subject) => days.map((day) => 1001 * subject + 24 * day));
  return {
    calendar: tf.tensor3d(hours.map((row) => row.map(calendarOf)), [batch, days.length, 3], "int32"),
    hours: tf.tensor2d(days.map((day) => 24 * day), [1, days.length]).tile([batch, 1]),
  };
}

function generating(job: Job, model: CLEF): Ready {
  const { history, query } = asked(job);
  const { x, observed, calendar, hours } = history;
  return inferred(
    (x, observed, calendar, hours, to, toHours, condition) =>
      model.forward(
        { x, observed, calendar, hours } as EncoderInput,
        { to: { calendar: to, hours: toHours }, condition } as Query,
      ).state,
    [x, observed, calendar, hours, query.to.calendar, query.to.hours, query.condition!],
  );
}

function training(job: Job, model: CLEF): Ready {
  const { history, query } = asked(job);
  const shape: [number, number] = [job.batch, job.config.variables];
  const answer = patternTensor<tf.Tensor2D>(903, shape).add<tf.Tensor2D>(2);
  const counted = seen(904, shape) as tf.Tensor2D;
  // dropout draws other numbers in every library: loss and gradient are compared without
  const check = tf.tidy(() => {
    const { value, grads } = tf.variableGrads(
      () => huber(model.forward(history, query).state, answer, counted),
      model.variables,
    );
    const squares = Object.values(grads).map((gradient) => gradient.square().sum());
    return [value.dataSync()[0], Math.sqrt(tf.addN(squares).dataSync()[0])];
  });
  const step = trainStep(
    (history: EncoderInput, query: Query, answer: tf.Tensor2D, counted: tf.Tensor2D, key: tf.Tensor1D) =>
      huber(model.forward(history, query, { key }).state, answer, counted),
    adam({ learningRate: 1e-4 }),
    Object.fromEntries(model.weights),
    { xla: way === "xla" },
  );
  let count = 0;
  const call = () => tf.tidy(() => void step(history, query, answer, counted, randomKey(0, ++count)).loss.dataSync());
  const start = performance.now();
  call();
  return { call, perCall: 1, check, firstMs: performance.now() - start, explain: step.explain };
}
