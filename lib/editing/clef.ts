/**
 * CLEF: generates the state of many variables at a chosen time under a chosen condition, in one step, by learned temporal
 * concepts: one ratio per variable that multiplies a base state.
 *
 * Li et al., "Controllable Sequence Editing for Biological and Clinical Trajectories", ICLR 2026, arXiv:2502.03569. Checked
 * against the authors' code (`clef.forward`, `clef.model_forward`, `clef.xlstm_forward`, `clef.loss_and_gradients`). Their
 * documented command trains the twin without concepts (`concept: "none"` here), because the number of concepts is 0 unless it
 * is given; here every variant says what it is ({@link CLEF.describe}).
 *
 * @module
 */
import { constant, countParameters, initialise } from "../nn/mod.ts";
import { random } from "../random.ts";
import { tf, tidy } from "../tensor/mod.ts";
import { type Base, baseState, conceptOf, conditionGate, decayLogits, type Decoder, type Joint } from "./concepts.ts";
import { atLength, type EncoderInput, type EncoderRun, withinLength } from "./encoder.ts";
import { encodeLSTM, type LSTMEncoder, lstmSpec } from "./lstm.ts";
import { encodeMOMENT, type MOMENTEncoder, momentEncoderSpec } from "./moment.ts";
import { checkWeights, dense, join, linearSpec, one, type Specs, type Weights } from "./parameters.ts";
import { type Moments, type TimeEncoding, timeGap, timeSpec } from "./time_embedding.ts";
import { encodeTransformer, type TransformerEncoder, transformerSpec } from "./transformer.ts";
import { type XLSTMEncoder, xlstmSpec, xlstmStack } from "./xlstm.ts";

/** The sequence encoders. */
export type EncoderConfig = TransformerEncoder | XLSTMEncoder | LSTMEncoder | MOMENTEncoder;

/** Mean and standard deviation of each variable over the training set. */
export interface Scaling {
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/** Everything that makes a model the one it is, besides its weights. */
export interface CLEFConfig {
  /** Number of variables: the width of the whole model. */
  readonly variables: number;
  /** Numbers in the embedding of a condition; 0: the model knows no conditions. */
  readonly conditionWidth: number;
  readonly encoder: EncoderConfig;
  /** Records of the longest history (the authors' `ntoken`). */
  readonly records: number;
  /** How time enters. Default: "calendar". */
  readonly time?: TimeEncoding;
  /** How condition and time gap are joined. Default: "shared-twice", as in the code. */
  readonly joint?: Joint;
  /** "learned"; "ones": the base state itself (the authors' SimpleLinear); "none": their model without concepts. */
  readonly concept?: "learned" | "ones" | "none";
  /** One linear layer before the concept's activation (the authors' `apply_ct_proj`). Default: false. */
  readonly feedForward?: boolean;
  /** Let a concept start at 1, "no change", where the authors' starts near 0. Default: false. */
  readonly centred?: boolean;
  /** Default: "mean", as in the code. */
  readonly base?: Base;
  /** Default: "multiplicative". */
  readonly decoder?: Decoder;
  /** Given: the encoder sees z-scores, missing values as the mean. Absent: raw units, as in the code. */
  readonly scaling?: Scaling;
}

/** Where to, and under what. */
export interface Query {
  /** One moment per subject, its tensors [batch, 1, ...]. */
  readonly to: Moments;
  /** [batch, condition width]; zeros stand for "no condition". Absent where the model knows none. */
  readonly condition?: tf.Tensor2D;
}

/** Options of one run. */
export interface ForwardOptions {
  /** Follow the authors' code where it differs: empty records are attended to a little more instead of being hidden. */
  readonly parity?: boolean;
  /** Key of the dropout; absent: none, as in prediction. */
  readonly key?: tf.Tensor1D;
  /** Changes concepts before they are decoded. */
  readonly edit?: (concept: tf.Tensor2D, base: tf.Tensor2D) => tf.Tensor2D;
}

/** What a run gives; each [batch, variables]. */
export interface Generated {
  /** The state at the target, in the units of the data. */
  readonly state: tf.Tensor2D;
  /** The ratios; of a model without concepts, the ratio of its state to the base. */
  readonly concept: tf.Tensor2D;
  /** What they are ratios of. */
  readonly base: tf.Tensor2D;
}

/** Floor of a standard deviation: a variable that never changed is not blown up. */
const SMALLEST_STD = 1e-6;

/**
 * The parameters of a configuration, under the authors' names.
 *
 * @example The authors' setting for MIMIC-IV: 17,632 trainable numbers
 * ```ts
 * import assert from "node:assert/strict";
 * import { published } from "tessera/editing/mod.ts";
 * assert.equal(parameterCount(published.mimic4).trainable, 17_632);
 * assert.equal(parameterCount(published.mimic4).withTimeTables, 48_000);
 * ```
 */
export function parameterCount(config: CLEFConfig): { trainable: number; withTimeTables: number } {
  const trainable = countParameters(clefSpec(config));
  // the authors' class holds the fixed sinusoid and a table of the same size that nothing reads
  return { trainable, withTimeTables: trainable + 2 * config.records * config.variables };
}

/** The parameters of a configuration, before they are made. */
export function clefSpec(config: CLEFConfig): Specs {
  const { variables, conditionWidth, time = "calendar", concept = "learned", base, decoder, joint } = config;
  const square = (name: string) => linearSpec(name, variables, variables);
  return join(
    encoderSpec(config.encoder, variables, time),
    // the projection is there without `feedForward` too, as in the authors' checkpoints
    concept === "none" ? square("seq_decoder") : square("concept_proj"),
    conditionWidth > 0 ? linearSpec("condition_encoder", conditionWidth, variables) : {},
    joint === "sum" ? {} : square("condition_decoder"),
    decoder === "affine" && concept === "learned" ? square("offset_proj") : {},
    ...(base === "ewma" ? ["decay", "horizon"].map((name) => one(`base.${name}`, [variables], constant(0))) : []),
  );
}

function encoderSpec(encoder: EncoderConfig, variables: number, time: TimeEncoding): Specs {
  switch (encoder.kind) {
    case "transformer":
      return transformerSpec(encoder, variables, time);
    case "lstm":
      return lstmSpec(encoder, variables, time);
    case "xlstm":
      return join(
        xlstmSpec("encoder", encoder, variables),
        linearSpec("encoder_proj", variables, variables),
        timeSpec("time_encoder", variables, time),
      );
    case "moment":
      return join(momentEncoderSpec(encoder, variables), timeSpec("time_encoder", variables, time));
  }
}

/** A CLEF model, or its twin without concepts. */
export class CLEF {
  readonly config: CLEFConfig;
  readonly weights: Weights;

  /**
   * A model with given weights, under the authors' names; variables if it shall be trained.
   *
   * @throws {Error | RangeError} Where a weight is missing or has another shape, or a size makes no sense.
   */
  constructor(config: CLEFConfig, weights: Weights) {
    checkConfig(config);
    checkWeights(clefSpec(config), weights);
    this.config = config;
    this.weights = weights;
  }

  /**
   * A new model with the authors' initial distributions.
   *
   * @example
   * ```ts
   * import assert from "node:assert/strict";
   * import { published } from "tessera/editing/mod.ts";
   * const model = CLEF.create(published.eicu, 1);
   * assert.match(model.describe(), /^CLEF, transformer, 18 variables/);
   * model.dispose();
   * ```
   */
  static create(config: CLEFConfig, seed: number): CLEF {
    checkConfig(config);
    const tensors = Object.entries(initialise(clefSpec(config), random(seed, "clef")));
    const weights = tensors.map(([name, tensor]): [string, tf.Variable] => [name, tf.variable(tensor)]);
    for (const [, tensor] of tensors) tensor.dispose();
    return new CLEF(config, new Map(weights));
  }

  /** What this is, in one line. */
  describe(): string {
    const { concept = "learned", base = "mean", decoder = "multiplicative", joint = "shared-twice" } = this.config;
    const { encoder, variables, time = "calendar", feedForward = false, centred = false, scaling } = this.config;
    const units = scaling ? "z-scored" : "raw units";
    if (concept === "ones") return `SimpleLinear: the ${base} of the history, ${variables} variables`;
    const name = concept === "none" ? "without concepts (non-CLEF)" : "CLEF";
    const how = concept === "none"
      ? []
      : [decoder, `base ${base}`, `FFN ${Number(feedForward)}`, ...(centred ? ["centred"] : [])];
    return [name, encoder.kind, `${variables} variables`, units, ...how, `${time} time`, `joint ${joint}`].join(", ");
  }

  /** Number of trained numbers. */
  get parameters(): number {
    return parameterCount(this.config).trainable;
  }

  /**
   * Generates states. Reads nothing back, so that it can be compiled; costs the same at any horizon.
   *
   * @throws {RangeError} Where the history has another number of variables, or the condition another width.
   */
  forward(history: EncoderInput, query: Query, { parity = false, key, edit }: ForwardOptions = {}): Generated {
    this.#check(history, query);
    const { config, weights } = this;
    const { base: kind = "mean", concept: mode = "learned", decoder = "multiplicative", centred = false } = config;
    const { time = "calendar", joint = "shared-twice", feedForward = false, scaling } = config;
    const [batch, records] = history.x.shape;
    return tidy(() => {
      const from = lastMoment(history);
      const hoursToGo = tf.sub<tf.Tensor2D>(query.to.hours, from.hours);
      const counted = history.observed.mul<tf.Tensor3D>(withinLength(batch, records, history.length).expandDims(2));
      const base = baseState(
        history.x,
        counted,
        kind,
        kind === "ewma" ? decayLogits(hoursToGo, weights) : undefined,
      );
      const decode = (concept: tf.Tensor2D, offset?: tf.Tensor2D): Generated => {
        const edited = edit ? edit(concept, base) : concept;
        const state = edited.mul<tf.Tensor2D>(base);
        return { state: offset ? state.add<tf.Tensor2D>(offset) : state, concept: edited, base };
      };
      if (mode === "ones") return decode(tf.onesLike(base));

      const scaled = scaling ? { ...history, x: zScores(history, scaling) } : history;
      const h = encode(scaled, weights, config, { time, records: config.records, parity, ...(key ? { key } : {}) });
      const gap = timeGap(from, query.to, weights, timePrefix(config.encoder), time);
      const gate = conditionGate(gap, config.conditionWidth > 0 ? query.condition : undefined, weights, joint);
      const u = h.mul<tf.Tensor2D>(gate);
      if (mode === "none") {
        const read = dense(u, weights, "seq_decoder");
        const state = scaling ? read.mul(row(stdOf(scaling))).add<tf.Tensor2D>(row(scaling.mean)) : read;
        return { state, concept: tf.div<tf.Tensor2D>(state, base), base };
      }
      const concept = conceptOf(feedForward ? dense(u, weights, "concept_proj") : u, decoder, centred);
      if (decoder !== "affine") return decode(concept);
      const offset = dense(u, weights, "offset_proj");
      return decode(concept, scaling ? offset.mul<tf.Tensor2D>(row(stdOf(scaling))) : offset);
    });
  }

  /** The trained variables, for an optimiser; of given weights only those that are variables. */
  get variables(): tf.Variable[] {
    return [...this.weights.values()].filter((weight): weight is tf.Variable => weight instanceof tf.Variable);
  }

  /** Frees the weights. */
  dispose(): void {
    for (const weight of this.weights.values()) weight.dispose();
  }

  #check({ x, observed }: EncoderInput, { condition, to }: Query): void {
    const { variables, conditionWidth } = this.config;
    const [batch, records] = x.shape;
    if (x.rank !== 3 || x.shape[2] !== variables || records === 0) {
      throw new RangeError(
        `a history must be [batch, records, ${variables}] with at least one record, but it is [${x.shape}]; ` +
          `the model was made for ${variables} variables`,
      );
    }
    if (observed.shape.join() !== x.shape.join()) {
      throw new RangeError(`observed must have the history's shape [${x.shape}], but it is [${observed.shape}]`);
    }
    if (to.hours.shape.join() !== `${batch},1`) {
      throw new RangeError(`there must be one target per subject, [${batch}, 1], but they are [${to.hours.shape}]`);
    }
    if (conditionWidth > 0 && condition?.shape.join() !== `${batch},${conditionWidth}`) {
      throw new RangeError(
        `the condition must be [${batch}, ${conditionWidth}], but it is ${
          condition ? `[${condition.shape}]` : "absent"
        }; ` +
          "for no condition pass zeros",
      );
    }
  }
}

function encode(input: EncoderInput, weights: Weights, { encoder }: CLEFConfig, run: EncoderRun): tf.Tensor2D {
  switch (encoder.kind) {
    case "transformer":
      return encodeTransformer(input, weights, encoder, run);
    case "lstm":
      return encodeLSTM(input, weights, run);
    case "moment":
      return encodeMOMENT(input, weights, encoder);
    case "xlstm":
      return tidy(() => {
        const [batch, records] = input.x.shape;
        const stack = xlstmStack(input.x, weights, "encoder", encoder);
        const within = withinLength(batch, records, input.length).expandDims(2);
        const mean = stack.mul(within).sum(1).div<tf.Tensor2D>(within.sum(1));
        return dense(mean, weights, "encoder_proj");
      });
  }
}

/** When each history ends, [batch, 1]. */
function lastMoment({ calendar, hours, length }: EncoderInput): Moments {
  const fields = atLength(calendar.cast("float32") as tf.Tensor3D, length).cast("int32");
  return {
    calendar: fields.expandDims(1) as tf.Tensor3D,
    hours: atLength(hours.expandDims(2) as tf.Tensor3D, length),
  };
}

/** Values in standard deviations from the training mean; a missing one stands at the mean. */
function zScores({ x, observed }: EncoderInput, scaling: Scaling): tf.Tensor3D {
  return tf.sub(x, row(scaling.mean)).div(row(stdOf(scaling))).mul<tf.Tensor3D>(observed);
}

const timePrefix = ({ kind }: EncoderConfig) =>
  kind === "transformer" || kind === "lstm" ? "encoder.pos_encoder" : "time_encoder";
const stdOf = ({ std }: Scaling) => std.map((value) => Math.max(value, SMALLEST_STD));
const row = (values: readonly number[]) => tf.tensor2d([[...values]]);

function checkConfig(config: CLEFConfig): void {
  const { variables, conditionWidth, records, encoder, scaling, concept = "learned" } = config;
  const whole = (name: string, value: number, least: number) => {
    if (!Number.isInteger(value) || value < least) {
      throw new RangeError(`${name} must be a whole number from ${least}, but it is ${value}`);
    }
  };
  whole("variables", variables, 1);
  whole("conditionWidth", conditionWidth, 0);
  whole("records", records, 1);
  if ((encoder.kind === "transformer" || encoder.kind === "xlstm") && concept !== "ones") {
    whole("heads", encoder.heads, 1);
    if (variables % encoder.heads) {
      throw new RangeError(
        `heads must divide the ${variables} variables, but there are ${encoder.heads}; choose a divisor of ${variables}`,
      );
    }
  }
  for (const [name, values] of Object.entries(scaling ?? {}) as [string, readonly number[]][]) {
    if (values.length !== variables) {
      throw new RangeError(
        `scaling.${name} must hold ${variables} numbers, one per variable, but it holds ${values.length}`,
      );
    }
  }
}
