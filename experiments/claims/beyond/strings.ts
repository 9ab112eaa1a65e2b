/**
 * D9-c: strings over A, C, G, T with planted motifs of six bases, and what they are cut into: single bases, words of three
 * or six, or pieces that byte pair encoding finds. Models are compared by bits per base, never per token: a longer token is
 * harder to guess, and there are fewer of them.
 *
 * Byte pair encoding: Sennrich, Haddow and Birch, ACL 2016, arXiv:1508.07909, section 3.2.
 *
 * @module
 */
import {
  block,
  blockLayer,
  embedding,
  embeddingLayer,
  initialise,
  layerNorm,
  linear,
  linearLayer,
  normal,
  normLayer,
  trainable,
} from "../../../lib/nn/mod.ts";
import { type Random, random } from "../../../lib/random.ts";
import { flatten, tf, tidy } from "../../../lib/tensor/mod.ts";
import { adamW, cosineRate, examples, fit, trainStep } from "../../../lib/train/mod.ts";

/** Bases of a string, of a motif. */
export const LENGTH = 120, MOTIF = 6;
const MOTIFS = 4, MUTATION = 0.1, BASES = "ACGT";

/** A string, and where motifs stand in it. */
export interface Strand {
  readonly bases: string;
  readonly motifs: readonly { readonly start: number; readonly intact: boolean }[];
}

/** The motifs of a seed: what a position weight matrix with nine tenths on one base each says. */
export function motifsOf(seed: number): string[] {
  const rng = random(seed, "motifs");
  return Array.from({ length: MOTIFS }, () => draw(MOTIF, rng));
}

function draw(length: number, rng: Random): string {
  return Array.from({ length }, () => BASES[rng.integer(4)]).join("");
}

/** Strings of chance bases; after every 2 to 8 of them a motif, each of its bases mutated with probability 0.1. */
export function strands(count: number, motifs: readonly string[], rng: Random): Strand[] {
  return Array.from({ length: count }, () => {
    let bases = draw(rng.integer(8), rng);
    const planted: { start: number; intact: boolean }[] = [];
    while (bases.length + MOTIF <= LENGTH) {
      const motif = rng.choice(motifs);
      const written = [...motif].map((base) =>
        rng.bernoulli(MUTATION) ? rng.choice([...BASES].filter((other) => other !== base)) : base
      ).join("");
      planted.push({ start: bases.length, intact: written === motif });
      bases += written + draw(2 + rng.integer(7), rng);
    }
    return { bases: (bases + draw(LENGTH, rng)).slice(0, LENGTH), motifs: planted };
  });
}

/** How strings are cut: the vocabulary, and a string's tokens as indices into it. */
export interface Cut {
  readonly vocabulary: readonly string[];
  cut(bases: string): number[];
}

/** Words of `k` bases, side by side. */
export function kmers(k: number): Cut {
  const vocabulary = Array.from(
    { length: 4 ** k },
    (_, i) => Array.from({ length: k }, (_, place) => BASES[Math.floor(i / 4 ** place) % 4]).join(""),
  );
  const index = new Map(vocabulary.map((word, i) => [word, i]));
  return {
    vocabulary,
    cut: (bases) => Array.from({ length: bases.length / k }, (_, i) => index.get(bases.slice(i * k, (i + 1) * k))!),
  };
}

/**
 * Byte pair encoding: the pair of neighbours that `choose` picks of all counted ones is joined everywhere, again and again.
 *
 * @param choose Default: the most frequent, the one that is met first among equals.
 */
export function bytePairs(
  strings: readonly string[],
  size: number,
  choose = (pairs: Map<string, number>): string => [...pairs].reduce((best, one) => one[1] > best[1] ? one : best)[0],
): Cut {
  const vocabulary = [...BASES], merges: { left: number; right: number; whole: number }[] = [];
  const texts = strings.map((text) => [...text].map((base) => BASES.indexOf(base)));
  const join = (text: number[], { left, right, whole }: (typeof merges)[number]) => {
    let kept = 0;
    for (let i = 0; i < text.length; i++) {
      const both = text[i] === left && i + 1 < text.length && text[i + 1] === right;
      text[kept++] = both ? whole : text[i];
      if (both) i++;
    }
    text.length = kept;
  };
  while (vocabulary.length < size) {
    const pairs = new Map<string, number>();
    for (const text of texts) {
      for (let i = 0; i + 1 < text.length; i++) {
        const pair = `${text[i]} ${text[i + 1]}`;
        pairs.set(pair, (pairs.get(pair) ?? 0) + 1);
      }
    }
    const [left, right] = choose(pairs).split(" ").map(Number);
    const merge = { left, right, whole: vocabulary.length };
    vocabulary.push(vocabulary[left] + vocabulary[right]);
    merges.push(merge);
    for (const text of texts) join(text, merge);
  }
  return {
    vocabulary,
    cut: (bases) => {
      const text = [...bases].map((base) => BASES.indexOf(base));
      for (const merge of merges) join(text, merge);
      return text;
    },
  };
}

/** The ways of cutting, from strings to learn from. */
export const cuts: Record<string, (strings: readonly string[], rng: Random) => Cut> = {
  "single bases": () => kmers(1),
  "3-mers": () => kmers(3),
  "6-mers": () => kmers(6),
  "bpe 64": (strings) => bytePairs(strings, 64),
  "bpe 256": (strings) => bytePairs(strings, 256),
  "random pairs 64": (strings, rng) => bytePairs(strings, 64, (pairs) => rng.choice([...pairs.keys()])),
};

/** Which share of the planted, unmutated motifs lies whole within one token. */
export function motifRecall(strings: readonly Strand[], { vocabulary, cut }: Cut): number {
  let [whole, all] = [0, 0];
  for (const { bases, motifs } of strings) {
    const ends: number[] = [];
    for (const token of cut(bases)) ends.push((ends.at(-1) ?? 0) + vocabulary[token].length);
    for (const { start, intact } of motifs) {
      if (!intact) continue;
      all++;
      whole += Number(ends.find((end) => end > start)! >= start + MOTIF);
    }
  }
  return whole / all;
}

const WIDTH = 32, HEADS = 4;

/** A decoder over tokens, trained on some strings; gives bits per base on others. */
async function bitsPerBase(
  { vocabulary, cut }: Cut,
  train: readonly Strand[],
  test: readonly Strand[],
  { seed, epochs, signal }: { seed: number; epochs: number; signal: AbortSignal },
): Promise<{ bits: number; tokens: number }> {
  const [seen, asked] = [train, test].map((all) => all.map(({ bases }) => cut(bases)));
  const longest = Math.max(...seen.map(({ length }) => length), ...asked.map(({ length }) => length));
  const begin = vocabulary.length;
  const [inputs, targets] = [seen, asked].map((all) => {
    const flat = (rows: number[][]) => tf.tensor2d(rows.flat(), [rows.length, longest], "int32");
    return [
      flat(all.map((row) => [begin, ...row.slice(0, -1), ...Array<number>(longest - row.length).fill(begin)])),
      flat(all.map((row) => [...row, ...Array<number>(longest - row.length).fill(-1)])),
    ] as const;
  });
  const model = trainable(initialise({
    words: embeddingLayer(vocabulary.length + 1, WIDTH, normal(0.5)),
    places: embeddingLayer(longest, WIDTH, normal(0.1)),
    blocks: [blockLayer(WIDTH, 2 * WIDTH), blockLayer(WIDTH, 2 * WIDTH)],
    norm: normLayer(WIDTH),
    head: linearLayer(WIDTH, vocabulary.length),
  }, random(seed, "model of strings")));
  /** Surprise of all tokens together, in nats. */
  const surprise = (input: tf.Tensor2D, target: tf.Tensor2D) =>
    tidy(() => {
      let h = tf.add<tf.Tensor3D>(embedding(input, model.words), model.places.weight.expandDims(0));
      for (const parameters of model.blocks) h = block(h, parameters, { heads: HEADS, causal: true }).x;
      const logits = linear(layerNorm(h, model.norm), model.head).reshape<tf.Tensor2D>([-1, vocabulary.length]);
      const own = tf.oneHot(target.reshape<tf.Tensor1D>([-1]), vocabulary.length).cast<tf.Tensor2D>("float32");
      return tf.neg(tf.mul(own, tf.logSoftmax(logits, 1)).sum()); // padding has target -1, a row of zeros
    });
  const batch = 16, updates = epochs * Math.ceil(train.length / batch);
  const step = trainStep(
    (input: tf.Tensor2D, target: tf.Tensor2D) => surprise(input, target).div(batch * LENGTH),
    adamW({ learningRate: cosineRate({ peak: 5e-3, updates, warmup: Math.floor(updates / 10) }) }),
    model,
    { clip: 1 },
  );
  try {
    await fit({ step, data: examples(...inputs), epochs, batch, seed, show: false, signal });
    const nats = tf.tidy(() => surprise(...targets).dataSync()[0]);
    const tokens = asked.reduce((sum, { length }) => sum + length, 0) / test.length;
    return { bits: nats / Math.LN2 / (test.length * LENGTH), tokens };
  } finally {
    step.dispose();
    tf.dispose([...inputs, ...targets]);
    for (const variable of flatten(model).values()) variable.dispose();
  }
}

/** Trains one model per way of cutting; a line per measure. */
export async function stringRows(seed: number, fast: boolean, signal: AbortSignal) {
  const motifs = motifsOf(seed);
  const train = strands(fast ? 512 : 1024, motifs, random(seed, "training strands"));
  const test = strands(128, motifs, random(seed, "test strands"));
  const rows: { arm: string; tokens: number; measure: string; value: number }[] = [];
  for (const [arm, learn] of Object.entries(cuts)) {
    const own = learn(train.map(({ bases }) => bases), random(seed, "pairs"));
    const { bits, tokens } = await bitsPerBase(own, train, test, { seed, epochs: 4, signal });
    rows.push({ arm, tokens, measure: "bits per base", value: bits });
    rows.push({ arm, tokens, measure: "motif recall", value: motifRecall(test, own) });
  }
  return rows;
}
