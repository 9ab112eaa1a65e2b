/**
 * The laws of cache policies as functions: what must hold for every method, whatever it computes. The tests run them over
 * the catalogue; a policy written in a notebook can be held to them in the same way.
 *
 * Numbers (K1 ..., U7 ...) are those of the specification of reduction, sections 5.1 and 5.5.
 *
 * @module
 */
import {
  type CacheChange,
  type CachePolicy,
  type CacheView,
  cacheView,
  type ReplayView,
} from "../../nn/cache_policy.ts";
import { applyChange } from "../../nn/kv_cache.ts";
import { random } from "../../random.ts";
import { randomKey, tensorMemory, tf, tidy } from "../../tensor/mod.ts";
import type { CacheMethod, CacheSizes } from "./method.ts";
import type { CacheOptions } from "./policy.ts";

/** The caches of a random prompt, and a method with a budget for them. */
interface Trial {
  readonly seed: number;
  readonly sizes: CacheSizes;
  readonly batch: number;
  readonly views: readonly CacheView[];
  readonly keep: number;
  readonly policy: CachePolicy;
  readonly make: (options: CacheOptions) => CachePolicy;
}

interface Law {
  /** What it says, as a sentence. */
  readonly says: string;
  readonly check: (trial: Trial) => void;
}

/** Every law under its number. */
export const cacheLaws = {
  K1: {
    says: "a budget of everything changes nothing, and nothing is asked for later",
    check: ({ make, views }) => {
      const policy = make({ keepRate: 1 });
      const changed = answersOf(policy, views).some((change) => change && Object.keys(change).length > 0);
      holds(!changed, "something changes");
      holds(!policy.everyStep && policy.positions !== "cache", "it acts at each step");
    },
  },
  K2: {
    says: "as many tokens stay as the budget says, over all heads",
    check: ({ views, policy, keep, batch, sizes }) => {
      const total = answersOf(policy, views).reduce((sum, change, layer) => sum + countOf(change, views[layer]), 0);
      const wanted = keep * batch * sizes.keyHeads * views.length;
      holds(total === wanted, `${total} stay, not ${wanted}`);
    },
  },
  heads: {
    says: "each head keeps the same number of tokens",
    check: ({ views, policy }) =>
      eachAnswer(policy, views, (change) => holds(!change.stays, "heads keep different numbers")),
  },
  order: {
    says: "what stays stands in its order, each token once",
    check: ({ views, policy }) =>
      eachAnswer(policy, views, ({ keep }) => {
        for (const places of (keep?.arraySync() ?? []).flat()) {
          holds(places.every((place, i) => i === 0 || places[i - 1] < place), `the places are ${places}`);
        }
      }),
  },
  keys: {
    says: "the keys of what stays are those that were there",
    check: ({ views, policy }) =>
      eachAnswer(policy, views, (change) => holds(!change.keys && !change.rerotate, "keys are changed")),
  },
  values: {
    says: "the values of what stays are those that were there",
    check: ({ views, policy }) => eachAnswer(policy, views, (change) => holds(!change.values, "values are changed")),
  },
  U7: {
    says: "a batch of several prompts is each prompt alone",
    check: ({ views, policy, batch, seed, sizes }) => {
      if (onlyTies(views)) return;
      const whole = answersOf(policy, views).map((change, layer) => masked(change, views[layer]));
      for (let row = 0; row < batch; row++) {
        const alone = randomViews(seed, sizes, { row }).views;
        for (const [layer, change] of answersOf(policy, alone).entries()) {
          close(
            masked(change, alone[layer]),
            whole[layer].slice([row, 0, 0], [1, -1, -1]),
            `row ${row}, layer ${layer}`,
          );
        }
      }
    },
  },
  U9: {
    says: "what stays does not depend on where it stands",
    check: ({ views, policy, seed }) => {
      if (onlyTies(views)) return;
      const order = random(seed, "shuffle").permutation(views[0].tokens);
      const before = answersOf(policy, views), shuffled = views.map((view) => shuffle(view, order));
      for (const [layer, change] of answersOf(policy, shuffled).entries()) {
        const moved = tf.gather(masked(before[layer], views[layer]), tf.tensor1d(order, "int32"), 2);
        close(masked(change, shuffled[layer]), moved, `layer ${layer}`);
      }
    },
  },
  U10: {
    says: "the same cache gives the same decision, again and again",
    check: ({ views, policy }) => {
      const again = answersOf(policy, views);
      for (const [layer, change] of answersOf(policy, views).entries()) {
        close(masked(change, views[layer]), masked(again[layer], views[layer]), `layer ${layer}`);
      }
    },
  },
  U12: {
    says: "keys of zeros, equal keys and very long ones give no NaN",
    check: ({ policy, seed, sizes }) => {
      for (const factor of [0, "equal", 1e4] as const) {
        const { views } = randomViews(seed, sizes, { factor });
        for (const [layer, change] of answersOf(policy, views).entries()) {
          const { keys, values } = applyChange(views[layer], change ?? {}).layer;
          holds(
            !tf.isNaN(keys).any().dataSync()[0] && !tf.isNaN(values).any().dataSync()[0],
            `NaN from keys ${factor}`,
          );
        }
      }
    },
  },
  U13: {
    says: "no tensor is left over but those of the answer",
    check: ({ views, policy }) => {
      const before = tensorMemory().tensors;
      const changes = answersOf(policy, views);
      const made = changes.reduce(
        (sum, change) => sum + Object.values(change ?? {}).filter((value) => value instanceof tf.Tensor).length,
        0,
      );
      const left = tensorMemory().tensors - before - made;
      holds(left === 0, `${left} tensors are left`);
    },
  },
} as const satisfies Record<string, Law>;

/** The number of a law. */
export type CacheLawId = keyof typeof cacheLaws;

/** Whether a law holds. */
export interface CacheLawResult {
  readonly law: CacheLawId;
  readonly says: string;
  readonly holds: boolean;
  /** Where and how it fails, with the seed. */
  readonly why?: string;
}

/**
 * Holds a method to every law, on the caches of some random prompts: of one to three rows, one to three key heads that
 * serve one to three query heads each, 2 to 64 tokens, budgets of fractions.
 *
 * @param seeds How many. Default: 8.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { cacheCatalogue } from "tessera/reduction/cache/mod.ts";
 * assert.ok(checkCacheLaws(cacheCatalogue.methods.knorm, 1).every(({ holds }) => holds));
 * ```
 */
export function checkCacheLaws({ create }: Pick<CacheMethod, "create">, seeds = 8): CacheLawResult[] {
  return Object.entries(cacheLaws).map(([id, { says, check }]) => {
    const law = id as CacheLawId;
    for (let seed = 1; seed <= seeds; seed++) {
      try {
        tidy(() => (check as (trial: Trial) => void)(trialOf(seed, create)));
      } catch (error) {
        return { law, says, holds: false, why: `seed ${seed}: ${(error as Error).message}` };
      }
    }
    return { law, says, holds: true };
  });
}

function trialOf(seed: number, create: CacheMethod["create"]): Trial {
  const rng = random(seed, "cache laws");
  const keyHeads = rng.choice([1, 2, 3]);
  const sizes = { layers: 2, keyHeads, heads: keyHeads * rng.choice([1, 2, 3]), channels: rng.choice([2, 4, 8]) };
  const { views, batch } = randomViews(seed, sizes);
  const n = views[0].tokens, keepRate = rng.choice([0.3, 0.5, 0.77]);
  const keep = Math.max(1, Math.floor(n * keepRate + 1e-9));
  const make = (options: CacheOptions) => create(options, sizes);
  return { seed, sizes, batch, views, keep, policy: make({ keepRate }), make };
}

/** The caches of a random prompt; of one of its rows alone; with keys of zeros, equal ones or long ones. */
function randomViews(
  seed: number,
  { layers, heads, keyHeads, channels }: CacheSizes,
  { row, factor }: { readonly row?: number; readonly factor?: number | "equal" } = {},
): { views: CacheView[]; batch: number } {
  const rng = random(seed, "cache");
  const batch = rng.choice([1, 2, 3]), n = rng.choice([2, 3, 5, 8, 16, 33, 64]), width = heads * channels;
  const draw = (shape: number[]) => {
    const all = tf.tensor(rng.normals(tf.util.sizeFromShape(shape)), shape);
    return row === undefined ? all : all.slice([row], [1]);
  };
  const changed = (x: tf.Tensor) => {
    if (factor === undefined) return x as tf.Tensor4D;
    return (factor === "equal" ? tf.onesLike(x) : x.mul(factor)) as tf.Tensor4D;
  };
  const weight = (rows: number, columns: number) =>
    tf.tensor2d(rng.normals(rows * columns, 0, columns ** -0.5), [rows, columns]);
  const views = Array.from({ length: layers }, (_, layer) => {
    const keys = changed(draw([batch, keyHeads, n, channels])), values = changed(draw([batch, keyHeads, n, channels]));
    const queries = draw([batch, heads, n, channels]) as tf.Tensor4D;
    const again = draw([batch, keyHeads, n, channels]) as tf.Tensor4D;
    const weights = {
      q: weight(width, width),
      k: weight(keyHeads * channels, width),
      v: weight(keyHeads * channels, width),
      o: weight(width, width),
    };
    const replay: ReplayView = {
      text: Array.from({ length: n }, (_, place) => place),
      hidden: draw([batch, n, width]) as tf.Tensor3D,
      queries: draw([batch, heads, n, channels]) as tf.Tensor4D,
      keys: tf.concat([keys, again], 2),
      values: tf.concat([values, again], 2),
    };
    return cacheView({
      layer,
      layers,
      heads,
      keys,
      values,
      weights,
      queries,
      queriesBeforeRotary: draw([batch, heads, n, channels]) as tf.Tensor4D,
      keysBeforeRotary: keys,
      replays: [replay],
      key: randomKey(seed, layer),
    });
  });
  return { views, batch };
}

/** The view with its tokens in another order, at the same positions. */
function shuffle(view: CacheView, order: readonly number[]): CacheView {
  const index = tf.tensor1d([...order], "int32");
  const { layer, layers, heads, weights, queries, queriesBeforeRotary, replays, key, ropeBase } = view;
  const keys = tf.gather(view.keys, index, 2), values = tf.gather(view.values, index, 2);
  return cacheView({
    layer,
    layers,
    heads,
    keys,
    values,
    ropeBase,
    keysBeforeRotary: keys,
    ...(weights ? { weights } : {}),
    ...(queries ? { queries } : {}),
    ...(queriesBeforeRotary ? { queriesBeforeRotary } : {}),
    ...(replays ? { replays } : {}),
    ...(key ? { key } : {}),
  });
}

function answersOf(policy: CachePolicy, views: readonly CacheView[]): readonly (CacheChange | undefined)[] {
  const answers = policy.afterPrompt?.(views) ?? policy.everySteps?.of(views) ?? [];
  return views.map((_, layer) => answers[layer]);
}

function eachAnswer(policy: CachePolicy, views: readonly CacheView[], check: (change: CacheChange) => void): void {
  for (const change of answersOf(policy, views)) if (change) check(change);
}

/** [batch, keyHeads, n]: 1 where a token stays. */
function masked(change: CacheChange | undefined, { tokens, keys }: CacheView): tf.Tensor3D {
  if (change?.stays) return change.stays.cast("float32");
  if (change?.keep) return tf.oneHot(change.keep, tokens).sum<tf.Tensor3D>(2).cast("float32");
  return tf.ones(keys.shape.slice(0, 3) as [number, number, number]);
}

function countOf(change: CacheChange | undefined, view: CacheView): number {
  return tidy(() => masked(change, view).sum().dataSync()[0]);
}

/** Two keys lie equally far from their mean: to KeyDiff they are equal, but for the last digit. */
function onlyTies(views: readonly CacheView[]): boolean {
  return views[0].tokens < 3;
}

function holds(condition: boolean, why: string): void {
  if (!condition) throw new Error(why);
}

function close(actual: tf.Tensor, expected: tf.Tensor, what: string): void {
  const distance = actual.sub(expected).abs().max().dataSync()[0];
  holds(!(distance > 1e-6), `${what}: they differ by ${distance}`);
}
