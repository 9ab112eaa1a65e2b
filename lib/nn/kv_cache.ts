/**
 * The cache of keys and values of a decoder: how a prompt fills it, how a policy's answer is applied to it, what it takes
 * in bytes, and how it is looked at.
 *
 * A cache has slots. Each of them holds one token's key and value in one head, and the position at which the token stood;
 * -1 marks a slot that is empty. Heads may hold different tokens, and different numbers of them: what is empty is masked.
 * The number of slots, the capacity, is one of few (see {@link capacityFor}), so that few functions are compiled.
 *
 * @module
 */
import { compile, type Compiled, foldIn, gatherTokens, stableTopK, tf, tidy } from "../tensor/mod.ts";
import {
  type CacheChange,
  type CachePlace,
  type CachePolicy,
  type CacheView,
  cacheView,
  type ReplayView,
  turnKeys,
} from "./cache_policy.ts";
import { causalRows, type Llama } from "./llama.ts";

/** The cache of one layer. */
export interface LayerCache {
  /** [batch, key heads, slots, channels]; not yet turned, where the policy's positions are "cache". */
  readonly keys: tf.Tensor4D;
  /** [batch, key heads, slots, channels] */
  readonly values: tf.Tensor4D;
  /** [batch, key heads, slots]: where each stood in the text, -1 where a slot is empty. */
  readonly positions: tf.Tensor3D;
  /** [batch, key heads, slots, ...]: what a policy keeps beside each slot. */
  readonly memory?: tf.Tensor;
  /** [batch, rows, width]: hidden states of the last tokens, where a policy asked for them. */
  readonly recent?: tf.Tensor3D;
}

/** The cache of all layers. */
export interface KVCache {
  readonly layers: readonly LayerCache[];
  /** [layers]: the position of the next token in each layer; they differ where keys were turned to new positions. */
  readonly next: tf.Tensor1D;
  /** Slots that may be in use, at most, in each layer. */
  readonly used: readonly number[];
  /** Bytes of one key head's slots, by their number, in each layer. */
  readonly bytes: readonly ((slots: number) => number)[];
}

/** A prompt that has been read. */
export interface Prompted {
  /** [batch, vocabulary]: what follows its last token. */
  readonly logits: tf.Tensor2D;
  readonly cache: KVCache;
}

/** Options of {@link readPrompt}. */
export interface ReadOptions {
  /** Default: everything is kept. */
  readonly cache?: CachePolicy | undefined;
  /** Key of the random numbers that a policy may ask for, see `randomKey`. */
  readonly key?: tf.Tensor1D | undefined;
}

/** What a compiled reading of a prompt gives for each layer. */
interface LayerStates {
  readonly hidden: tf.Tensor3D;
  readonly queries: tf.Tensor4D;
  readonly keys: tf.Tensor4D;
  readonly values: tf.Tensor4D;
}

type Reading = { readonly logits: tf.Tensor2D; readonly layers: LayerStates[] };

/** Functions compiled for a model, as long as the model lives. */
const readers = new WeakMap<Llama, Compiled<[tf.Tensor2D, tf.Tensor1D], Reading>>();
const continuers = new WeakMap<Llama, Compiled<[tf.Tensor2D, KVLayers, tf.Tensor1D], Continued>>();

/**
 * Numbers of slots for which functions are compiled: 16, 24, 32, 48, 64, 96, 128, ...; the smallest that is enough.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual([1, 17, 64, 65, 300].map((slots) => capacityFor(slots)), [16, 24, 64, 96, 384]);
 * ```
 */
export function capacityFor(slots: number): number {
  let power = 16;
  while (power < slots) power *= 2;
  return power > 16 && power * 0.75 >= slots ? power * 0.75 : power;
}

/**
 * Reads a prompt with full attention, then asks the policy what of it stays.
 *
 * The prompt is padded to a length of {@link capacityFor} for the compiled model (what comes later changes nothing that
 * comes before); the policy sees its own length.
 *
 * @param tokens [batch][tokens], rows of one length.
 * @throws {RangeError} If there is no prompt, its rows differ in length, or it is longer than the model's context.
 * @throws {NeedsMissing} If the policy needs what the model does not give.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { random } from "tessera/random.ts";
 * import { Llama } from "tessera/nn/mod.ts";
 * const sizes = { vocabulary: 5, width: 4, depth: 1, heads: 2, keyHeads: 1, mlpWidth: 4, context: 8 };
 * const { cache } = readPrompt(Llama.create(sizes, random(1)), [[1, 2, 3]]);
 * assert.deepEqual(cache.layers[0].keys.shape, [1, 1, 3, 2]);
 * assert.deepEqual(cache.layers[0].positions.arraySync(), [[[0, 1, 2]]]);
 * ```
 */
export function readPrompt(
  model: Llama,
  tokens: readonly (readonly number[])[],
  { cache: policy, key }: ReadOptions = {},
): Prompted {
  const length = refusePrompt(model, tokens);
  return tidy(() => {
    const { logits, layers } = padded(model, tokens, length);
    const views = layers.map((states, layer): CacheView =>
      cacheView({ ...partsOf(model, layer, states, length), ...(key ? { key: foldIn(key, layer) } : {}) })
    );
    const asked = policy?.replay ? withReplays(model, views, tokens.map((row) => policy.replay!(row))) : views;
    const changes = policy?.afterPrompt?.(asked) ?? [];
    const remember = policy?.everySteps ? Math.min(policy.everySteps.remember ?? 1, length) : 0;
    const done = views.map((view, layer) => {
      const change = changes[layer];
      const kept = applyChange(view, change);
      const keys = policy?.positions === "cache"
        ? turnKeys(kept.layer.keys, kept.layer.positions.neg(), view.ropeBase)
        : kept.layer.keys;
      const recent = remember > 0 ? { recent: lastOf(view.hidden!, remember) } : {};
      return { ...kept, layer: { ...kept.layer, keys, ...recent } };
    });
    return {
      logits,
      cache: {
        layers: done.map(({ layer }) => layer),
        next: tf.tensor1d(done.map(({ next }) => next ?? length), "float32"),
        used: done.map(({ layer }) => layer.keys.shape[2]),
        bytes: done.map(({ bytes }) => bytes),
      },
    };
  });
}

/** Checks a prompt; gives its length. */
function refusePrompt(model: Llama, tokens: readonly (readonly number[])[]): number {
  const length = tokens[0]?.length ?? 0;
  model.refuseLength(length, "the prompt");
  const other = tokens.find((row) => row.length !== length);
  if (other) {
    throw new RangeError(
      `prompts of one batch must have one length, but they have ${length} and ${other.length} tokens; ` +
        "read them one by one",
    );
  }
  const { vocabulary } = model.config;
  const strange = tokens.flat().find((token) => !Number.isInteger(token) || token < 0 || token >= vocabulary);
  if (strange === undefined) return length;
  throw new RangeError(
    `a token must lie in 0 to ${vocabulary - 1}, but one is ${strange}; encode the prompt with this model's tokenizer`,
  );
}

/** Runs the model over a prompt, filled up to a length for which it may be compiled already. */
function padded(model: Llama, tokens: readonly (readonly number[])[], length: number): Reading {
  const { depth } = model.config;
  let read = readers.get(model);
  if (!read) {
    const { heads } = model.config, group = heads / model.keyHeads;
    const readAll = (rows: tf.Tensor2D, last: tf.Tensor1D): Reading => {
      const count = rows.shape[1];
      const mask = causalRows(count, group);
      const positions = tf.range(0, count, 1, "float32").expandDims<tf.Tensor2D>(0);
      const layers: LayerStates[] = [];
      let x = model.embed(rows);
      for (let layer = 0; layer < depth; layer++) {
        const done = model.block(layer, x, positions, ({ keys, values }) => ({ keys, values, mask }));
        const { hidden, queries, keys, values } = done.own;
        layers.push({ hidden, queries, keys, values });
        x = done.x;
      }
      const end = tf.gather(x, last, 1) as tf.Tensor3D; // the head is costly: for the last token only
      return { logits: model.head(end).squeeze<tf.Tensor2D>([1]), layers };
    };
    read = compile(readAll, { xla: false });
    readers.set(model, read);
  }
  const capacity = Math.min(capacityFor(length), model.config.context);
  const filled = tokens.map((row) => [...row, ...Array(Math.max(capacity - length, 0)).fill(0)]);
  return read(tf.tensor2d(filled, undefined, "int32"), tf.tensor1d([length - 1], "int32"));
}

function partsOf(model: Llama, layer: number, states: LayerStates, length: number) {
  const { heads, depth, ropeBase = 10000 } = model.config;
  const { q_proj, k_proj, v_proj, o_proj } = model.weights.layers[layer].self_attn;
  const first = <T extends tf.Tensor>(x: T) => { // without the padding
    if (x.shape.at(-2) === length) return x;
    const begin = x.shape.map(() => 0), size: number[] = x.shape.map(() => -1);
    size[x.rank - 2] = length;
    return x.slice(begin, size) as T;
  };
  return {
    layer,
    layers: depth,
    heads,
    ropeBase,
    hidden: first(states.hidden),
    queries: first(states.queries),
    keys: first(states.keys),
    values: first(states.values),
    weights: { q: q_proj.weight, k: k_proj.weight, v: v_proj.weight, o: o_proj.weight },
  };
}

/** [batch, rows, width]: the last rows. */
function lastOf(hidden: tf.Tensor3D, rows: number): tf.Tensor3D {
  return hidden.slice([0, hidden.shape[1] - rows, 0], [-1, -1, -1]);
}

/** The views with the readings of each text, against all of the prompt. Each prompt of a batch has texts of its own. */
function withReplays(
  model: Llama,
  views: readonly CacheView[],
  texts: readonly (readonly (readonly number[])[])[],
): CacheView[] {
  const whole: KVLayers = views.map(({ keys, values, positions }) => ({ keys, values, positions }));
  const length = views[0].tokens;
  const next = tf.fill([views.length], length) as tf.Tensor1D;
  const replays = texts[0].map((text, index) => {
    model.refuseLength(length + text.length, "the prompt with a text that repeats it");
    const rows = tf.tensor2d(texts.map((ofPrompt) => [...ofPrompt[index]]), undefined, "int32");
    const { layers } = continuer(model)(rows, whole, next);
    return layers.map((states, layer): ReplayView => ({
      text,
      hidden: states.hidden,
      queries: states.queries,
      keys: tf.concat([views[layer].keys, states.keys], 2) as tf.Tensor4D,
      values: tf.concat([views[layer].values, states.values], 2) as tf.Tensor4D,
    }));
  });
  return views.map((view, layer) =>
    // getters stay getters
    Object.create(view, { replays: { value: replays.map((layers) => layers[layer]), enumerable: true } }) as CacheView
  );
}

/** A layer after a policy's answer. */
export interface Changed {
  /** Exactly as many slots as the longest head has. */
  readonly layer: LayerCache;
  /** Position of the next token, where it is no longer the one after the text's last. */
  readonly next: number | undefined;
  readonly bytes: (slots: number) => number;
}

/**
 * Applies a policy's answer to a layer: slots are gathered, heads of different lengths padded and masked, keys turned.
 * Reads one number back where heads may have different lengths.
 *
 * @throws {RangeError} If the answer is none: both `keep` and `stays`, or keys to be turned in heads of different lengths.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * import { cacheView } from "tessera/nn/mod.ts";
 * const x = tf.tensor4d([[[[1, 0], [2, 0], [3, 0]]]]);
 * const { layer } = applyChange(cacheView({ keys: x, values: x }), { keep: tf.tensor3d([[[0, 2]]], [1, 1, 2], "int32") });
 * assert.deepEqual(layer.values.arraySync(), [[[[1, 0], [3, 0]]]]);
 * assert.deepEqual(layer.positions.arraySync(), [[[0, 2]]]);
 * ```
 */
export function applyChange(view: CacheView, change: CacheChange = {}): Changed {
  const { keep, stays, rerotate = false } = change;
  if (keep && stays) {
    throw new RangeError("a cache policy says either keep or stays, but it says both; leave one of them out");
  }
  if (rerotate && !keep) {
    throw new RangeError(
      "keys are turned to new positions where all heads keep the same number of slots, but there is no keep; " +
        "answer with keep, or leave rerotate out",
    );
  }
  const bytes = change.bytes ?? ((slots: number) => slots * 2 * view.channels * Float32Array.BYTES_PER_ELEMENT);
  return tidy(() => {
    const keys = change.keys ?? view.keys, values = change.values ?? view.values;
    const memory = change.memory ? { memory: change.memory } : {};
    const whole: LayerCache = { keys, values, positions: view.positions, ...memory };
    if (stays) return { layer: packHeads(whole, stays), next: undefined, bytes };
    if (!keep) return { layer: whole, next: undefined, bytes };
    const kept = gatherSlots(whole, keep);
    if (!rerotate) return { layer: kept, next: undefined, bytes };
    const n = keep.shape[2];
    const ranks = tf.range(0, n, 1, "float32").reshape([1, 1, n]).tile<tf.Tensor3D>([keep.shape[0], keep.shape[1], 1]);
    const turned = turnKeys(kept.keys, ranks.sub(kept.positions), view.ropeBase);
    return { layer: { ...kept, keys: turned, positions: ranks }, next: n, bytes };
  });
}

/** The slots of each head that `index`, int32 [batch, key heads, n], names. */
function gatherSlots(layer: LayerCache, index: tf.Tensor3D): LayerCache {
  const [batch, keyHeads, n] = index.shape;
  const flat = index.reshape<tf.Tensor2D>([batch * keyHeads, n]);
  const of = <T extends tf.Tensor>(x: T): T => {
    const [, , slots = 0, ...rest] = x.shape;
    const channels = rest.reduce((product, side) => product * side, 1);
    const rows = x.reshape<tf.Tensor3D>([batch * keyHeads, slots, channels]);
    return gatherTokens(rows, flat).reshape([batch, keyHeads, n, ...rest]) as T;
  };
  const { keys, values, positions, memory } = layer;
  return { keys: of(keys), values: of(values), positions: of(positions), ...(memory ? { memory: of(memory) } : {}) };
}

/** Each head's staying slots first, in their order; as many slots as the longest head needs, the rest empty. */
function packHeads(layer: LayerCache, stays: tf.Tensor3D): LayerCache {
  const [batch, keyHeads, tokens] = stays.shape;
  const alive = stays.cast("float32");
  const most = Math.max(1, alive.sum(2).max().dataSync()[0]);
  const order = stableTopK(alive.reshape<tf.Tensor2D>([batch * keyHeads, tokens]), most);
  const index = order.reshape<tf.Tensor3D>([batch, keyHeads, most]);
  const packed = gatherSlots({ ...layer, positions: tf.where(alive.cast("bool"), layer.positions, -1) }, index);
  return packed;
}

/** A layer's tensors that tokens look at. */
type KVLayers = readonly Pick<LayerCache, "keys" | "values" | "positions">[];

interface Continued {
  readonly logits: tf.Tensor3D;
  readonly layers: LayerStates[];
}

function continuer(model: Llama): Compiled<[tf.Tensor2D, KVLayers, tf.Tensor1D], Continued> {
  const known = continuers.get(model);
  if (known) return known;
  const goOn = (tokens: tf.Tensor2D, cached: KVLayers, next: tf.Tensor1D): Continued => {
    const [batch, count] = tokens.shape;
    const group = model.config.heads / model.keyHeads;
    const layers: LayerStates[] = [];
    let x = model.embed(tokens);
    for (const [layer, { keys, values, positions }] of cached.entries()) {
      const at = tf.range(0, count, 1, "float32").add(next.slice(layer, 1)).expandDims<tf.Tensor2D>(0);
      const slots = keys.shape[2];
      const old = tf.greaterEqual(positions, 0).cast("float32").reshape([batch, model.keyHeads, 1, slots])
        .tile([1, 1, group * count, 1]);
      const own = causalRows(count, group).tile([batch, model.keyHeads, 1, 1]);
      const mask = tf.concat([old, own], 3);
      const done = model.block(layer, x, at, (mine) => ({
        keys: tf.concat([keys, mine.keys], 2) as tf.Tensor4D,
        values: tf.concat([values, mine.values], 2) as tf.Tensor4D,
        mask,
      }));
      const { hidden, queries, keys: made, values: also } = done.own;
      layers.push({ hidden, queries, keys: made, values: also });
      x = done.x;
    }
    return { logits: model.head(x), layers };
  };
  const compiled = compile(goOn, { xla: false, maxTraces: 32 });
  continuers.set(model, compiled);
  return compiled;
}

/**
 * What a model says after each of some tokens that follow a cache, all at once. The cache stays as it is.
 *
 * For policies that decide after the prompt; what one decides in later steps has no place here.
 *
 * @param tokens int32, [batch, tokens]
 * @returns [batch, tokens, vocabulary]
 *
 * @example A text in two parts gives what it gives as a whole
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * import { random } from "tessera/random.ts";
 * import { Llama, readPrompt } from "tessera/nn/mod.ts";
 * const model = Llama.create({ vocabulary: 5, width: 4, depth: 1, heads: 2, mlpWidth: 4, context: 8 }, random(1));
 * const whole = model.forward(tf.tensor2d([[1, 2, 3]], [1, 3], "int32")).logits.slice([0, 2, 0]);
 * const after = continueFrom(model, readPrompt(model, [[1, 2]]).cache, tf.tensor2d([[3]], [1, 1], "int32"));
 * assert.ok(whole.sub(after).abs().max().dataSync()[0] < 1e-6);
 * ```
 */
export function continueFrom(model: Llama, cache: KVCache, tokens: tf.Tensor2D): tf.Tensor3D {
  return tidy(() => {
    const layers = cache.layers.map((layer) => {
      const { keys, values, positions } = withCapacity(layer, capacityFor(layer.keys.shape[2]));
      return { keys, values, positions };
    });
    return continuer(model)(tokens, layers, cache.next).logits;
  });
}

/**
 * The layer with room for `capacity` slots; those that are added are empty.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const x = tf.ones<tf.Rank.R4>([1, 1, 1, 2]);
 * const { positions } = withCapacity({ keys: x, values: x, positions: tf.tensor3d([[[0]]]) }, 3);
 * assert.deepEqual(positions.arraySync(), [[[0, -1, -1]]]);
 * ```
 */
export function withCapacity(layer: LayerCache, capacity: number): LayerCache {
  const more = capacity - layer.keys.shape[2];
  if (more <= 0) return layer;
  const pad = <T extends tf.Tensor>(x: T, value = 0): T =>
    tf.pad(x, x.shape.map((_, axis): [number, number] => [0, axis === 2 ? more : 0]), value) as T;
  return {
    ...layer,
    keys: pad(layer.keys),
    values: pad(layer.values),
    positions: pad(layer.positions, -1),
    ...(layer.memory ? { memory: pad(layer.memory) } : {}),
  };
}

/** What is in a cache, and what it takes. */
export interface CacheSize {
  /** Slots in use, [layers][batch][key heads]. */
  readonly slots: number[][][];
  /** Bytes of keys and values of the slots in use, of the whole batch. What is only padding is not counted. */
  readonly bytes: number;
}

/**
 * Counts what is in a cache; reads its positions back.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { random } from "tessera/random.ts";
 * import { Llama, readPrompt } from "tessera/nn/mod.ts";
 * const model = Llama.create({ vocabulary: 5, width: 4, depth: 1, heads: 2, mlpWidth: 4, context: 8 }, random(1));
 * const { cache } = readPrompt(model, [[1, 2, 3]]);
 * assert.deepEqual(cacheSize(cache), { slots: [[[3, 3]]], bytes: 2 * 3 * 2 * 2 * 4 });
 * ```
 */
export function cacheSize(cache: KVCache): CacheSize {
  const slots = cache.layers.map(({ positions }) =>
    tidy(() => tf.greaterEqual(positions, 0).cast("float32").sum(2).arraySync() as number[][])
  );
  const bytes = slots.reduce(
    (sum, batch, layer) => sum + batch.flat().reduce((inLayer, count) => inLayer + cache.bytes[layer](count), 0),
    0,
  );
  return { slots, bytes };
}

/**
 * The place of a cache in its model.
 *
 * @param tokens Slots of it that are meant.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { random } from "tessera/random.ts";
 * import { Llama } from "tessera/nn/mod.ts";
 * const model = Llama.create({ vocabulary: 5, width: 4, depth: 1, heads: 2, mlpWidth: 4, context: 8 }, random(1));
 * assert.deepEqual(cachePlace(model, 0, 3), { layer: 0, layers: 1, heads: 2, keyHeads: 2, channels: 2, tokens: 3 });
 * ```
 */
export function cachePlace(model: Llama, layer: number, tokens: number): CachePlace {
  const { heads, depth } = model.config;
  return { layer, layers: depth, heads, keyHeads: model.keyHeads, channels: model.channels, tokens };
}

/**
 * Frees a cache.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const next = tf.tensor1d([3]);
 * disposeCache({ layers: [], next, used: [], bytes: [] });
 * assert.ok(next.isDisposed);
 * ```
 */
export function disposeCache({ layers, next }: KVCache): void {
  tf.dispose([layers, next] as unknown as tf.TensorContainer);
}
