/**
 * How good tokens are: do codes of one concept lie together, within a system and across; and what can be read out of which
 * slot.
 *
 * The last is the honest part: cross-attention lets the graph's side read the text, so that both "shared" vectors may carry
 * one modality only. `leakReport` shows it.
 *
 * @module
 */
import { table } from "../plot/mod.ts";
import { random } from "../random.ts";
import { auroc, mean } from "../stats.ts";
import { tf, tidy } from "../tensor/mod.ts";
import { adam, trainStep } from "../train/mod.ts";
import type { Slot } from "./codebook.ts";
import { slotsOf } from "./config.ts";
import type { CodeInput } from "./open_codes.ts";
import type { TokenTable } from "./token_table.ts";
import type { MedTok } from "./tokenizer.ts";

/**
 * The vectors of some slots, beside each other: [codes, slots x d].
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { medtokConfig, TokenTable } from "tessera/tokenization/mod.ts";
 * const table = new TokenTable({
 *   config: medtokConfig("lite", { K: 1, d: 4, N: 9 }),
 *   codes: [{ system: "A", code: "1" }],
 *   tokens: Int32Array.of(0, 6, 3, 3), weights: new Float32Array(4).fill(1),
 *   embeddings: Float32Array.from({ length: 16 }, (_, i) => i),
 * });
 * assert.deepEqual([...slotVectors(table, ["graphSpecific"])], [4, 5, 6, 7]);
 * ```
 */
export function slotVectors(codes: TokenTable, slots: readonly Slot[] = codes.slots): Float32Array {
  const { d } = codes.config;
  const places = slots.map((slot) => {
    const place = codes.slots.indexOf(slot);
    if (place < 0) throw new RangeError(`the table has no slot ${slot}; it has ${codes.slots.join(", ")}`);
    return place;
  });
  const all = codes.slots.length * d;
  const result = new Float32Array(codes.size * places.length * d);
  for (let i = 0; i < codes.size; i++) {
    places.forEach((place, k) => {
      const from = i * all + place * d;
      result.set(codes.embeddings.subarray(from, from + d), (i * places.length + k) * d);
    });
  }
  return result;
}

/** Options of {@link pairAUC}. */
export interface PairOptions {
  /** Pairs of each sort at most. Default: 20,000. */
  readonly pairs?: number;
  /** Default: 0. */
  readonly seed?: number;
  /** Default: all of the table's. */
  readonly slots?: readonly Slot[];
}

/**
 * How well the cosine of two codes tells whether they are of one concept: the area under the ROC curve over pairs of one
 * concept and random pairs of two. 0.5 is chance.
 *
 * @param concepts One number per code.
 * @throws {RangeError} Where no two codes are of one concept, or all are.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { medtokConfig, TokenTable } from "tessera/tokenization/mod.ts";
 * const table = new TokenTable({
 *   config: medtokConfig("lite", { K: 1, d: 1, N: 9, heads: 1, modality: "text" }),
 *   codes: [1, 2, 3, 4].map((code) => ({ system: "A", code: `${code}` })),
 *   tokens: new Int32Array(4), weights: new Float32Array(4).fill(1),
 *   embeddings: Float32Array.of(1, 2, -1, -2),
 * });
 * assert.equal(pairAUC(table, [0, 0, 1, 1]), 1);
 * ```
 */
export function pairAUC(codes: TokenTable, concepts: ArrayLike<number>, options: PairOptions = {}): number {
  const { pairs = 20_000, seed = 0, slots = codes.slots } = options;
  const vectors = unitVectors(slotVectors(codes, slots), codes.size);
  const width = vectors.length / codes.size;
  const draw = random(seed, "pairs");
  const members = [...Map.groupBy(Array.from(concepts, (concept, i) => [concept, i]), ([concept]) => concept).values()]
    .map((group) => group.map(([, i]) => i));
  const same = members.flatMap((group) => group.flatMap((a, k) => group.slice(k + 1).map((b) => [a, b])));
  if (same.length === 0 || members.length < 2) {
    throw new RangeError(
      `pairs of one concept and of two are needed, but ${codes.size} codes have ${members.length} concepts`,
    );
  }
  const chosen = same.length > pairs ? draw.shuffle(same).slice(0, pairs) : same;
  const other: number[][] = [];
  while (other.length < chosen.length) {
    const [a, b] = [draw.integer(codes.size), draw.integer(codes.size)];
    if (concepts[a] !== concepts[b]) other.push([a, b]);
  }
  const cosine = ([a, b]: number[]) => {
    let sum = 0;
    for (let k = 0; k < width; k++) sum += vectors[a * width + k] * vectors[b * width + k];
    return sum;
  };
  const both = [...chosen, ...other];
  return auroc(both.map((_, i) => Number(i < chosen.length)), both.map(cosine));
}

function unitVectors(vectors: Float32Array, count: number): Float32Array {
  const width = vectors.length / count;
  const unit = vectors.slice();
  for (let i = 0; i < count; i++) {
    let square = 0;
    for (let k = 0; k < width; k++) square += unit[i * width + k] ** 2;
    const length = Math.sqrt(Math.max(square, 1e-24));
    for (let k = 0; k < width; k++) unit[i * width + k] /= length;
  }
  return unit;
}

/** Options of {@link crossSystemHits}. */
export interface HitOptions {
  /** Default: all of the table's. */
  readonly slots?: readonly Slot[];
}

/**
 * For each code of one system, the nearest of another by cosine: how often it is right.
 *
 * @param isRight Whether two places of the table mean the same.
 * @returns The rate, the number of codes asked, and the rate of a random answer.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { medtokConfig, TokenTable } from "tessera/tokenization/mod.ts";
 * const table = new TokenTable({
 *   config: medtokConfig("lite", { K: 1, d: 2, N: 9, heads: 1, modality: "text" }),
 *   codes: [["A", "1"], ["B", "1"], ["B", "2"]].map(([system, code]) => ({ system, code })),
 *   tokens: new Int32Array(3), weights: new Float32Array(3).fill(1),
 *   embeddings: Float32Array.of(1, 0, 2, 0, 0, 3),
 * });
 * assert.deepEqual(crossSystemHits(table, "A", "B", (a, b) => a === 0 && b === 1), { rate: 1, asked: 1, chance: 0.5 });
 * ```
 */
export function crossSystemHits(
  codes: TokenTable,
  from: string,
  to: string,
  isRight: (a: number, b: number) => boolean,
  { slots = codes.slots }: HitOptions = {},
): { rate: number; asked: number; chance: number } {
  const placesOf = (system: string) => codes.codes.flatMap((code, i) => code.system === system ? [i] : []);
  const [asking, answers] = [placesOf(from), placesOf(to)];
  for (const [system, places] of [[from, asking], [to, answers]] as const) {
    if (places.length === 0) throw new RangeError(`no code of the table is of the system ${system}`);
  }
  const vectors = unitVectors(slotVectors(codes, slots), codes.size);
  const width = vectors.length / codes.size;
  const rowsOf = (places: number[]) => {
    const rows = new Float32Array(places.length * width);
    places.forEach((place, i) => rows.set(vectors.subarray(place * width, (place + 1) * width), i * width));
    return tf.tensor2d(rows, [places.length, width]);
  };
  const all = rowsOf(answers);
  let hits = 0, chance = 0;
  for (let start = 0; start < asking.length; start += BLOCK) {
    const part = asking.slice(start, start + BLOCK);
    const best = tidy(() => tf.matMul(rowsOf(part), all, false, true).argMax(1).dataSync());
    part.forEach((a, i) => {
      if (isRight(a, answers[best[i]])) hits++;
      chance += answers.reduce((count, b) => count + Number(isRight(a, b)), 0) / answers.length;
    });
  }
  all.dispose();
  return { rate: hits / asking.length, asked: asking.length, chance: chance / asking.length };
}

/** Rows compared at once. */
const BLOCK = 1000;

/** Options of {@link probe}. */
export interface ProbeOptions {
  /** Share of the groups that is trained on. Default: 0.6. */
  readonly share?: number;
  /** Default: 0. */
  readonly seed?: number;
  /** Updates. Default: 300. */
  readonly steps?: number;
}

/** What a {@link probe} finds. */
export interface ProbeResult {
  /** On held-out groups. */
  readonly accuracy: number;
  /** Of always naming the class that is most frequent among the held-out ones. */
  readonly majority: number;
  readonly classes: number;
}

/**
 * A linear probe: a logistic regression that is trained on some groups (concepts) and tested on others, so that nothing can
 * be learnt by heart. Inputs are standardised; the penalty is that of scikit-learn's default.
 *
 * Alain & Bengio, "Understanding intermediate layers using linear classifier probes", arXiv:1610.01644.
 *
 * @param vectors [examples, width]
 * @param labels From 0.
 * @param groups One per example.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const labels = Array.from({ length: 40 }, (_, i) => i % 2);
 * const vectors = Float32Array.from(labels, (label) => label === 1 ? 1 : -1);
 * assert.equal(probe(vectors, labels, labels.map((_, i) => i)).accuracy, 1);
 * ```
 */
export function probe(
  vectors: Float32Array,
  labels: ArrayLike<number>,
  groups: ArrayLike<number>,
  { share = 0.6, seed = 0, steps = 300 }: ProbeOptions = {},
): ProbeResult {
  const count = labels.length, width = vectors.length / count;
  const distinct = random(seed, "probe").shuffle([...new Set(Array.from(groups))]);
  const inTraining = new Set(distinct.slice(0, Math.round(share * distinct.length)));
  const places = Array.from({ length: count }, (_, i) => i);
  const [train, test] = [true, false].map((side) => places.filter((i) => inTraining.has(groups[i]) === side));
  const classes = Math.max(...Array.from(labels)) + 1;
  const mean = new Float64Array(width), square = new Float64Array(width);
  for (const i of train) {
    for (let k = 0; k < width; k++) {
      mean[k] += vectors[i * width + k] / train.length;
      square[k] += vectors[i * width + k] ** 2 / train.length;
    }
  }
  const rowsOf = (some: number[]) =>
    tf.tensor2d(
      Float32Array.from({ length: some.length * width }, (_, at) => {
        const k = at % width;
        const spread = Math.sqrt(Math.max(square[k] - mean[k] ** 2, 1e-12));
        return (vectors[some[Math.floor(at / width)] * width + k] - mean[k]) / spread;
      }),
      [some.length, width],
    );
  const x = rowsOf(train);
  const y = tidy(() => tf.oneHot(tf.tensor1d(train.map((i) => labels[i]), "int32"), classes).cast("float32"));
  const weights = { weight: tf.variable(tf.zeros([width, classes])), bias: tf.variable(tf.zeros([classes])) };
  const penalty = 0.5 / train.length;
  const step = trainStep(
    (x: tf.Tensor, y: tf.Tensor) => {
      const logits = tf.add(tf.matMul(x as tf.Tensor2D, weights.weight as tf.Tensor2D), weights.bias);
      const loss = tf.logSoftmax(logits).mul(y).sum(1).mean().neg();
      return loss.add(weights.weight.square().sum().mul(penalty));
    },
    adam({ learningRate: 0.05 }),
    weights,
  );
  for (let i = 0; i < steps; i++) tf.dispose(step(x, y) as Record<string, tf.Tensor>);
  const guesses = tidy(() =>
    tf.add(tf.matMul(rowsOf(test), weights.weight as tf.Tensor2D), weights.bias).argMax(1).dataSync()
  );
  step.dispose();
  tf.dispose([x, y, weights.weight, weights.bias]);
  const frequency = new Array(classes).fill(0);
  for (const i of test) frequency[labels[i]]++;
  return {
    accuracy: test.filter((i, k) => guesses[k] === labels[i]).length / test.length,
    majority: Math.max(...frequency) / test.length,
    classes,
  };
}

/**
 * How much of an embedding its tokens keep: the mean ‖z − q‖² of each slot, where z is the embedding scaled to length 1 and q
 * the weighted sum of its unit codewords. 0: nothing is lost; 1: as if there were no tokens.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { MedTok, medtokConfig, plantedWorld, wordVectors } from "tessera/tokenization/mod.ts";
 * const { codes, graph } = plantedWorld({ concepts: 4 });
 * const config = medtokConfig("lite", { nodeRows: graph.nodes.length + 2 });
 * const tokenizer = MedTok.untrained({ config, encoder: wordVectors(), graph });
 * const { textShared } = await reconstructionError(tokenizer, codes);
 * assert.ok(textShared! > 0.1 && textShared! < 1); // codewords that have learnt nothing
 * tokenizer.dispose();
 * ```
 */
export async function reconstructionError(
  tokenizer: MedTok,
  codes: readonly CodeInput[],
): Promise<Partial<Record<Slot, number>>> {
  const slots = slotsOf(tokenizer.config);
  const errors = await tokenizer.reconstructionErrors(codes);
  return Object.fromEntries(slots.map((slot, s) => [
    slot,
    mean(codes.map((_, i) => errors[i * slots.length + s])),
  ]));
}

/** A factor that is hidden in codes: its value for each. */
export interface Factor {
  readonly name: string;
  readonly values: ArrayLike<number>;
}

/** What {@link leakReport} returns. */
export interface LeakReport {
  /** How well each factor is read out of each slot. */
  readonly probes: readonly (ProbeResult & { readonly slot: Slot; readonly factor: string })[];
  /** Mean cosine of the two shared vectors of one code, and of two random codes; absent without shared slots. */
  readonly matched?: number;
  readonly unmatched?: number;
  /** Share of tokens that both shared slots of a code have in common. */
  readonly overlap?: number;
}

/**
 * What each slot knows: a probe per factor and slot, and how alike the two shared vectors of a code are.
 *
 * @param groups One per code, the concept: probes are tested on concepts that they have not seen.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { MedTok, medtokConfig, plantedWorld, wordVectors } from "tessera/tokenization/mod.ts";
 * const { codes, graph, planted } = plantedWorld({ concepts: 8 });
 * const config = medtokConfig("lite", { nodeRows: graph.nodes.length + 2 });
 * const tokenizer = MedTok.untrained({ config, encoder: wordVectors(), graph });
 * const table = await tokenizer.encodeBatch(codes);
 * const concept = planted.codes.map((code) => code.concept);
 * const severe = { name: "severity", values: concept.map((i) => Number(planted.concepts[i].severe)) };
 * assert.equal(leakReport(table, [severe], concept, { steps: 5 }).probes.length, 4);
 * tokenizer.dispose();
 * ```
 */
export function leakReport(
  codes: TokenTable,
  factors: readonly Factor[],
  groups: ArrayLike<number>,
  options: ProbeOptions = {},
): LeakReport {
  const probes = codes.slots.flatMap((slot) => {
    const vectors = slotVectors(codes, [slot]);
    return factors.map(({ name, values }) => ({ slot, factor: name, ...probe(vectors, values, groups, options) }));
  });
  const shown = table(probes.map(({ slot, factor, accuracy, majority, classes }) => (
    { slot, factor, accuracy, majority, "1 / classes": 1 / classes }
  )));
  const display = Symbol.for("Jupyter.display");
  const report: LeakReport = codes.slots.includes("textShared") ? { probes, ...sharedLikeness(codes) } : { probes };
  return Object.defineProperty(report, display, { value: () => Reflect.get(shown, display).call(shown) });
}

function sharedLikeness(codes: TokenTable): { matched: number; unmatched: number; overlap: number } {
  const [text, graph] = (["textShared", "graphShared"] as const)
    .map((slot) => unitVectors(slotVectors(codes, [slot]), codes.size));
  const { d, K } = codes.config;
  const cosine = (a: number, b: number) => {
    let sum = 0;
    for (let k = 0; k < d; k++) sum += text[a * d + k] * graph[b * d + k];
    return sum;
  };
  const order = random(0, "leak").permutation(codes.size);
  let matched = 0, unmatched = 0, common = 0;
  for (let i = 0; i < codes.size; i++) {
    matched += cosine(i, i) / codes.size;
    unmatched += cosine(order[i], order[(i + 1) % codes.size]) / codes.size;
    common += tokenOverlap(codes, i, i, "textShared", "graphShared") * K;
  }
  return { matched, unmatched, overlap: common / (codes.size * K) };
}

/**
 * Share of the K tokens that two codes have in common in a slot (or one code in two slots).
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { medtokConfig, TokenTable } from "tessera/tokenization/mod.ts";
 * const table = new TokenTable({
 *   config: medtokConfig("lite", { K: 2, d: 1, N: 9, heads: 1, modality: "text" }),
 *   codes: [{ system: "A", code: "1" }, { system: "A", code: "2" }],
 *   tokens: Int32Array.of(0, 1, 1, 2), weights: new Float32Array(4).fill(0.5), embeddings: new Float32Array(2),
 * });
 * assert.equal(tokenOverlap(table, 0, 1, "textSpecific"), 0.5);
 * ```
 */
export function tokenOverlap(codes: TokenTable, a: number, b: number, slot: Slot, otherSlot: Slot = slot): number {
  const { K } = codes.config;
  const tokensOf = (place: number, of: Slot) => {
    const at = codes.slots.indexOf(of) * K;
    return codes.at(place).tokens.subarray(at, at + K);
  };
  const own = new Set(tokensOf(a, slot));
  return tokensOf(b, otherSlot).filter((token) => own.has(token)).length / K;
}
