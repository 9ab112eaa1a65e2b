/**
 * Asking a TinyVLM questions under a reducer: how often it is right, and whether what it needed was still there.
 *
 * @module
 */
import type { GridQuestions } from "tessera/data/mod.ts";
import { membership, type Reducer } from "tessera/nn/mod.ts";
import { type Interval, proportionInterval } from "tessera/stats.ts";
import { tick } from "tessera/stop.ts";
import { backend, compile, randomKey, tf, tidy } from "tessera/tensor/mod.ts";
import type { TinyVLM, TinyVLMOptions } from "./models/tiny_vlm.ts";

/** Options of an evaluation. */
export interface AskOptions {
  /** Removes image tokens inside the model. Default: none. */
  readonly reducer?: Reducer;
  /** As of the model. Default: "original". */
  readonly positions?: TinyVLMOptions["positions"];
  /** Seed of the random numbers that a reducer asks for. Default: 1. */
  readonly seed?: number;
  /** Questions at a time. Default: 256. */
  readonly batch?: number;
  /** Whether to compile model and reducer into one function. Default: false. */
  readonly compiled?: boolean;
}

/** Something about each kind of question. */
export type ByKind<T> = Readonly<Record<"colour" | "half" | "twin", T>>;

/** What came out. */
export interface Asked {
  /** Share of right answers to questions for the colour, for the half of the image, and for the twin. */
  readonly accuracy: ByKind<number>;
  /** 95 % Wilson intervals of them, as samples of questions. */
  readonly interval: ByKind<Interval>;
  /** Share of the cells that the answers need that are in some token before the last block. */
  readonly recall: number;
  /** Mean row of the cells that are in some token before the last block: 3.5 where none is preferred. */
  readonly meanRow: number;
  readonly questions: number;
  /** For each question 1 where the answer was right, else 0; for paired comparisons. */
  readonly right: Uint8Array;
  /** Image tokens in the last block. */
  readonly tokens: number;
  /** Multiply-accumulates of one question. */
  readonly macs: number;
  readonly seed: number;
  readonly backend: string;
}

/** Images and questions as tensors. */
export interface QuestionTensors {
  /** [images, cells, channels] */
  readonly features: tf.Tensor3D;
  /** int32 [images, questions, words] */
  readonly text: tf.Tensor3D;
  /** int32 [images, questions] */
  readonly answer: tf.Tensor2D;
  /** [images, words] */
  readonly shown: tf.Tensor2D;
}

/** All questions to all images. */
export function questionTensors(set: GridQuestions): QuestionTensors {
  const { images, grid, channels, questions, questionLength, words } = set;
  return {
    features: tf.tensor3d(set.features, [images, grid[0] * grid[1], channels]),
    text: tf.tensor3d(set.text, [images, questions, questionLength], "int32"),
    answer: tf.tensor2d(set.answer, [images, questions], "int32"),
    shown: tf.tensor2d(Float32Array.from(set.shown), [images, words.length]),
  };
}

/**
 * Asks every question by itself, since a reducer may look at it. Can be stopped; lets the notebook breathe.
 *
 * @param set Images with their questions.
 */
export async function ask(model: TinyVLM, set: GridQuestions, options: AskOptions = {}): Promise<Asked> {
  const { reducer, positions, seed = 1, batch = 256, compiled = false } = options;
  const { grid, channels, questions, questionLength, kind, answer, needed } = set;
  const cells = grid[0] * grid[1], count = set.images * questions, perQuestion = needed.length / count;
  const run = (features: tf.Tensor3D, text: tf.Tensor3D, key: tf.Tensor1D) => {
    const output = model.forward(features, text, { key, positions, ...(reducer ? { reducer } : {}) });
    const inSome = membership(model.composed(output)).sum<tf.Tensor2D>(1); // [batch, cells]
    return [
      output.logits.argMax(2).reshape([text.shape[0]]),
      tf.greater(inSome, tf.scalar(1e-6)).cast("float32"),
    ] as const;
  };
  const called = compiled ? compile(run, { xla: false }) : run;
  const right = new Uint8Array(count);
  let found = 0, wanted = 0, rows = 0, there = 0;
  for (let start = 0; start < count; start += batch) {
    await tick();
    const size = Math.min(batch, count - start);
    const perImage = cells * channels;
    const features = new Float32Array(size * perImage);
    for (let i = 0; i < size; i++) {
      const image = Math.floor((start + i) / questions);
      features.set(set.features.subarray(image * perImage, (image + 1) * perImage), i * perImage);
    }
    const text = set.text.subarray(start * questionLength, (start + size) * questionLength);
    const [said, inSome] = tidy(() =>
      called(
        tf.tensor3d(features, [size, cells, channels]),
        tf.tensor3d(text, [size, 1, questionLength], "int32"),
        randomKey(seed, start),
      )
    );
    const [words, kept] = [said.dataSync(), inSome.dataSync()];
    tf.dispose([said, inSome]);
    for (let i = 0; i < size; i++) {
      const question = start + i;
      right[question] = Number(words[i] === answer[question]);
      for (const cell of needed.subarray(question * perQuestion, (question + 1) * perQuestion)) {
        if (cell < 0) continue;
        found += kept[i * cells + cell];
        wanted++;
      }
      for (let cell = 0; cell < cells; cell++) {
        there += kept[i * cells + cell];
        rows += kept[i * cells + cell] * Math.floor(cell / grid[1]);
      }
    }
  }
  if (compiled) (called as ReturnType<typeof compile>).dispose();
  const hits = [0, 0, 0], asked = [0, 0, 0];
  right.forEach((one, question) => {
    hits[kind[question]] += one;
    asked[kind[question]]++;
  });
  return {
    accuracy: byKind((k) => hits[k] / asked[k]),
    interval: byKind((k) => proportionInterval(hits[k], asked[k])),
    recall: found / wanted,
    meanRow: there ? rows / there : NaN,
    questions: count,
    right,
    tokens: model.tokenCounts(reducer).at(-1)!,
    macs: model.macs(reducer, questionLength),
    seed,
    backend: `${backend}`,
  };
}

function byKind<T>(of: (kind: number) => T): ByKind<T> {
  return { colour: of(0), half: of(1), twin: of(2) };
}
