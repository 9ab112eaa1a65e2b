/**
 * What a run has given so far: the numbers of each step and epoch, and the curve of the loss.
 *
 * @module
 */
import type { NumericArray } from "../data/mod.ts";
import { type Curve, curves, type Figure } from "../plot/mod.ts";
import { tf, tidy } from "../tensor/mod.ts";
import type { StepResult } from "./step.ts";

/** What `validate` gave after an epoch. */
export interface Validation {
  /** From 1. */
  readonly epoch: number;
  /** Updates made until then. */
  readonly step: number;
  readonly values: Readonly<Record<string, number>>;
}

/** What a checkpoint holds of it, beside the numbers of the steps. */
export interface HistoryRecord {
  readonly epochs: number;
  readonly steps: number;
  readonly validation: readonly Validation[];
}

/** The numbers of a run. Those of the last steps may still lie on the device, until {@link History.flush}. */
export class History {
  /** By name, one number per step. */
  readonly values: Record<string, number[]> = {};
  readonly validation: Validation[] = [];
  /** Epochs that have ended. */
  epochs = 0;
  /** Steps made. */
  steps = 0;
  #waiting: Record<string, tf.Tensor>[] = [];

  /** What {@link History.record} and {@link History.values} gave. */
  static from(record: HistoryRecord, values: ReadonlyMap<string, NumericArray>): History {
    const history = new History();
    Object.assign(history, { epochs: record.epochs, steps: record.steps });
    history.validation.push(...record.validation);
    for (const [name, { data }] of values) history.values[name] = Array.from(data, Number);
    return history;
  }

  /** Steps whose numbers lie on the device. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Takes what a step gave; scalars are remembered, the rest is disposed of. */
  add(result: StepResult): void {
    const scalars: Record<string, tf.Tensor> = {};
    for (const [name, tensor] of Object.entries(result)) {
      if (tensor?.size === 1) scalars[name] = tf.keep(tensor);
      else tensor?.dispose();
    }
    this.#waiting.push(scalars);
    this.steps++;
  }

  /**
   * Reads all numbers back.
   *
   * @throws {Error} If a loss is no number.
   */
  async flush(): Promise<void> {
    const waiting = this.#waiting;
    if (waiting.length === 0) return;
    this.#waiting = [];
    const first = this.steps - waiting.length;
    for (const name of Object.keys(waiting[0])) {
      const stacked = tidy(() => tf.stack(waiting.map((scalars) => scalars[name].reshape([]).cast("float32"))));
      (this.values[name] ??= []).push(...await stacked.data());
      stacked.dispose();
    }
    tf.dispose(waiting);
    const bad = this.values.loss.findIndex((loss, i) => i >= first && !Number.isFinite(loss));
    if (bad >= 0) {
      throw new Error(
        `the loss of step ${bad + 1} is ${
          this.values.loss[bad]
        }; a lower learning rate or a clip may help, or an input ` +
          "is no number",
      );
    }
  }

  /** Ends an epoch. */
  close(validation: Validation): void {
    this.epochs = validation.epoch;
    if (Object.keys(validation.values).length > 0) this.validation.push(validation);
  }

  /** For a checkpoint. */
  record(): HistoryRecord {
    return { epochs: this.epochs, steps: this.steps, validation: this.validation };
  }

  /** The last numbers in one line. */
  lastLine(): string {
    return [this.lastLoss(), this.lastValidation()].filter((text) => text !== "").join("; ");
  }

  /** The loss, as the mean of the last steps; one step's alone says little. */
  lastLoss(): string {
    const recent = (this.values.loss ?? []).slice(-20);
    const mean = recent.reduce((sum, value) => sum + value, 0) / recent.length;
    return recent.length ? `loss ${mean.toPrecision(4)}` : "";
  }

  /** What `validate` gave last; the first few numbers. */
  lastValidation(): string {
    const values = Object.entries(this.validation.at(-1)?.values ?? {}).slice(0, 4);
    const texts = values.map(([name, value]) => `${name} ${value.toPrecision(4)}`);
    return texts.length ? `validation: ${texts.join(", ")}` : "";
  }
}

/** More points than this are drawn as means of neighbours. */
const MOST_POINTS = 400;

/**
 * The curve of the loss, and of the validation's loss where there is one.
 *
 * @param perEpoch Steps in an epoch.
 * @param progress Steps of the whole run, which is as far as the axis goes, and a word on where it stands.
 */
export function lossCurve(
  history: History,
  perEpoch: number,
  { total = history.steps, note = "" }: { total?: number; note?: string } = {},
): Figure {
  const { loss = [] } = history.values;
  const window = Math.max(1, Math.ceil(loss.length / MOST_POINTS));
  const x: number[] = [];
  const y: number[] = [];
  for (let from = 0; from < loss.length; from += window) {
    const some = loss.slice(from, from + window);
    x.push((from + some.length) / perEpoch);
    y.push(some.reduce((sum, value) => sum + value, 0) / some.length);
  }
  const series: Curve[] = [{ name: "training", x: x.length ? x : [0], y: y.length ? y : [NaN] }];
  const validated = history.validation.filter(({ values }) => typeof values.loss === "number");
  if (validated.length > 0) {
    const [epochs, losses] = [validated.map(({ epoch }) => epoch), validated.map(({ values }) => values.loss)];
    series.push({ name: "validation", x: epochs, y: losses, dash: true });
  }
  const status = [`step ${history.steps} of ${total}`, history.lastLoss(), note].filter((text) => text !== "");
  const validation = history.lastValidation();
  const title = status.join(", ") + (validation && `<br><span style="font-size:12px">${validation}</span>`);
  return curves(series, { title, x: "epoch", y: "loss", xRange: [0, 1.02 * total / perEpoch] });
}
