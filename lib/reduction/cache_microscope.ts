/**
 * Looking at cache policies at work: runs a model with a policy, and notes at each time which head still holds which token,
 * and how much of the attention that it would pay is on tokens that it has dropped.
 *
 * @module
 */
import { type CachePolicy, generate, type Generation, type Llama } from "../nn/mod.ts";
import { cacheFigure, type CacheFrame, type Figure } from "../plot/mod.ts";
import { tf, tidy } from "../tensor/mod.ts";

/** How a cache is looked at. */
export interface CacheLookOptions {
  /** Default: everything is kept. */
  readonly cache?: CachePolicy;
  /** Tokens to make. Default: 32. */
  readonly maxTokens?: number;
  /** After how many tokens the cache is looked at again. Default: so that there are eight times. */
  readonly every?: number;
}

/** A cache over time. */
export interface CacheLook {
  readonly frames: readonly CacheFrame[];
  /** "0.1": layer 0, key head 1. */
  readonly heads: readonly string[];
  readonly made: Generation;
}

/**
 * Makes text and looks at the cache meanwhile.
 *
 * The attention lost is that of the same text with the full cache: of what the next token's queries would look at, the
 * share on what the head has dropped, mean over the queries of its group.
 *
 * @param prompt Tokens.
 * @throws {RangeError} If the policy turns keys to new positions, so that where they stood is no longer known.
 *
 * @example A policy that keeps everything loses nothing
 * ```ts
 * import assert from "node:assert/strict";
 * import { Llama } from "tessera/nn/mod.ts";
 * const { frames } = await cacheOverTime(await Llama.load("stories260k"), [1, 403, 407], { maxTokens: 3, every: 2 });
 * assert.deepEqual(frames.map(({ time }) => time), [3, 5]);
 * assert.ok(frames.every(({ lost }) => Array.from(lost).every((share) => share === 0)));
 * ```
 */
export async function cacheOverTime(
  model: Llama,
  prompt: readonly number[],
  { cache, maxTokens = 32, every = Math.max(1, Math.floor((maxTokens - 1) / 7)) }: CacheLookOptions = {},
): Promise<CacheLook> {
  const times: { time: number; held: Uint8Array[] }[] = [];
  const made = await generate(model, prompt, {
    cache,
    maxTokens,
    stopAtEnd: false,
    watch: ({ layers, next }, step) => {
      if (step % every !== 0) return;
      const time = prompt.length + step;
      if (cache?.positions !== "cache" && next.dataSync().some((position) => position !== time)) {
        throw new RangeError(
          `${cache?.name} turns keys to new positions, so that where they stood is not known; look at it without that`,
        );
      }
      times.push({ time, held: layers.flatMap(({ positions }) => heldBy(positions, model.keyHeads, time)) });
    },
  });
  const { depth, heads } = model.config, group = heads / model.keyHeads;
  const text = tf.tensor2d([[...prompt, ...made.tokens]], undefined, "int32");
  const maps = tidy(() =>
    model.forward(text, { attention: true }).attention.map((map) => {
      const [, , count] = map.shape; // mean over the queries that share a head of keys
      return map.reshape([model.keyHeads, group, count, count]).mean(1).dataSync() as Float32Array;
    })
  );
  text.dispose();
  const count = prompt.length + made.tokens.length;
  const frames = times.map(({ time, held }): CacheFrame => ({
    time,
    held,
    lost: held.map((row, index) => {
      const map = maps[Math.floor(index / model.keyHeads)];
      const from = ((index % model.keyHeads) * count + time) * count; // the row of the token that comes next
      let lost = 0;
      for (let at = 0; at < time; at++) if (!row[at]) lost += map[from + at];
      return lost;
    }),
  }));
  const names = Array.from(
    { length: depth * model.keyHeads },
    (_, index) => `${Math.floor(index / model.keyHeads)}.${index % model.keyHeads}`,
  );
  return { frames, heads: names, made };
}

/** For each head of the first text, 1 where it holds the token of that position. */
function heldBy(positions: tf.Tensor3D, keyHeads: number, time: number): Uint8Array[] {
  const slots = positions.shape[2], at = positions.dataSync();
  return Array.from({ length: keyHeads }, (_, head) => {
    const held = new Uint8Array(time);
    for (const position of at.subarray(head * slots, (head + 1) * slots)) if (position >= 0) held[position] = 1;
    return held;
  });
}

/**
 * The microscope over a cache: heads and tokens, with a slider over time, and the attention that each head has lost.
 *
 * @param prompt A text, where the model has a tokenizer, or tokens.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { Llama } from "tessera/nn/mod.ts";
 * const fig = await cacheMicroscope(await Llama.load("stories260k"), "Once upon a time", { maxTokens: 2 });
 * assert.match(fig.alt, /^Cache of 20 heads .* 0 % of the attention/);
 * ```
 */
export async function cacheMicroscope(
  model: Llama,
  prompt: string | readonly number[],
  { title, ...options }: CacheLookOptions & { readonly title?: string } = {},
): Promise<Figure> {
  const { tokenizer } = model;
  if (typeof prompt === "string" && !tokenizer) {
    throw new TypeError("a prompt as text needs a model with a tokenizer; pass tokens, or a tokenizer to the model");
  }
  const begin = tokenizer?.begin === undefined ? [] : [tokenizer.begin];
  const tokens = typeof prompt === "string" ? [...begin, ...tokenizer!.encode(prompt)] : prompt;
  const { frames, heads, made } = await cacheOverTime(model, tokens, options);
  return cacheFigure(frames, {
    heads,
    prompt: tokens.length,
    ...(title === undefined ? {} : { title }),
    ...(tokenizer ? { tokens: [...tokens, ...made.tokens].map((token) => tokenizer.decode([token])) } : {}),
  });
}
