/**
 * ETHOS: a patient is a timeline of tokens, of codes, of the time between events and of numbers as deciles; a GPT learns to
 * go on with it. Nothing is classified: the model samples futures, and the share of futures in which an outcome's token
 * occurs is the probability of the outcome.
 *
 * Renc et al., "Zero shot health trajectory prediction using transformer", npj Digital Medicine 7:256, 2024,
 * arXiv:2407.21124. Checked against the authors' code (tests/golden, `ethos.*`). Their loss leaves out the first places, but
 * divides by all (`parity: true`); a gap of many half-years gives one token there and here.
 *
 * Here a patient's outcomes stand at the end of the timeline, one token for each that happened, then its end.
 *
 * Sizes are the caller's; the paper's: 6 layers, 12 heads, width 768, 2,048 tokens.
 *
 * @module
 */
import {
  attention,
  block,
  blockLayer,
  type Described,
  dropout,
  embeddingLayer,
  initialise,
  layerNorm,
  linear,
  mlp,
  normal,
  normLayer,
  parameter,
  trainable,
} from "../../../lib/nn/mod.ts";
import { random } from "../../../lib/random.ts";
import { quantiles } from "../../../lib/stats.ts";
import { tick } from "../../../lib/stop.ts";
import { compile, foldIn, randomKey, randomUniform, tf, tidy } from "../../../lib/tensor/mod.ts";
import { codeInputLayers, type CodeInputParameters, type CodeVectors } from "../code_input.ts";
import { disposeParameters, type EHRModel, maskedCrossEntropy } from "../model.ts";
import type { Records } from "../records.ts";
import { rowsOf } from "./behrt.ts";

const DAY = 24 * 60, MONTH = 30 * DAY;

/** Tokens of time: the name, and from how many minutes on. Shorter gaps have none. */
export const intervals: readonly (readonly [string, number])[] = [
  ["_5m-15m", 5],
  ["_15m-1h", 15],
  ["_1h-2h", 60],
  ["_2h-6h", 120],
  ["_6h-12h", 360],
  ["_12h-1d", 720],
  ["_1d-3d", DAY],
  ["_3d-1w", 3 * DAY],
  ["_1w-2w", 7 * DAY],
  ["_2w-1mt", 14 * DAY],
  ["_1mt-3mt", MONTH],
  ["_3mt-6mt", 3 * MONTH],
  ["_=6mt", 6 * MONTH],
];

/** The end of a timeline. */
export const TIMELINE_END = "_TIMELINE_END";

/** The token of a gap, by its place in {@link intervals}; undefined below five minutes. */
export function intervalOf(minutes: number): number | undefined {
  const place = intervals.findLastIndex(([, from]) => minutes >= from);
  return place === -1 ? undefined : place;
}

/** An event with its time. */
export interface TimedToken {
  readonly name: string;
  /** In minutes. */
  readonly time: number;
}

/**
 * Events with tokens of the time between them, and the end. A token of time lies half its length after the event before it.
 */
export function withIntervals(events: readonly TimedToken[]): TimedToken[] {
  const timeline = events.flatMap((event, i): TimedToken[] => {
    const before = events[i - 1];
    const place = before && intervalOf(event.time - before.time);
    if (place === undefined) return [event];
    const [name, from] = intervals[place];
    const next = intervals[place + 1]?.[1];
    const length = next === undefined ? from : (next - from) / 2;
    return [{ name, time: before.time + length }, event];
  });
  return [...timeline, { name: TIMELINE_END, time: events.at(-1)?.time ?? 0 }];
}

/** The token of an age, in bands of five years. */
export function ageToken(years: number): string {
  if (years < 5) return "_<5";
  if (years >= 100) return "_>100";
  const from = Math.floor(years / 5) * 5;
  return `_${from}-${from + 5}y`;
}

/** All tokens of ages. */
export const ageTokens: readonly string[] = Array.from({ length: 21 }, (_, i) => ageToken(5 * i));

/** Edges of the deciles of some numbers; equal edges are one, so that there may be fewer than ten classes. */
export function decileEdges(values: ArrayLike<number>): number[] {
  return [...new Set(quantiles(values, Array.from({ length: 11 }, (_, i) => i / 10)))];
}

/** The class of a number, from 0: intervals are closed above; what lies outside belongs to the first or the last. */
export function decileOf(value: number, edges: readonly number[]): number {
  const place = edges.findIndex((edge) => value <= edge);
  return Math.min(Math.max(place === -1 ? edges.length - 2 : place - 1, 0), Math.max(0, edges.length - 2));
}

/** Sizes, and what can be switched off. */
export interface ETHOSConfig {
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly mlpWidth: number;
  readonly positions: number;
  readonly dropout: number;
  /** Futures sampled per patient. The paper's: 5. */
  readonly futures: number;
  /** Tokens of the time between visits. Default: true. */
  readonly intervals?: boolean;
  /** Tokens of the length of a stay, as deciles. Default: true. */
  readonly deciles?: boolean;
}

/** Describes ETHOS without its tokens. */
export function ethosLayers({ width, layers, mlpWidth, positions }: ETHOSConfig) {
  return {
    position: embeddingLayer(positions, width, normal(0.02)),
    blocks: Array.from({ length: layers }, () => blockLayer(width, mlpWidth)),
    norm: normLayer(width),
  };
}

/** Parameters that {@link ethosLayers} describes. */
export type ETHOSParameters = Described<ReturnType<typeof ethosLayers>>;

/**
 * States from which the next token is read; tied logits are `linear(states, { weight: table })`.
 *
 * @param words [batch, tokens, width]
 */
export function ethosStates(
  words: tf.Tensor3D,
  { position, blocks, norm }: ETHOSParameters,
  { heads, dropout: rate }: Pick<ETHOSConfig, "heads" | "dropout">,
  key?: tf.Tensor1D,
): tf.Tensor3D {
  return tidy(() => {
    const places = position.weight.slice([0, 0], [words.shape[1], -1]);
    let x = dropout(words.add<tf.Tensor3D>(places.expandDims(0)), rate, key && foldIn(key, 0));
    blocks.forEach((each, i) => {
      x = block(x, each, { heads, causal: true, dropout: rate, key: key && foldIn(key, i + 1) }).x;
    });
    return layerNorm(x, norm);
  });
}

/**
 * Mean cross-entropy of the next tokens.
 *
 * @param targets int32 [batch, tokens]; negative: not counted.
 * @param context So many places at the start do not count.
 * @param parity As the authors' code: they do not count, but the mean is over all places.
 */
export function nextTokenLoss(
  logits: tf.Tensor3D,
  targets: tf.Tensor2D,
  { context = 0, parity = false }: { readonly context?: number; readonly parity?: boolean } = {},
): tf.Scalar {
  return tidy(() => {
    const [batch, tokens] = targets.shape;
    const skipped = tf.less(tf.range(0, tokens, 1, "int32"), tf.scalar(context, "int32")).expandDims(0).tile([
      batch,
      1,
    ]);
    const counted = tf.where(skipped, tf.fill([batch, tokens], -1, "int32"), targets).toInt();
    const mean = maskedCrossEntropy(logits, counted);
    return parity ? mean.mul((tokens - context) / tokens) : mean;
  });
}

/** Timelines as numbers. */
export interface TimelineBatch {
  /** int32 [batch, tokens] */
  readonly tokens: tf.Tensor2D;
  /** int32 [batch, tokens]: the next ones; -1 behind the end. */
  readonly targets: tf.Tensor2D;
}

/** The vocabulary: codes' ids first, then what only ETHOS has. */
export class Timelines {
  readonly names: readonly string[];
  readonly #first: number;
  readonly #place: ReadonlyMap<string, number>;
  readonly #edges: readonly number[];
  readonly config: ETHOSConfig;

  /** @param training Deciles are made from these. */
  constructor(vectors: CodeVectors, training: Records, config: ETHOSConfig) {
    const stays = Array.from({ length: training.count }, (_, row) => training.patient(row)).flatMap(({ visits }) =>
      visits.flatMap(({ start, end }) => end === null ? [] : [end - start])
    );
    this.#edges = stays.length ? decileEdges(stays) : [0, 1];
    this.names = [
      ...intervals.map(([name]) => name),
      TIMELINE_END,
      "_VISIT",
      ...["unknown", ...training.sexes].map((sex) => `_SEX_${sex}`),
      ...ageTokens,
      ...Array.from({ length: 10 }, (_, i) => `_Q${i + 1}`),
      ...training.labelNames.map((label) => `_OUTCOME_${label}`),
    ];
    this.#first = vectors.count;
    this.#place = new Map(this.names.map((name, i) => [name, i]));
    this.config = config;
  }

  /** The id of a token that is no code. */
  id(name: string): number {
    const place = this.#place.get(name);
    if (place === undefined) throw new RangeError(`there is no token ${name}; there are ${this.names.join(", ")}`);
    return this.#first + place;
  }

  /** A patient's history; what is to be foretold comes behind it. */
  history(records: Records, row: number): number[] {
    const patient = records.patient(row);
    const codes = records.codesOf(row);
    const { deciles = true, intervals: withTime = true } = this.config;
    const years = patient.born === null ? undefined : (patient.visits[0].start - patient.born) / (365.25 * 24);
    const sex = records.sexes.includes(patient.sex) ? patient.sex : "unknown";
    const ids = [this.id(`_SEX_${sex}`), ...(years === undefined ? [] : [this.id(ageToken(years))])];
    patient.visits.forEach(({ start, end }, v) => {
      const before = patient.visits[v - 1];
      const gap = before && intervalOf((start - (before.end ?? before.start)) * 60);
      if (withTime && gap !== undefined) ids.push(this.id(intervals[gap][0]));
      ids.push(this.id("_VISIT"), ...codes[v]);
      if (deciles && end !== null) ids.push(this.id(`_Q${1 + decileOf(end - start, this.#edges)}`));
    });
    return ids;
  }

  /** What happened to the patient, and the end. */
  future(records: Records, row: number): number[] {
    const labels = records.labelsOf(row);
    const happened = records.labelNames.flatMap((name, i) => labels[i] ? [this.id(`_OUTCOME_${name}`)] : []);
    return [...happened, this.id(TIMELINE_END)];
  }
}

/** ETHOS on health records. `training` are the records that deciles are made from. */
export function ethos(
  vectors: CodeVectors,
  training: Records,
  config: ETHOSConfig,
  seed: number,
): EHRModel<TimelineBatch> {
  const timelines = new Timelines(vectors, training, config);
  const described = {
    codes: codeInputLayers(vectors.input, config.width),
    special: parameter<tf.Rank.R2>([timelines.names.length, config.width], normal(config.width ** -0.5)),
    ...ethosLayers(config),
  };
  const parameters = trainable(initialise(described, random(seed, "ethos"))) as Described<typeof described>;
  const tableOf = () =>
    tf.concat([vectors.table(parameters.codes as CodeInputParameters), parameters.special], 0) as tf.Tensor2D;
  const { positions, heads } = config;

  const batch = (records: Records, rows: readonly number[]): TimelineBatch => {
    const tokens = new Int32Array(rows.length * positions), targets = new Int32Array(rows.length * positions).fill(-1);
    rows.forEach((row, b) => {
      const history = timelines.history(records, row), future = timelines.future(records, row);
      // a history that is too long loses its beginning
      const whole = [...history.slice(Math.max(0, history.length + future.length - 1 - positions)), ...future];
      whole.slice(0, -1).forEach((id, i) => {
        tokens[b * positions + i] = id;
        targets[b * positions + i] = whole[i + 1];
      });
    });
    const shape: [number, number] = [rows.length, positions];
    return { tokens: tf.tensor2d(tokens, shape, "int32"), targets: tf.tensor2d(targets, shape, "int32") };
  };

  // histories stand at the right: the last token of each is in the last place
  const read = compile((tokens: tf.Tensor2D, place: tf.Tensor2D, mask: tf.Tensor2D) => {
    const table = tableOf();
    let x = rowsOf(table, tokens).add<tf.Tensor3D>(rowsOf(parameters.position.weight, place));
    const states = parameters.blocks.map((each) => {
      const normed = layerNorm(x, each.norm1);
      x = x.add<tf.Tensor3D>(attention(normed, each.attn, { heads, causal: true, mask }).x);
      x = x.add(mlp(layerNorm(x, each.norm2), each.mlp));
      return normed; // keys and values are made from it again: what one step needs of the past
    });
    const last = layerNorm(x.slice([0, positions - 1, 0], [-1, 1, -1]), parameters.norm);
    return { states, logits: linear(last, { weight: table }).squeeze<tf.Tensor2D>([1]) };
  }, { xla: false });
  const goOn = compile((tokens: tf.Tensor2D, place: tf.Tensor2D, mask: tf.Tensor2D, past: tf.Tensor3D[]) => {
    const table = tableOf();
    let x = rowsOf(table, tokens).add<tf.Tensor3D>(rowsOf(parameters.position.weight, place));
    const states = parameters.blocks.map((each, i) => {
      const normed = layerNorm(x, each.norm1);
      const context = tf.concat([past[i], normed], 1) as tf.Tensor3D;
      x = x.add<tf.Tensor3D>(attention(normed, each.attn, { heads, context, mask }).x);
      x = x.add(mlp(layerNorm(x, each.norm2), each.mlp));
      return context;
    });
    return { states, logits: linear(layerNorm(x, parameters.norm), { weight: table }).squeeze<tf.Tensor2D>([1]) };
  }, { xla: false, maxTraces: 64 });

  const predict = async (records: Records, rows: readonly number[], predictSeed: number): Promise<number[][]> => {
    const outcomes = records.labelNames.map((name) => timelines.id(`_OUTCOME_${name}`));
    const end = timelines.id(TIMELINE_END);
    const { futures } = config;
    const result: number[][] = [];
    const most = outcomes.length + 1;
    for (let from = 0; from < rows.length; from += CHUNK) {
      const part = rows.slice(from, from + CHUNK);
      const tokens = new Int32Array(part.length * positions), place = new Int32Array(part.length * positions);
      const mask = new Float32Array(part.length * positions);
      part.forEach((row, b) => {
        const history = timelines.history(records, row).slice(-(positions - most));
        history.forEach((id, i) => {
          const at = b * positions + positions - history.length + i;
          [tokens[at], place[at], mask[at]] = [id, i, 1];
        });
      });
      const lengths = part.map((_, b) =>
        mask.subarray(b * positions, (b + 1) * positions).reduce((sum, one) => sum + one, 0)
      );
      const shape: [number, number] = [part.length, positions];
      const inputs = [
        tf.tensor2d(tokens, shape, "int32"),
        tf.tensor2d(place, shape, "int32"),
        tf.tensor2d(mask, shape),
      ] as const;
      const first = read(...inputs);
      const many = <T extends tf.Tensor>(x: T) =>
        tf.tile(x.expandDims(1), [1, futures, ...x.shape.slice(1).map(() => 1)])
          .reshape([part.length * futures, ...x.shape.slice(1)]) as T;
      let { logits, states, seen } = tidy(() => ({
        logits: many(first.logits),
        states: first.states.map(many),
        seen: many(inputs[2]),
      }));
      tf.dispose([...inputs, first.logits, ...first.states]);
      const happened = part.map(() => new Float64Array(outcomes.length));
      const isOver = new Uint8Array(part.length * futures);
      const counted = new Uint8Array(part.length * futures * outcomes.length);
      for (let step = 0; step < most && isOver.includes(0); step++) {
        const drawn = tidy(() => {
          const uniform = randomUniform(randomKey(predictSeed, from, step), logits.shape);
          // the largest of logits with Gumbel noise is a draw from their softmax
          return logits.sub(tf.log(tf.log(tf.maximum(uniform, 1e-20)).neg())).argMax(1).toInt().dataSync();
        });
        drawn.forEach((id, i) => {
          const patient = Math.floor(i / futures), outcome = outcomes.indexOf(id);
          if (!isOver[i] && outcome !== -1 && !counted[i * outcomes.length + outcome]) {
            counted[i * outcomes.length + outcome] = 1;
            happened[patient][outcome] += 1 / futures;
          }
          if (id === end) isOver[i] = 1;
        });
        const next = [
          tf.tensor2d(drawn, [drawn.length, 1], "int32"),
          tf.tensor2d(
            Int32Array.from(drawn, (_, i) => Math.min(positions - 1, lengths[Math.floor(i / futures)] + step)),
            [
              drawn.length,
              1,
            ],
            "int32",
          ),
        ] as const;
        const wider = tf.concat([seen, tf.ones([drawn.length, 1])], 1) as tf.Tensor2D;
        const result = goOn(next[0], next[1], wider, states);
        tf.dispose([...next, logits, ...states, seen]);
        [logits, states, seen] = [result.logits, result.states, wider];
        await tick();
      }
      tf.dispose([logits, ...states, seen]);
      result.push(...happened.map((row) => Array.from(row)));
    }
    return result;
  };
  return {
    name: "ETHOS",
    parameters,
    stages: [{
      name: "go on with timelines",
      loss: ({ tokens, targets }, key) =>
        tidy(() => {
          const table = tableOf();
          const states = ethosStates(rowsOf(table, tokens), parameters, config, key);
          return nextTokenLoss(linear(states, { weight: table }), targets);
        }),
    }],
    batch,
    predict,
    dispose: () => {
      read.dispose();
      goOn.dispose();
      disposeParameters(parameters);
    },
  };
}

/** Patients whose futures are sampled together. */
const CHUNK = 100;
