/**
 * Splits whose test subjects are no near copies of training subjects.
 *
 * Ektefaie et al., "Evaluating generalizability of artificial intelligence models for molecular datasets", Nature Machine
 * Intelligence 6, 2024, doi:10.1038/s42256-024-00931-6 (SPECTRA); the CLEF paper splits patients by it. There a spectral
 * parameter says how many similar subjects are deleted; {@link splitBySimilarity} gives the bound itself.
 *
 * @module
 */
import { random } from "../random.ts";

/** Places of subjects. */
export interface Split {
  readonly train: readonly number[];
  readonly test: readonly number[];
  /** Subjects in neither, because they are too much like some of the other side. */
  readonly dropped: readonly number[];
  /** The highest similarity between a training and a test subject; -Infinity where one side is empty. */
  readonly highest: number;
}

/** Options of the splits. */
export interface SplitOptions {
  readonly count: number;
  /** How alike two subjects are; symmetric. */
  readonly similarity: (a: number, b: number) => number;
  readonly seed: number;
  /** Share of the subjects that shall be tested on. Default: 0.2. */
  readonly testShare?: number;
}

/**
 * The share of what two sets have in common, of all that is in either; two empty sets have nothing in common.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(jaccard(new Set(["a", "b"]), new Set(["b", "c"])), 1 / 3);
 * ```
 */
export function jaccard<T>(a: ReadonlySet<T>, b: ReadonlySet<T>): number {
  const common = [...a].filter((value) => b.has(value)).length;
  const all = a.size + b.size - common;
  return all ? common / all : 0;
}

/**
 * A random split in which no training subject is more similar to a test subject than `most`. Groups of similar subjects go
 * to one side whole; only where a group is too large for the test set are subjects dropped between its parts.
 *
 * Compares all pairs: 2,000 subjects are two million.
 *
 * @throws {RangeError} Where the shares make no sense, or nothing is left to train on.
 *
 * @example Two families of copies
 * ```ts
 * import assert from "node:assert/strict";
 * const family = ["a", "a", "b", "a", "b", "a", "a", "a", "a", "a"];
 * const similarity = (i: number, j: number) => Number(family[i] === family[j]);
 * const split = splitBySimilarity({ count: 10, similarity, seed: 1, most: 0.5 });
 * assert.deepEqual([split.test, split.dropped, split.highest], [[2, 4], [], 0]);
 * ```
 */
export function splitBySimilarity(options: SplitOptions & { readonly most: number }): Split {
  const { count, similarity, seed, testShare = 0.2, most } = options;
  checkShares(count, testShare);
  const from = random(seed, "similarity split");
  const wanted = Math.round(count * testShare);
  const alike = neighbours(count, (a, b) => similarity(a, b) > most);
  const groups = from.shuffle(connected(count, alike));
  const test = new Set<number>();
  for (const group of groups) if (test.size + group.length <= wanted) group.forEach((place) => test.add(place));
  const dropped = new Set<number>();
  // of groups that are too large: one subject after the other, each time the one for which fewest must be dropped
  const order = from.permutation(count);
  const newlyDropped = (place: number) =>
    alike[place].filter((other) => !test.has(other) && !dropped.has(other)).length;
  while (test.size < wanted) {
    const free = order.filter((place) => !test.has(place));
    const next = free.reduce((best, place) => newlyDropped(place) < newlyDropped(best) ? place : best);
    test.add(next);
    dropped.delete(next);
    for (const other of alike[next]) if (!test.has(other)) dropped.add(other);
  }
  const all = Array.from({ length: count }, (_, place) => place);
  const train = all.filter((place) => !test.has(place) && !dropped.has(place));
  if (!train.length) {
    throw new RangeError(
      `every subject is more similar than ${most} to one of the ${test.size} tested, so that none is left to train on; raise most`,
    );
  }
  return { ...sides(train, [...test], similarity), dropped: [...dropped].sort((a, b) => a - b) };
}

/**
 * SPECTRA's split: subjects are kept in random order, and each that is similar to a kept one is deleted with probability
 * `spectral`; those kept are split at random. 0 is a random split, at 1 no similar pair is left.
 *
 * @param threshold Similarity from which two subjects are similar.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const similarity = (i: number, j: number) => Number(i % 5 === j % 5);
 * const split = spectraSplit({ count: 20, similarity, seed: 1, threshold: 0.5, spectral: 1 });
 * assert.equal(split.train.length + split.test.length, 5);
 * ```
 */
export function spectraSplit(
  options: SplitOptions & { readonly threshold: number; readonly spectral: number },
): Split {
  const { count, similarity, seed, testShare = 0.2, threshold, spectral } = options;
  checkShares(count, testShare);
  if (!(spectral >= 0 && spectral <= 1)) {
    throw new RangeError(`the spectral parameter lies in [0, 1], but it is ${spectral}; 0 is a random split`);
  }
  const from = random(seed, "spectra split");
  const alike = neighbours(count, (a, b) => similarity(a, b) >= threshold);
  const deleted = new Set<number>();
  const kept: number[] = [];
  for (const place of from.permutation(count)) {
    if (deleted.has(place)) continue;
    kept.push(place);
    for (const other of alike[place]) if (!kept.includes(other) && from.bernoulli(spectral)) deleted.add(other);
  }
  const tested = Math.round(kept.length * testShare);
  const split = sides(kept.slice(tested), kept.slice(0, tested), similarity);
  return { ...split, dropped: [...deleted].sort((a, b) => a - b) };
}

function checkShares(count: number, testShare: number): void {
  if (!Number.isInteger(count) || count < 2) {
    throw new RangeError(`a split needs two subjects at least, but there are ${count}`);
  }
  if (!(testShare > 0 && testShare < 1)) {
    throw new RangeError(`testShare lies in (0, 1), but it is ${testShare}; take 0.2`);
  }
}

function neighbours(count: number, isAlike: (a: number, b: number) => boolean): number[][] {
  const lists: number[][] = Array.from({ length: count }, () => []);
  for (let a = 0; a < count; a++) {
    for (let b = a + 1; b < count; b++) if (isAlike(a, b)) lists[a].push(b), lists[b].push(a);
  }
  return lists;
}

function connected(count: number, lists: readonly (readonly number[])[]): number[][] {
  const seen = new Set<number>();
  const groups: number[][] = [];
  for (let start = 0; start < count; start++) {
    if (seen.has(start)) continue;
    const group = [start];
    seen.add(start);
    for (const place of group) { // grows while it is gone through
      for (const other of lists[place]) if (!seen.has(other)) seen.add(other), group.push(other);
    }
    groups.push(group);
  }
  return groups;
}

function sides(train: number[], test: number[], similarity: SplitOptions["similarity"]): Omit<Split, "dropped"> {
  let highest = -Infinity;
  for (const a of train) for (const b of test) highest = Math.max(highest, similarity(a, b));
  return { train: train.sort((a, b) => a - b), test: test.sort((a, b) => a - b), highest };
}
