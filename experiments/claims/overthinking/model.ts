/**
 * Sums with a written chain of thought: the questions, the styles in which a chain may be written, and a small Llama that
 * learns all styles together. The first token of a text says in which style the chain is to be written.
 *
 * A text: style, digits, `>`, chain, `=`, answer, end. The chain holds running sums; what else stands there carries nothing.
 * Fillers follow a grammar with a likeliest path, so that the likeliest chain is one that training has shown; and every
 * whole style shows as many running sums, each once more than the last.
 *
 * Dropping by importance: Xia et al., "TokenSkip", EMNLP 2025, arXiv:2502.12067, section 3, with another importance: what
 * the tokens after it lose where a token is hidden.
 *
 * @module
 */
import { generate, Llama, type LlamaConfig, normal, trainable } from "tessera/nn/mod.ts";
import { type Random, random } from "tessera/random.ts";
import { mean } from "tessera/stats.ts";
import { tf, tidy } from "tessera/tensor/mod.ts";
import { adamW, cosineRate, onlyMatrices, trainStep } from "tessera/train/mod.ts";

/** Digits of a question; what sums are taken modulo, and how many digits there are. */
export const DIGITS = 4, MODULUS = 5;
/** Fillers after each running sum of a verbose chain. */
export const FILLERS = 3;
/** Tokens of a verbose chain. */
export const VERBOSE = DIGITS * (1 + FILLERS);

/**
 * The styles, by what is done to a chain. The first three hold every running sum. "gaps" is a verbose chain of
 * which a fifth is hidden behind blanks: it is there to ask what a token is worth, and is not judged.
 */
export const STYLES = [
  "terse",
  "verbose",
  "redundant",
  "every second sum",
  "no chain",
  "random quarter",
  "random places",
  "important quarter",
  "important to the answer",
  "gaps",
] as const;
/** Name of a style. */
export type Style = typeof STYLES[number];

/** Tokens: digits and sums first, then marks, fillers and styles. */
const BEGIN_CHAIN = MODULUS,
  ANSWER = MODULUS + 1,
  END = MODULUS + 2,
  BLANK = MODULUS + 3,
  FILLER = MODULUS + 4,
  FILLER_WORDS = 6;
const STYLE = FILLER + FILLER_WORDS;
/** The likeliest path of fillers is 0, 1, 2, ...; each is left for its twin with this probability. */
const OTHER_FILLER = 0.25;
/** Share of a chain that is hidden in the style "gaps". */
const HIDDEN = 0.2;
/** Tokens before the chain. */
const PROMPT = DIGITS + 2;
/** Tokens of the longest text. */
const LONGEST = PROMPT + VERBOSE + 3;

/** The model's sizes: two blocks, about 58 thousand numbers. */
export const config: LlamaConfig = {
  vocabulary: STYLE + STYLES.length,
  width: 48,
  depth: 2,
  heads: 4,
  keyHeads: 4,
  mlpWidth: 128,
  context: LONGEST + 2,
};

/** Which places of a verbose chain a style with fixed places keeps, in order. */
export type Places = Readonly<Partial<Record<Style, readonly number[]>>>;

/** A token as it is shown: a digit, a mark, a filler. */
export function word(token: number): string {
  if (token < MODULUS) return String(token);
  if (token >= STYLE) return `[${STYLES[token - STYLE]}]`;
  return [">", "=", "end", "_", "so", "then", "now", "well", "next", "and"][token - MODULUS];
}

/** A question: digits from 0 to 4. */
export function question(draw: Random): number[] {
  return Array.from({ length: DIGITS }, () => draw.integer(MODULUS));
}

/** The running sums of a question; the last is the answer. */
export function runningSums(digits: readonly number[]): number[] {
  let sum = 0;
  return digits.map((digit) => sum = (sum + digit) % MODULUS);
}

/** The tokens before a chain. */
export function prompt(style: Style, digits: readonly number[]): number[] {
  return [STYLE + STYLES.indexOf(style), ...digits, BEGIN_CHAIN];
}

/** A verbose chain: each running sum, then fillers. */
export function verboseChain(digits: readonly number[], draw: Random): number[] {
  return runningSums(digits).flatMap((sum) => [
    sum,
    ...Array.from({ length: FILLERS }, (_, i) => FILLER + i + (draw.bernoulli(OTHER_FILLER) ? FILLERS : 0)),
  ]);
}

/**
 * A chain in a style.
 *
 * @param places Of the styles that keep the same places of every verbose chain.
 */
export function chain(style: Style, digits: readonly number[], draw: Random, places: Places): number[] {
  const sums = runningSums(digits);
  switch (style) {
    case "terse":
      return sums;
    case "redundant":
      return sums.flatMap((sum) => [sum, sum]);
    case "every second sum":
      return sums.filter((_, i) => i % 2 === 1);
    case "no chain":
      return [];
    case "gaps":
      return verboseChain(digits, draw).map((token) => draw.bernoulli(HIDDEN) ? BLANK : token);
    default: {
      const long = verboseChain(digits, draw);
      const kept = style === "verbose" ? undefined : places[style] ??
        somePlaces(VERBOSE / 4, draw);
      return kept ? kept.map((place) => long[place]) : long;
    }
  }
}

/** Places of a verbose chain, drawn at random, in order. */
export function somePlaces(count: number, draw: Random): number[] {
  return draw.permutation(VERBOSE).slice(0, count).sort((a, b) => a - b);
}

/** A whole text. */
export function text(style: Style, digits: readonly number[], draw: Random, places: Places = {}): number[] {
  return [
    ...prompt(style, digits),
    ...chain(style, digits, draw, places),
    ANSWER,
    runningSums(digits).at(-1)!,
    END,
  ];
}

/** Texts, one below the other, ends filled up; and 1 where a prediction counts: the chain but for blanks, and the answer. */
function rowsOf(texts: readonly (readonly number[])[]): [tokens: tf.Tensor2D, weight: tf.Tensor2D] {
  const tokens = new Int32Array(texts.length * LONGEST).fill(END), weight = new Float32Array(texts.length * LONGEST);
  texts.forEach((one, row) => {
    tokens.set(one, row * LONGEST);
    one.forEach((token, t) => weight[row * LONGEST + t] = Number(t >= PROMPT && token !== BLANK));
  });
  return [
    tf.tensor2d(tokens, [texts.length, LONGEST], "int32"),
    tf.tensor2d(weight, [texts.length, LONGEST]),
  ];
}

/** -ln p of each token but the first: [texts, tokens - 1] */
function surprise(model: Llama, tokens: tf.Tensor2D): tf.Tensor2D {
  const [texts, row] = tokens.shape;
  const { logits } = model.forward(tokens.slice([0, 0], [texts, row - 1]) as tf.Tensor2D);
  const next = tokens.slice([0, 1], [texts, row - 1]);
  return tf.logSoftmax(logits).mul(tf.oneHot(next, config.vocabulary)).sum<tf.Tensor2D>(2).neg();
}

/** How a model is trained. */
export interface Training {
  readonly seed: number;
  readonly styles: readonly Style[];
  readonly places?: Places;
  readonly updates: number;
  /** Default: 60. */
  readonly batch?: number;
  readonly signal?: AbortSignal;
  /** The model to go on from. Default: a new one. */
  readonly from?: Llama;
}

/** A model that writes sums in all of some styles, each shown equally often. */
export async function train(
  { seed, styles, places = {}, updates, batch = 60, signal, from }: Training,
): Promise<{ model: Llama; loss: number }> {
  const start = from ?? Llama.create(
    config,
    random(seed, "weights"),
    (name, shape) => shape.length < 2 ? undefined : normal(name.startsWith("embed") ? 0.3 : shape[1] ** -0.5),
  );
  const model = from ?? new Llama(config, trainable(start.weights));
  const step = trainStep(
    (tokens: tf.Tensor2D, weight: tf.Tensor2D) => {
      const counts = weight.slice([0, 1]);
      return surprise(model, tokens).mul(counts).sum().div(counts.sum());
    },
    adamW({ learningRate: cosineRate({ peak: 4e-3, updates, warmup: 60 }), decays: onlyMatrices }),
    model.weights,
    { clip: 1 },
  );
  const draw = random(seed, "texts");
  let loss = NaN;
  for (let update = 0; update < updates; update++) {
    const rows = rowsOf(
      Array.from({ length: batch }, (_, i) => text(styles[i % styles.length], question(draw), draw, places)),
    );
    const done = step(...rows);
    if (update % 50 === 49) {
      [loss] = await done.loss.data();
      signal?.throwIfAborted();
    }
    tf.dispose([rows, done.loss, done.gradientNorm!]);
  }
  step.dispose();
  return { model, loss };
}

/** What hiding one token of a verbose chain costs, by its place. */
export interface Importance {
  /** |Δ ln p| of the answer: [places] */
  readonly answer: readonly number[];
  /** Δ -ln p of all tokens after it, the answer among them: [places] */
  readonly following: readonly number[];
}

/**
 * Hides each token of a verbose chain in turn behind a blank, and asks how much worse the answer, and all that follows, is
 * foretold. The model has learned the style "gaps", so that a blank is nothing new.
 */
export function importanceOf(model: Llama, digits: readonly number[], long: readonly number[]): Importance {
  const answer = runningSums(digits).at(-1)!;
  const texts = [long, ...long.map((_, place) => long.with(place, BLANK))]
    .map((chain) => [...prompt("gaps", digits), ...chain, ANSWER, answer, END]);
  const lost = tidy(() => {
    const [tokens] = rowsOf(texts);
    return surprise(model, tokens).arraySync();
  });
  const answerAt = PROMPT + long.length; // the prediction of token t is at t - 1
  const from = (row: number, first: number) =>
    lost[row].slice(first, answerAt + 1).reduce((sum, value) => sum + value, 0);
  return {
    answer: long.map((_, place) => Math.abs(from(place + 1, answerAt) - from(0, answerAt))),
    following: long.map((_, place) => from(place + 1, PROMPT + place) - from(0, PROMPT + place)),
  };
}

/** Importance by place, the mean over chains. */
export function meanImportance(model: Llama, { seed, chains }: { seed: number; chains: number }): Importance {
  const draw = random(seed, "importance");
  const all = Array.from({ length: chains }, () => {
    const digits = question(draw);
    return importanceOf(model, digits, verboseChain(digits, draw));
  });
  const average = (which: keyof Importance) =>
    Array.from({ length: VERBOSE }, (_, place) => mean(all.map((one) => one[which][place])));
  return { answer: average("answer"), following: average("following") };
}

/** The `count` places with the highest values, in order; equal values: the earlier first. */
export function highest(values: readonly number[], count: number): number[] {
  const order = values.map((_, place) => place).sort((a, b) => values[b] - values[a] || a - b);
  return order.slice(0, count).sort((a, b) => a - b);
}

/** What a model wrote. */
export interface Written {
  readonly style: Style;
  /** Share of right answers. */
  readonly accuracy: number;
  /** Mean number of tokens that were made, with the mark and the answer. */
  readonly tokens: number;
}

/** Has the same questions answered in all styles, in one go. */
export async function write(
  model: Llama,
  { styles, questions, temperature, seed }: {
    styles: readonly Style[];
    questions: number;
    temperature: number;
    seed: number;
  },
): Promise<Written[]> {
  const draw = random(seed, "test");
  const asked = Array.from({ length: questions }, () => question(draw));
  const prompts = styles.flatMap((style) => asked.map((digits) => prompt(style, digits)));
  const maxTokens = LONGEST - PROMPT;
  const { rows } = await generate(model, prompts, { temperature, maxTokens, seed: seed + 1, xla: false });
  return styles.map((style, s) => {
    const own = rows.slice(s * questions, (s + 1) * questions);
    const read = own.map((row, q) => {
      const mark = row.indexOf(ANSWER);
      return {
        right: Number(mark >= 0 && row[mark + 1] === runningSums(asked[q]).at(-1)),
        tokens: mark < 0 ? maxTokens : Math.min(maxTokens, mark + 2),
      };
    });
    return { style, accuracy: mean(read.map(({ right }) => right)), tokens: mean(read.map(({ tokens }) => tokens)) };
  });
}

/**
 * The chance of a mistake per token, where a right answer needs every token right: ε of (1 - ε)^T = accuracy above what
 * guessing gives; null where the accuracy is no better than a guess.
 */
export function errorPerToken(accuracy: number, tokens: number): number | null {
  const chance = 1 / MODULUS, known = (accuracy - chance) / (1 - chance);
  return known > 0 ? 1 - known ** (1 / tokens) : null;
}

/** The probability of the right answer after a chain of which some places are hidden. */
export function answerProbability(
  model: Llama,
  digits: readonly number[],
  long: readonly number[],
  hidden: readonly number[],
): number {
  const answer = runningSums(digits).at(-1)!;
  const text = [...prompt("gaps", digits), ...long.map((token, i) => hidden.includes(i) ? BLANK : token), ANSWER];
  return tidy(() => {
    const { logits } = model.forward(tf.tensor2d([text], [1, text.length], "int32"));
    return tf.softmax(logits).slice([0, text.length - 1, answer], [1, 1, 1]).dataSync()[0];
  });
}
