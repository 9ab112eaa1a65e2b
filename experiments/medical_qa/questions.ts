/**
 * Questions about codes whose answers are planted, and a small language model that answers them with a code's vector as its
 * first token.
 *
 * Su et al., "Multimodal Medical Code Tokenizer", ICML 2025, arXiv:2502.04397, section 4.5: the question's codes become one
 * vector, one linear layer makes a prefix token of it, and a Llama of 8 billion numbers is adapted. Here the questions are
 * made from the ontology and the graph, nothing about the code is in the question's text, and a Llama of a few ten thousand
 * numbers is trained from nothing to write the answer. Of the four options, the one that it finds likeliest is its answer.
 *
 * What the authors' tutorial does otherwise, and this does not: its wrapper cannot be called; it has no row for a missing
 * code, which more than half of its training questions need; it averages normalised vectors in training and puts one
 * unnormalised prefix per code in use; and it counts an answer as right if the letter occurs anywhere in the response.
 *
 * @module
 */
import { causalRows, initialise, linear, linearLayer, Llama, normal, parameter, trainable } from "../../lib/nn/mod.ts";
import { type Random, random } from "../../lib/random.ts";
import { compile, tf, tidy } from "../../lib/tensor/mod.ts";
import { adam, fit, trainStep } from "../../lib/train/mod.ts";
import type { PlantedWorld } from "../../lib/tokenization/mod.ts";
import { type Rows, standardised } from "../ehr/code_input.ts";

/** A question with four answers. */
export interface Question {
  /** Which code it is about, by its place; -1 where there is none. */
  readonly code: number;
  readonly about: "parent" | "mechanism";
  readonly options: readonly string[];
  /** Place of the right one. */
  readonly answer: number;
}

const OPTIONS = 4;

/**
 * One question of each kind about each of some codes: its parent in the ontology (which its text tells), and the mechanism
 * whose genes it has (which only the graph tells).
 */
export function questionsAbout({ planted }: PlantedWorld, codes: readonly number[], draw: Random): Question[] {
  return codes.flatMap((code) => {
    const { category, module } = planted.concepts[planted.codes[code].concept];
    const of = (about: Question["about"], truth: number, count: number): Question => {
      const wrong = draw.permutation(count).filter((value) => value !== truth).slice(0, OPTIONS - 1);
      const answer = draw.integer(OPTIONS);
      const values = [...wrong.slice(0, answer), truth, ...wrong.slice(answer)];
      return { code, about, options: values.map((value) => `${about}${value}`), answer };
    };
    return [of("parent", Math.floor(category / 3), 10), of("mechanism", module, 24)];
  });
}

/** Codes in two parts that share no concept: what is learnt of a code cannot be remembered of another that means the same. */
export function splitByConcept(
  { planted }: PlantedWorld,
  share: number,
  seed: number,
): { train: number[]; test: number[] } {
  const order = random(seed, "concepts").permutation(planted.concepts.length);
  const held = new Set(order.slice(0, Math.round(share * order.length)));
  const train: number[] = [], test: number[] = [];
  planted.codes.forEach(({ concept }, i) => (held.has(concept) ? test : train).push(i));
  return { train, test };
}

/** Words of all questions. */
function vocabularyOf(): Map<string, number> {
  const words = [
    "which",
    "parent",
    "mechanism",
    "?",
    ...Array.from({ length: 10 }, (_, i) => `parent${i}`),
    ...Array.from({ length: 24 }, (_, i) => `mechanism${i}`),
  ];
  return new Map(words.map((word, i) => [word, i]));
}

const vocabulary = vocabularyOf();

/** A question as words; what follows is the answer. */
export function wordsOfQuestion({ about }: Question): string[] {
  return ["which", about, "?"];
}

/** What stands in front of a question. */
export type Prefix = { readonly kind: "vectors"; readonly vectors: Rows } | { readonly kind: "none" };

/** Options of {@link trainAnswerer}. */
export interface AnswererOptions {
  readonly prefix: Prefix;
  readonly seed: number;
  /** Default: 64. */
  readonly width?: number;
  /** Default: 10. */
  readonly epochs?: number;
  readonly signal?: AbortSignal;
}

/** A trained answerer. */
export interface Answerer {
  readonly parameters: number;
  readonly seconds: number;
  /** Updates: every question once an epoch, 64 at a time. */
  readonly steps: number;
  /**
   * What the model answers to each question: the place of the likeliest of its four options, and the likeliest of all words.
   *
   * @param prefixOf Whose vector stands in front of question i. Default: that of the code it is about.
   */
  answer(questions: readonly Question[], prefixOf?: (i: number) => number): Promise<{ option: number; word: string }[]>;
  dispose(): void;
}

/** Trains a small Llama and the layer that makes prefixes, on the last word alone. */
export async function trainAnswerer(questions: readonly Question[], options: AnswererOptions): Promise<Answerer> {
  const { prefix, seed, width = 64, epochs = 10, signal } = options;
  const started = performance.now();
  const draw = random(seed, "answerer");
  const config = { vocabulary: vocabulary.size, width, depth: 2, heads: 4, mlpWidth: 2 * width, context: 8 };
  const llama = Llama.create(config, draw);
  const size = prefix.kind === "vectors" ? prefix.vectors.width : 1;
  const layers = { projection: linearLayer(size, width), missing: parameter<tf.Rank.R2>([1, width], normal(0.1)) };
  const own = trainable(initialise(layers, draw.stream("prefix")));
  const weights = trainable(llama.weights);
  const model = new Llama(config, weights);
  const table = prefix.kind === "vectors" ? standardised(prefix.vectors) : new Float32Array(0);

  const batchOf = (some: readonly Question[], prefixOf: (i: number) => number) => {
    const vectors = new Float32Array(some.length * size), there = new Float32Array(some.length);
    const tokens = new Int32Array(some.length * WORDS), answers = new Int32Array(some.length);
    some.forEach((question, i) => {
      const code = prefixOf(i);
      if (code >= 0 && prefix.kind === "vectors") {
        vectors.set(table.subarray(code * size, (code + 1) * size), i * size);
        there[i] = 1;
      }
      tokens.set(wordsOfQuestion(question).map((word) => vocabulary.get(word)!), i * WORDS);
      answers[i] = vocabulary.get(question.options[question.answer])!;
    });
    return [
      tf.tensor2d(vectors, [some.length, size]),
      tf.tensor2d(there, [some.length, 1]),
      tf.tensor2d(tokens, [some.length, WORDS], "int32"),
      tf.tensor1d(answers, "int32"),
    ] as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D, tf.Tensor1D];
  };
  /** Logits of the word behind the question, [batch, words]. */
  const nextWord = (vectors: tf.Tensor2D, there: tf.Tensor2D, tokens: tf.Tensor2D): tf.Tensor2D =>
    tidy(() => {
      const count = tokens.shape[0];
      const made = linear(vectors, own.projection).mul(there).add(own.missing.mul(tf.sub(1, there)));
      let x = tf.concat([made.expandDims<tf.Tensor3D>(1), model.embed(tokens)], 1);
      const mask = causalRows(WORDS + 1, 1);
      const positions = tf.range(0, WORDS + 1).expandDims<tf.Tensor2D>(0);
      for (let layer = 0; layer < config.depth; layer++) {
        x = model.block(layer, x, positions, ({ keys, values }) => ({ keys, values, mask })).x;
      }
      const last = model.head(x.slice([0, WORDS, 0], [count, 1, width]));
      return last.reshape<tf.Tensor2D>([count, vocabulary.size]);
    });
  const step = trainStep(
    (vectors: tf.Tensor2D, there: tf.Tensor2D, tokens: tf.Tensor2D, answers: tf.Tensor1D) =>
      tf.logSoftmax(nextWord(vectors, there, tokens)).mul(tf.oneHot(answers, vocabulary.size)).sum(1).mean().neg(),
    adam({ learningRate: 2e-3 }),
    { own, weights },
    { clip: 1 },
  );
  const { steps } = await fit({
    step,
    data: {
      count: questions.length,
      batch: (rows) => batchOf(rows.map((row) => questions[row]), (i) => questions[rows[i]].code),
    },
    epochs,
    batch: 64,
    seed,
    show: false,
    ...(signal ? { signal } : {}),
  });
  step.dispose();
  const run = compile(
    (vectors: tf.Tensor2D, there: tf.Tensor2D, tokens: tf.Tensor2D) => nextWord(vectors, there, tokens),
    {
      xla: false,
    },
  );
  const words = [...vocabulary.keys()];
  const answer: Answerer["answer"] = async (asked, prefixOf = (i) => asked[i].code) => {
    const result: { option: number; word: string }[] = [];
    for (let from = 0; from < asked.length; from += 256) {
      const part = asked.slice(from, from + 256);
      const batch = batchOf(part, (i) => prefixOf(from + i));
      const logits = run(batch[0], batch[1], batch[2]);
      (await logits.array()).forEach((row, i) => {
        const scores = part[i].options.map((option) => row[vocabulary.get(option)!]);
        result.push({ option: scores.indexOf(Math.max(...scores)), word: words[row.indexOf(Math.max(...row))] });
      });
      tf.dispose([...batch, logits]);
    }
    return result;
  };
  return {
    parameters: model.parameters + (prefix.kind === "vectors" ? size * width + width : 0) + width,
    seconds: (performance.now() - started) / 1000,
    steps,
    answer,
    dispose: () => {
      run.dispose();
      model.dispose();
      tf.dispose([own.missing, own.projection.weight, own.projection.bias!]);
    },
  };
}

/** Words of a question. */
const WORDS = 3;
