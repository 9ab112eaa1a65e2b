/**
 * What is declared in one segment and needed two segments later, through summary tokens alone.
 *
 * Two segments declare variables, pairs of a name and a thing; the third asks for those of the first. Between segments stand
 * summary tokens: those behind the first look at it; the second segment looks at them and at itself; those behind the second
 * look at it and at the first ones; questions look at the last ones and at themselves. So what is asked for has passed two
 * summaries. One set of weights learns all numbers of summary tokens together.
 *
 * Chevalier et al., "Adapting Language Models to Compress Contexts" (AutoCompressors), EMNLP 2023, arXiv:2305.14788,
 * section 3.
 *
 * @module
 */
import {
  type Described,
  embedding,
  embeddingLayer,
  initialise,
  Llama,
  type LlamaConfig,
  normal,
  trainable,
} from "tessera/nn/mod.ts";
import { type Random, random } from "tessera/random.ts";
import { tf, tidy } from "tessera/tensor/mod.ts";
import { adamW, cosineRate, onlyMatrices, trainStep } from "tessera/train/mod.ts";

/** Names and things that there are, and most summary tokens of a segment. */
export const NAMES = 12, THINGS = 12, MOST = 8;
const FIRST_SUMMARY = NAMES + THINGS;

/** Numbers of summary tokens that are trained; 0: everything is looked at. */
export const TRAINED = [0, 1, 2, 4, 8] as const;
/** How a question is asked: with so many summary tokens, blindly (they have seen nothing), or of a text without its first segment. */
export interface Asking {
  readonly summaries: number;
  readonly blind?: boolean;
  readonly cut?: boolean;
}

/** Its sizes. */
export const config: LlamaConfig = {
  vocabulary: FIRST_SUMMARY + MOST,
  width: 64,
  depth: 3,
  heads: 4,
  mlpWidth: 172,
  context: 64,
};

/** A Llama whose things know, at the start, the name before them. */
export interface Reader {
  readonly model: Llama;
  readonly before: Described<ReturnType<typeof embeddingLayer>>;
}

/** A new reader. */
export function newReader(seed: number): Reader {
  const start = Llama.create(
    config,
    random(seed, "weights"),
    (name, shape) => shape.length < 2 ? undefined : normal(name.startsWith("embed") ? 0.3 : shape[1] ** -0.5),
  );
  return {
    model: new Llama(config, trainable(start.weights)),
    before: trainable(initialise(embeddingLayer(config.vocabulary, config.width, normal(0.3)), random(seed, "before"))),
  };
}

/** Texts of three segments. */
export interface Texts {
  /** Pairs of the first segment, of the second, and the names that are asked: [texts][2 variables], twice, [texts][variables]. */
  readonly first: number[][];
  readonly second: number[][];
  readonly asked: number[][];
  /** [texts][variables] */
  readonly answers: number[][];
}

/** Draws texts. No name is declared twice. */
export function textsOf(count: number, variables: number, draw: Random): Texts {
  const made = Array.from({ length: count }, () => {
    const names = [...draw.permutation(NAMES)].slice(0, 2 * variables);
    const things = names.map(() => NAMES + draw.integer(THINGS));
    const order = [...draw.permutation(variables)];
    const pairs = names.flatMap((name, i) => [name, things[i]]);
    return {
      first: pairs.slice(0, 2 * variables),
      second: pairs.slice(2 * variables),
      asked: order.map((i) => names[i]),
      answers: order.map((i) => things[i]),
    };
  });
  return {
    first: made.map(({ first }) => first),
    second: made.map(({ second }) => second),
    asked: made.map(({ asked }) => asked),
    answers: made.map(({ answers }) => answers),
  };
}

/** Texts as rows of tokens, with `summaries` behind each of the first two segments. */
export function rowsOf({ first, second, asked }: Texts, summaries: number): number[][] {
  const between = Array.from({ length: summaries }, (_, i) => FIRST_SUMMARY + i);
  return first.map((row, i) => [...row, ...between, ...second[i], ...between, ...asked[i]]);
}

/** Which segment each token of a row belongs to: "first", "s1", "second", "s2", "asked". */
function parts(variables: number, summaries: number): string[] {
  const of = (name: string, count: number) => new Array<string>(count).fill(name);
  return [
    ...of("first", 2 * variables),
    ...of("s1", summaries),
    ...of("second", 2 * variables),
    ...of("s2", summaries),
    ...of("asked", variables),
  ];
}

/** Who looks at whom: [tokens][tokens]. */
export function maskOf(variables: number, { summaries, blind = false, cut = false }: Asking): number[][] {
  const part = parts(variables, summaries);
  return part.map((own, row) =>
    part.map((other, column) => {
      if (column > row) return 0;
      if (own === "asked") {
        if (other === "asked") return Number(column === row);
        return Number(cut ? other === "second" : summaries ? other === "s2" : true);
      }
      if (own === other) return 1;
      if (!summaries) return Number(!(cut && other === "first"));
      if (blind && (own === "s1" || own === "s2")) return 0;
      // first; s1 sees it; the second sees s1; s2 sees both
      return Number(
        (own === "s1" && other === "first") || (own === "second" && other === "s1") ||
          (own === "s2" && (other === "second" || other === "s1")),
      );
    })
  );
}

/** Which tokens of the first segment a question can be told of, by any way through the mask. */
export function reaches(mask: readonly (readonly number[])[], variables: number, question: number): number[] {
  let seen = new Set([question]);
  for (let block = 0; block < config.depth; block++) {
    seen = new Set([...seen].flatMap((row) => mask[row].flatMap((one, at) => one ? [at] : [])));
  }
  return [...seen].filter((at) => at < 2 * variables).sort((a, b) => a - b);
}

/** Logits of all tokens of rows: [texts, tokens, vocabulary]. */
export function forward(
  { model, before }: Reader,
  tokens: tf.Tensor2D,
  variables: number,
  asking: Asking,
): tf.Tensor3D {
  const part = parts(variables, asking.summaries), count = part.length;
  return tidy(() => {
    const behind = part.indexOf("asked"); // questions all stand at one place
    const positions = tf.tensor2d([part.map((_, at) => Math.min(at, behind))]);
    const mask = tf.tensor2d(maskOf(variables, asking)).reshape<tf.Tensor4D>([1, 1, count, count]);
    const previous = tf.concat(
      [tokens.slice([0, 0], [-1, 1]), tokens.slice([0, 0], [-1, count - 1])],
      1,
    ) as tf.Tensor2D;
    const second = part.indexOf("second");
    const isThing = tf.tensor3d([
      part.map((own, at) => [Number(own === "first" ? at % 2 === 1 : own === "second" && (at - second) % 2 === 1)]),
    ]);
    const known = embedding(previous, before).mul<tf.Tensor3D>(isThing) as tf.Tensor3D;
    let x = model.embed(tokens).add<tf.Tensor3D>(known);
    for (let layer = 0; layer < config.depth; layer++) {
      x = model.block(layer, x, positions, ({ keys, values }) => ({ keys, values, mask })).x;
    }
    return model.head(x);
  });
}

/** Trains a reader on all numbers of summary tokens together. */
export function train(
  { seed, variables, steps, batch = 64, signal }: {
    seed: number;
    variables: number;
    steps: number;
    batch?: number;
    signal?: AbortSignal;
  },
): Reader {
  const reader = newReader(seed);
  const step = trainStep(
    (answers: tf.Tensor2D, ...rows: tf.Tensor2D[]) => {
      const losses = TRAINED.map((summaries, i) => {
        const logits = forward(reader, rows[i], variables, { summaries });
        const said = logits.slice([0, rows[i].shape[1] - variables, 0], [-1, -1, -1]);
        return tf.neg(tf.logSoftmax(said).mul(tf.oneHot(answers, config.vocabulary)).sum(2)).mean<tf.Scalar>();
      });
      return losses.reduce((sum, loss) => sum.add(loss)).div<tf.Scalar>(losses.length);
    },
    adamW({
      learningRate: cosineRate({ peak: 2e-3, updates: steps, warmup: Math.min(100, Math.floor(steps / 4)) }),
      decays: onlyMatrices,
    }),
    { weights: reader.model.weights, before: reader.before },
    { clip: 1 },
  );
  const draw = random(seed, "texts");
  for (let at = 0; at < steps; at++) {
    signal?.throwIfAborted();
    const texts = textsOf(batch, variables, draw);
    const rows = TRAINED.map((summaries) => tf.tensor2d(rowsOf(texts, summaries), undefined, "int32"));
    const answers = tf.tensor2d(texts.answers, undefined, "int32");
    const done = step(answers, ...rows);
    tf.dispose([answers, rows, done.loss, done.gradientNorm!]);
  }
  step.dispose();
  return reader;
}

/** Share of right answers, and their mean loss in nats. */
export function known(
  reader: Reader,
  variables: number,
  asking: Asking,
  { texts: count, seed }: { texts: number; seed: number },
): { accuracy: number; loss: number } {
  const texts = textsOf(count, variables, random(seed, "test texts"));
  const rows = rowsOf(texts, asking.summaries);
  return tidy(() => {
    const logits = forward(reader, tf.tensor2d(rows, undefined, "int32"), variables, asking);
    const said = logits.slice([0, rows[0].length - variables, 0], [-1, -1, -1]);
    const answers = tf.tensor2d(texts.answers, undefined, "int32");
    const loss = tf.neg(tf.logSoftmax(said).mul(tf.oneHot(answers, config.vocabulary)).sum(2)).mean();
    return {
      accuracy: tf.equal(said.argMax(2), answers).cast("float32").mean().dataSync()[0],
      loss: loss.dataSync()[0],
    };
  });
}
