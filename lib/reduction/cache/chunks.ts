/**
 * Scores by chunks of neighbouring tokens, and choices chunk by chunk or block by block.
 *
 * ChunkKV: Liu et al., "ChunkKV: Semantic-Preserving KV Cache Compression for Efficient Long-Context LLM Inference", 2025,
 * arXiv:2502.00299, section 3. Blocks: Park et al., "KeyDiff", 2025, arXiv:2504.15364, section 4.2. Checked against kvpress
 * (tests/golden, `chunkkv`, `chunk_press`, `block_press`). ChunkKV differs from it in the budget: theirs keeps whole chunks
 * (`parity: true`), ours the asked number of tokens, so that the last chunk may be cut.
 *
 * @module
 */
import { stableTopK, tf, tidy } from "../../tensor/mod.ts";
import { ascending, bestTokens, takeTokens } from "./heads.ts";
import type { CacheView } from "../../nn/cache_policy.ts";
import { sliceOfView, tokensOfView } from "./part_of_view.ts";
import { partsOfPolicy, policyOf, type ScoredPolicy } from "./policy.ts";
import type { CacheMethod } from "./method.ts";
import { keyDiff } from "./keydiff.ts";
import { snapKV } from "./snapkv.ts";

/**
 * Each token's score becomes that of its chunk, the mean over the chunk's tokens of the sum over heads, and is the same
 * for all heads: [batch, keyHeads, n]. What is left behind the last whole chunk is one more chunk.
 *
 * @param chunk Tokens of a chunk.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * assert.deepEqual(scoreOfChunks(tf.tensor3d([[[1, 3, 5]]]), 2).arraySync(), [[[2, 2, 5]]]);
 * ```
 */
export function scoreOfChunks(score: tf.Tensor3D, chunk: number): tf.Tensor3D {
  const [batch, heads, n] = score.shape;
  return tidy(() => {
    const each = chunkMeans(score, chunk);
    return each.expandDims(2).tile([1, 1, chunk]).reshape([batch, 1, -1]).slice([0, 0, 0], [-1, -1, n])
      .tile<tf.Tensor3D>([1, heads, 1]);
  });
}

/** [batch, chunks] */
function chunkMeans(score: tf.Tensor3D, chunk: number): tf.Tensor2D {
  const [batch, , n] = score.shape, chunks = Math.ceil(n / chunk), last = n - (chunks - 1) * chunk;
  const padded = tf.pad(score.sum<tf.Tensor2D>(1), [[0, 0], [0, chunks * chunk - n]]);
  const counts = tf.tensor2d([Array.from({ length: chunks }, (_, i) => i === chunks - 1 ? last : chunk)]);
  return padded.reshape([batch, chunks, chunk]).sum<tf.Tensor2D>(2).div(counts);
}

/**
 * kvpress' ChunkKV: places of the `floor(chunks x keepRate)` best whole chunks, in order. Reads the scores back, since how
 * many tokens that is depends on whether the rest behind the last whole chunk is among them.
 *
 * @throws {RangeError} Where the rows of a batch keep different numbers of tokens.
 */
export function wholeChunks(score: tf.Tensor3D, chunk: number, keepRate: number): tf.Tensor3D {
  const [batch, heads, n] = score.shape;
  const keep = Math.max(1, Math.trunc(Math.ceil(n / chunk) * keepRate));
  const best = tidy(() => ascending(stableTopK(chunkMeans(score, chunk), keep)));
  const rows = (best.arraySync() as number[][]).map((chosen) =>
    chosen.flatMap((i) => Array.from({ length: Math.min(chunk, n - i * chunk) }, (_, j) => i * chunk + j))
  );
  best.dispose();
  if (rows.some((row) => row.length !== rows[0].length)) {
    throw new RangeError(
      `whole chunks of ${chunk} leave rows of different lengths in a batch of ${batch}; leave parity off, or pass one row`,
    );
  }
  return tidy(() => tf.tensor2d(rows, undefined, "int32").expandDims(1).tile<tf.Tensor3D>([1, heads, 1]));
}

/**
 * Chooses within each chunk of a cache alone: the same share of every one.
 *
 * @param score Scores of some tokens that follow one another, from the place of the first and their number:
 *   [batch, keyHeads, tokens].
 * @param keep How many stay of so many tokens.
 * @returns int32 places, [batch, keyHeads, sum of what stays].
 *
 * @example Of each pair the later one
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const places = chooseInChunks(4, 2, (_, tokens) => tf.range(0, tokens).reshape([1, 1, tokens]), () => 1);
 * assert.deepEqual(places.arraySync(), [[[1, 3]]]);
 * ```
 */
export function chooseInChunks(
  n: number,
  chunk: number,
  score: (from: number, tokens: number) => tf.Tensor3D,
  keep: (tokens: number) => number,
  order: "input" | "score" = "input",
): tf.Tensor3D {
  return tidy(() => {
    const parts: tf.Tensor3D[] = [];
    for (let from = 0; from < n; from += chunk) {
      const tokens = Math.min(chunk, n - from);
      const stay = Math.max(1, Math.min(tokens, keep(tokens)));
      parts.push(bestTokens(score(from, tokens), stay, order).add(tf.scalar(from, "int32")));
    }
    return tf.concat(parts, 2);
  });
}

/**
 * Chooses as a stream would: `keep` candidates, which compete with each next block of tokens. Needs room for keep + block
 * tokens, however long the prompt.
 *
 * @param score Scores of the tokens at some places, int32 [batch, keyHeads, m], which are in order.
 * @returns int32 places, [batch, keyHeads, keep].
 */
export function chooseInBlocks(
  { n, keep, block, batch, heads }: {
    readonly n: number;
    readonly keep: number;
    readonly block: number;
    readonly batch: number;
    readonly heads: number;
  },
  score: (places: tf.Tensor3D) => tf.Tensor3D,
  order: "input" | "score" = "input",
): tf.Tensor3D {
  const range = (from: number, to: number) =>
    tf.range(from, to, 1, "int32").reshape([1, 1, to - from]).tile<tf.Tensor3D>([batch, heads, 1]);
  return tidy(() => {
    let kept = range(0, keep);
    for (let from = keep; from < n; from += block) {
      const candidates = tf.concat([kept, range(from, Math.min(n, from + block))], 2);
      kept = takeTokens(candidates, bestTokens(score(candidates), keep, order));
    }
    return kept;
  });
}

/**
 * ChunkKV around a policy: its score by chunks of tokens, the same tokens in all heads.
 *
 * @param options `chunk`: tokens of a chunk. Default: 20. A cache without a whole chunk is left to the policy.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { snapKV } from "tessera/reduction/cache/mod.ts";
 * assert.equal(chunkKV(snapKV({ keepRate: 0.5 })).name, "chunkkv(snapkv)");
 * ```
 */
export function chunkKV(policy: ScoredPolicy, options: { readonly chunk?: number } = {}): ScoredPolicy {
  const chunk = wholeTokens("chunk", options.chunk ?? 20), { parity } = policy;
  const of: ScoredPolicy["score"]["of"] = (view, keep) => {
    const score = policy.score.of(view, keep);
    return view.tokens < chunk ? score : tidy(() => scoreOfChunks(score, chunk));
  };
  const choose = (view: CacheView, keep: number) =>
    parity && view.tokens >= chunk
      ? wholeChunks(policy.score.of(view, keep), chunk, keep / view.tokens)
      : bestTokens(of(view, keep), keep);
  return policyOf({ ...policy.score, name: `chunkkv(${policy.name})`, of }, { ...partsOfPolicy(policy), choose });
}

/**
 * A policy within each chunk of a cache alone.
 *
 * @param options `chunk`: tokens of a chunk. Default: 1024.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { keyDiff } from "tessera/reduction/cache/mod.ts";
 * assert.equal(inChunks(keyDiff({ keepRate: 0.5 })).name, "keydiff in chunks");
 * ```
 */
export function inChunks(policy: ScoredPolicy, options: { readonly chunk?: number } = {}): ScoredPolicy {
  const chunk = wholeTokens("chunk", options.chunk ?? 1024), { parity } = policy;
  const name = `${policy.name} in chunks`;
  return policyOf({ ...policy.score, name }, {
    ...partsOfPolicy(policy),
    choose: (view, keep) => {
      const rate = keep / view.tokens;
      const stay = (tokens: number) => parity ? Math.trunc(tokens * rate) : Math.round(tokens * rate);
      const score = (from: number, tokens: number) => policy.score.of(sliceOfView(view, from, tokens), stay(tokens));
      return chooseInChunks(view.tokens, chunk, score, stay, parity ? "score" : "input");
    },
  });
}

/**
 * A policy block by block, as if the prompt came as a stream: what is kept so far competes with each next block. As the
 * policy itself where a block is as long as the prompt.
 *
 * @param options `block`: tokens of a block. Default: 128.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { keyDiff } from "tessera/reduction/cache/mod.ts";
 * assert.equal(inBlocks(keyDiff({ keepRate: 0.5 })).name, "keydiff in blocks");
 * ```
 */
export function inBlocks(policy: ScoredPolicy, options: { readonly block?: number } = {}): ScoredPolicy {
  const block = wholeTokens("block", options.block ?? 128), { parity } = policy;
  return policyOf({ ...policy.score, name: `${policy.name} in blocks` }, {
    ...partsOfPolicy(policy),
    choose: (view, keep) => {
      const [batch, heads, n] = view.keys.shape;
      const score = (places: tf.Tensor3D) => policy.score.of(tokensOfView(view, places), keep);
      return chooseInBlocks({ n, keep, block, batch, heads }, score, parity ? "score" : "input");
    },
  });
}

function wholeTokens(name: string, value: number): number {
  if (Number.isInteger(value) && value >= 1) return value;
  throw new RangeError(`${name} is a number of tokens from 1, but it is ${value}; pass a whole number`);
}

/** ChunkKV in the catalogue. */
export const chunkKVMethod: CacheMethod = {
  paper: "Liu et al., ChunkKV, 2025 (around SnapKV)",
  section: "3, arXiv:2502.00299",
  tier: 1,
  traceable: true,
  golden: ["chunkkv"],
  cost: "as the policy inside",
  differs: "from kvpress in the budget, which is met: the last chunk may be cut",
  breaks: { U9: "neighbours share a score" },
  create: (options) => chunkKV(snapKV({ ...options, window: 4 }), { chunk: 4 }),
};

/** A policy chunk by chunk in the catalogue. */
export const inChunksMethod: CacheMethod = {
  paper: "Park et al., KeyDiff, 2025, chunk by chunk",
  section: "4.2, arXiv:2504.15364",
  tier: 1,
  traceable: true,
  golden: ["chunk_press"],
  cost: "as the policy inside",
  differs: "in nothing",
  breaks: { K2: "the budget is rounded chunk by chunk", U9: "chunks follow one another" },
  create: (options) => inChunks(keyDiff(options), { chunk: 8 }),
};

/** A policy block by block in the catalogue. */
export const inBlocksMethod: CacheMethod = {
  paper: "Park et al., KeyDiff, 2025, block by block",
  section: "4.2, arXiv:2504.15364",
  tier: 1,
  traceable: true,
  golden: ["block_press"],
  cost: "as the policy inside, once for each block",
  differs: "in nothing",
  breaks: { U9: "blocks follow one another" },
  create: (options) => inBlocks(keyDiff(options), { block: 8 }),
};
