/**
 * Parts of a cache as caches of their own: what a method sees that works chunk by chunk or on what another has left.
 *
 * @module
 */
import { type CacheChange, type CacheView, cacheView } from "../../nn/cache_policy.ts";
import { tf } from "../../tensor/mod.ts";
import { takeTokens } from "./heads.ts";

/** Tokens `from` up to `from + tokens` of a view, with the queries of these. */
export function sliceOfView(view: CacheView, from: number, tokens: number): CacheView {
  const part = <T extends tf.Tensor>(x: T, axis = 2): T => {
    const begin = x.shape.map((_, i) => i === axis ? from : 0), size = x.shape.map((_, i) => i === axis ? tokens : -1);
    return tf.slice(x, begin, size) as T;
  };
  const whole = view.queries !== undefined && view.queries.shape[2] === view.tokens;
  return cacheView({
    ...placeAndKeys(view),
    keys: part(view.keys),
    values: part(view.values),
    positions: part(view.positions),
    ...(view.hidden?.shape[1] === view.tokens ? { hidden: part(view.hidden, 1) } : {}),
    ...(whole ? { queries: part(view.queries!) } : {}),
    ...(whole && view.queriesBeforeRotary ? { queriesBeforeRotary: part(view.queriesBeforeRotary) } : {}),
  });
}

/**
 * The tokens at some places, int32 [batch, keyHeads, m], in the order of the places. Queries are all that there are, of
 * which the last belong to the last place.
 */
export function tokensOfView(view: CacheView, places: tf.Tensor3D): CacheView {
  const { queries, queriesBeforeRotary } = view;
  return cacheView({
    ...placeAndKeys(view),
    keys: takeTokens(view.keys, places),
    values: takeTokens(view.values, places),
    positions: takeTokens(view.positions, places),
    ...(queries ? { queries } : {}),
    ...(queriesBeforeRotary ? { queriesBeforeRotary } : {}),
  });
}

function placeAndKeys({ layer, layers, heads, ropeBase, weights, key }: CacheView) {
  return { layer, layers, heads, ropeBase, ...(weights ? { weights } : {}), ...(key ? { key } : {}) };
}

/** The view with the keys and values of an answer. */
export function withChange(view: CacheView, { keys, values }: CacheChange): CacheView {
  if (!keys && !values) return view;
  // getters stay getters
  const given = Object.entries({ keys, values }).filter(([, value]) => value !== undefined);
  return Object.create(view, Object.fromEntries(given.map(([name, value]) => [name, { value, enumerable: true }])));
}
