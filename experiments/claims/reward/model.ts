/**
 * A model that has seen sums written in several ways, and may choose: rewarded for right answers, or for right and short ones.
 *
 * Questions, chains and the model are those of `experiments/claims/overthinking`. Half of the texts say in which style they are
 * written; the others begin with a token that says nothing, so that the model writes in any of the styles, drawn. From there it
 * is taught by reward alone.
 *
 * REINFORCE: Williams, Machine Learning 8, 1992; the mean of the other samples of a question as the baseline: Ahmadian et al.,
 * "Back to Basics", ACL 2024, arXiv:2402.14740. Length as a price: Hou et al., "ThinkPrune", 2025, arXiv:2504.01296.
 *
 * @module
 */
import { generate, Llama, normal, trainable } from "tessera/nn/mod.ts";
import { type Random, random } from "tessera/random.ts";
import { mean } from "tessera/stats.ts";
import { tf } from "tessera/tensor/mod.ts";
import { adamW, cosineRate, onlyMatrices, trainStep } from "tessera/train/mod.ts";
import { chain, config, DIGITS, prompt, question, runningSums, type Style, VERBOSE } from "../overthinking/model.ts";

/** The styles that a text may be written in. */
export const WRITTEN = ["terse", "verbose", "redundant", "no chain"] as const satisfies readonly Style[];
/** The token that says nothing of the style: its own meaning, gaps, does not occur here. */
const UNMARKED = "gaps" satisfies Style;
const PROMPT = DIGITS + 2, LONGEST = PROMPT + VERBOSE + 3;
const ANSWER = 6, END = 7; // after five digits and the mark of a chain's beginning

/** The tokens that a text begins with. */
export function start(style: Style | "unmarked", digits: readonly number[]): number[] {
  return prompt(style === "unmarked" ? UNMARKED : style, digits);
}

/** A text with the chain of a style, said or not. */
export function written(style: Style, digits: readonly number[], draw: Random, marked: boolean): number[] {
  return [
    ...start(marked ? style : "unmarked", digits),
    ...chain(style, digits, draw, {}),
    ANSWER,
    runningSums(digits).at(-1)!,
    END,
  ];
}

/** Texts as rows, ends filled up, and a weight for each token: `weightOf` of the row where it was made, else 0. */
function rowsOf(texts: readonly (readonly number[])[], weightOf: (row: number) => number): [tf.Tensor2D, tf.Tensor2D] {
  const tokens = new Int32Array(texts.length * LONGEST).fill(END), weight = new Float32Array(texts.length * LONGEST);
  texts.forEach((one, row) => {
    tokens.set(one.slice(0, LONGEST), row * LONGEST);
    for (let t = PROMPT; t < Math.min(one.length, LONGEST); t++) weight[row * LONGEST + t] = weightOf(row);
  });
  return [tf.tensor2d(tokens, [texts.length, LONGEST], "int32"), tf.tensor2d(weight, [texts.length, LONGEST])];
}

/** -ln p of each token but the first: [texts, tokens - 1] */
function surprise(model: Llama, tokens: tf.Tensor2D): tf.Tensor2D {
  const { logits } = model.forward(tokens.slice([0, 0], [-1, LONGEST - 1]) as tf.Tensor2D);
  const next = tokens.slice([0, 1], [-1, -1]);
  return tf.logSoftmax(logits).mul(tf.oneHot(next, config.vocabulary)).sum<tf.Tensor2D>(2).neg();
}

/** A model that writes in all styles. */
export function taught({ seed, updates, batch = 64, signal }: {
  seed: number;
  updates: number;
  batch?: number;
  signal?: AbortSignal;
}): Llama {
  const first = Llama.create(
    config,
    random(seed, "weights"),
    (name, shape) => shape.length < 2 ? undefined : normal(name.startsWith("embed") ? 0.3 : shape[1] ** -0.5),
  );
  const model = new Llama(config, trainable(first.weights));
  const step = trainStep(
    (tokens: tf.Tensor2D, weight: tf.Tensor2D) => {
      const counts = weight.slice([0, 1]);
      return surprise(model, tokens).mul(counts).sum().div<tf.Scalar>(counts.sum());
    },
    adamW({
      learningRate: cosineRate({ peak: 4e-3, updates, warmup: Math.floor(updates / 10) }),
      decays: onlyMatrices,
    }),
    model.weights,
    { clip: 1 },
  );
  const draw = random(seed, "texts");
  for (let update = 0; update < updates; update++) {
    signal?.throwIfAborted();
    const rows = rowsOf(
      Array.from({ length: batch }, (_, i) => written(WRITTEN[i % 4], question(draw), draw, i % 8 < 4)),
      () => 1,
    );
    const done = step(...rows);
    tf.dispose([rows, done.loss, done.gradientNorm!]);
  }
  step.dispose();
  return model;
}

/** What a model wrote to some questions. */
export interface Written {
  readonly rows: readonly (readonly number[])[];
  readonly digits: readonly (readonly number[])[];
}

/** Lets a model write. */
export async function write(
  model: Llama,
  digits: readonly (readonly number[])[],
  { style = "unmarked", temperature, seed }: { style?: Style | "unmarked"; temperature: number; seed: number },
): Promise<Written> {
  const prompts = digits.map((own) => start(style, own));
  const { rows } = await generate(model, prompts, { temperature, maxTokens: LONGEST - PROMPT, seed, xla: false });
  // what stands behind the end was not meant
  const cut = rows.map((row) => {
    const end = row.indexOf(END);
    return end < 0 ? row : row.slice(0, end + 1);
  });
  return { rows: cut, digits };
}

/** 1 where the answer is right, and the tokens made until it. */
export function judged({ rows, digits }: Written): { right: number; tokens: number; chain: readonly number[] }[] {
  return rows.map((row, i) => {
    const mark = row.indexOf(ANSWER);
    return {
      right: Number(mark >= 0 && row[mark + 1] === runningSums(digits[i]).at(-1)),
      tokens: mark < 0 ? row.length : mark + 2,
      chain: mark < 0 ? row : row.slice(0, mark),
    };
  });
}

/** What is seen of a model's writing. */
export interface Summary {
  readonly accuracy: number;
  readonly tokens: number;
  /** Share of chains that are the running sums and nothing else, and of those that are empty. */
  readonly terse: number;
  readonly empty: number;
  /** Fillers in a chain, mean. */
  readonly fillers: number;
}

/** Sums up what was written. */
export function summary(text: Written): Summary {
  const all = judged(text);
  const isFiller = (token: number) => token > 8; // after digits and marks
  return {
    accuracy: mean(all.map(({ right }) => right)),
    tokens: mean(all.map(({ tokens }) => tokens)),
    terse: mean(all.map(({ chain }, i) => Number(chain.join() === runningSums(text.digits[i]).join()))),
    empty: mean(all.map(({ chain }) => Number(chain.length === 0))),
    fillers: mean(all.map(({ chain }) => chain.filter(isFiller).length)),
  };
}

/** Samples of a question; questions of an update. */
export const SAMPLES = 8;
const QUESTIONS = 16;

/** How much more each sample earned than the others of its question did on average: [questions x samples]. */
export function advantages(rewards: readonly number[], samples: number): number[] {
  return rewards.map((reward, i) => {
    const from = i - i % samples;
    const sum = rewards.slice(from, from + samples).reduce((total, one) => total + one, 0);
    return reward - (sum - reward) / (samples - 1);
  });
}

/** Teaches a model by reward: 1 for a right answer, less `price` times the share of the longest text that was made. */
export async function rewarded(
  model: Llama,
  { seed, updates, price, signal }: { seed: number; updates: number; price: number; signal?: AbortSignal },
): Promise<void> {
  const step = trainStep(
    (tokens: tf.Tensor2D, weight: tf.Tensor2D) =>
      surprise(model, tokens).mul(weight.slice([0, 1])).sum().div<tf.Scalar>(QUESTIONS * SAMPLES),
    adamW({ learningRate: 5e-4, weightDecay: 0 }),
    model.weights,
    { clip: 1 },
  );
  const draw = random(seed, "rewarded questions");
  for (let update = 0; update < updates; update++) {
    signal?.throwIfAborted();
    const digits = Array.from({ length: QUESTIONS }, () => question(draw)).flatMap((own) =>
      Array.from({ length: SAMPLES }, () => own)
    );
    const text = await write(model, digits, { temperature: 1, seed: 1_000_000 * (seed + 1) + update });
    const rewards = judged(text).map(({ right, tokens }) => right - price * tokens / (LONGEST - PROMPT));
    const worth = advantages(rewards, SAMPLES);
    const rows = rowsOf(text.rows.map((row, i) => [...start("unmarked", digits[i]), ...row]), (row) => worth[row]);
    const done = step(...rows);
    tf.dispose([rows, done.loss, done.gradientNorm!]);
  }
  step.dispose();
}
