/**
 * Codebook health: how many codewords are used, how evenly, and whether it has collapsed.
 *
 * @module
 */
import { codebookRegions, type RegionName } from "./codebook.ts";

/** How a region of the codebook is used. */
export interface RegionHealth {
  readonly rows: number;
  /** Rows that occur at least once. */
  readonly used: number;
  /** exp of the entropy of how often each row occurs: the number of rows that, used evenly, would be as diverse. */
  readonly perplexity: number;
  /** The same with every occurrence counted by its weight. */
  readonly weightedPerplexity: number;
  /** Rows that never occur. */
  readonly dead: readonly number[];
  /** Up to ten rows that occur most. */
  readonly top: readonly { readonly row: number; readonly count: number }[];
}

/** How the codebook is used. */
export interface CodebookHealth {
  readonly regions: Readonly<Record<RegionName, RegionHealth>>;
  /** Rows of all regions that are used, of N. */
  readonly used: number;
  readonly rows: number;
  /** Mean weight of the nearest codeword of a slot: 1 / K where the choice is indifferent. */
  readonly firstWeight: number;
  /** What is wrong, a sentence each; empty where nothing is. */
  readonly alarms: readonly string[];
}

/** Below this share of used rows a region counts as collapsed. */
const COLLAPSED = 0.3;

/**
 * Counts codewords.
 *
 * @param tokens [..., K] rows of the codebook.
 * @param weights Of each.
 * @param rows N
 * @param K Codewords per slot.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { regions, alarms } = codebookHealth(Int32Array.of(0, 1, 0, 1), Float32Array.of(0.5, 0.5, 0.5, 0.5), 9, 2);
 * assert.equal(regions.text.used, 2);
 * assert.equal(Math.round(regions.text.perplexity), 2);
 * assert.match(alarms[0], /shared region uses 0 of 3 rows/);
 * ```
 */
export function codebookHealth(tokens: Int32Array, weights: Float32Array, rows: number, K: number): CodebookHealth {
  const counts = new Float64Array(rows), weighted = new Float64Array(rows);
  let first = 0;
  for (let i = 0; i < tokens.length; i++) {
    counts[tokens[i]]++;
    weighted[tokens[i]] += weights[i];
    if (i % K === 0) first += weights[i];
  }
  const regions = {} as Record<RegionName, RegionHealth>;
  const alarms: string[] = [];
  // a model of one modality has tokens in one region only; the others are not collapsed but absent
  const enough = tokens.length >= rows;
  for (
    const [name, { start, count }] of Object.entries(codebookRegions(rows)) as [
      RegionName,
      { start: number; count: number },
    ][]
  ) {
    const own = counts.subarray(start, start + count);
    const order = Array.from(own, (value, i) => ({ row: start + i, count: value })).sort((a, b) => b.count - a.count);
    const used = order.filter((entry) => entry.count > 0).length;
    regions[name] = {
      rows: count,
      used,
      perplexity: perplexity(own),
      weightedPerplexity: perplexity(weighted.subarray(start, start + count)),
      dead: order.filter((entry) => entry.count === 0).map(({ row }) => row).sort((a, b) => a - b),
      top: order.slice(0, 10).filter((entry) => entry.count > 0),
    };
    if (used < COLLAPSED * count && (enough || used === 0)) {
      alarms.push(
        `the ${name} region uses ${used} of ${count} rows; where that is collapse, turn the packing losses on, or lower ` +
          "the learning rate",
      );
    }
  }
  const used = Object.values(regions).reduce((sum, region) => sum + region.used, 0);
  return { regions, used, rows, firstWeight: first / Math.max(1, tokens.length / K), alarms };
}

function perplexity(counts: Float64Array): number {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0) return 0;
  return Math.exp(-counts.reduce((sum, count) => count > 0 ? sum + count / total * Math.log(count / total) : sum, 0));
}
