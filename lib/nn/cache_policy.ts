/**
 * What a model asks of a policy for its cache of keys and values, and what it shows it. `nn` knows no policy by name; they
 * are in `lib/reduction`:
 *
 * ```text
 * generate(model, prompt, { cache: snapKV({ keepRate: 0.5 }) })
 * ```
 *
 * **When a policy is asked.** It has up to three moments, and takes those that it needs:
 *
 * 1. `afterPrompt(views)`: the prompt has been read with full attention, nothing has been made from it yet. It gets all
 *    layers at once, so that it may share a budget among them (KVzip, head-level budgets); one that decides layer by
 *    layer is written with {@link eachLayer}. What it returns is applied here, once for all policies: slots gathered,
 *    heads of different lengths padded and masked, keys turned to new positions.
 * 2. `everyStep`: inside the step that makes one token, right after its attention; traced, so it reads nothing back. It says
 *    which slots stay (H2O, TOVA, StreamingLLM, DMS). A freed slot takes the next token, so that the cache stays small.
 * 3. `everySteps`: after each so many tokens, outside of the step, on the cache as it is then: the same question as after
 *    the prompt (DecodingPress, or the storing of what is old with fewer bits).
 *
 * **What it sees.** A {@link CacheView} of a layer: keys and values as cached; whatever else it names in `needs` is made from
 * the layer's hidden states when it is first read. No attention map exists unless somebody calls `attention(rows)`, which
 * costs rows x tokens products per head: SnapKV's window costs 32 rows, H2O all of them.
 *
 * **What it answers.** A {@link CacheChange}: which slots stay (`keep`, the same number in each head, or `stays`, a mask),
 * changed keys and values (merging on evict, quantising, channels pruned to 0), whether keys are turned to the positions
 * 0, 1, ..., and what a slot costs in bytes.
 *
 * @module
 */
import { tf, tidy } from "../tensor/mod.ts";
import { NeedsMissing } from "./reduction_errors.ts";
import { rotary } from "./rotary.ts";

/** Which cache is meant: enough to compute budgets without any tensor. */
export interface CachePlace {
  /** Index of the block, from 0. */
  readonly layer: number;
  /** Number of blocks of the model. */
  readonly layers: number;
  /** Heads of the queries. */
  readonly heads: number;
  /** Heads of keys and values: each serves heads / keyHeads heads of queries. */
  readonly keyHeads: number;
  /** Channels of a head. */
  readonly channels: number;
  /** Slots in this view: after the prompt the tokens of the prompt, T. */
  readonly tokens: number;
}

/** The projections of one layer's attention, as Hugging Face stores them: [out, in], rows = head, then channel. */
export interface CacheWeights {
  /** [heads x channels, width] */
  readonly q: tf.Tensor2D;
  /** [key heads x channels, width] */
  readonly k: tf.Tensor2D;
  /** [key heads x channels, width] */
  readonly v: tf.Tensor2D;
  /** [width, heads x channels] */
  readonly o: tf.Tensor2D;
}

/** A second reading, after the prompt: the queries of a text that repeats it, against the whole cache. See `replay`. */
export interface ReplayView {
  /** The tokens of this reading; of the first prompt, where there is a batch. */
  readonly text: readonly number[];
  /** [batch, rows, width]: its hidden states in this layer, after the norm. */
  readonly hidden: tf.Tensor3D;
  /** [batch, heads, rows, channels], turned by their positions, which follow the prompt's. */
  readonly queries: tf.Tensor4D;
  /** [batch, key heads, tokens + rows, channels]: the prompt's keys, then its own. */
  readonly keys: tf.Tensor4D;
  /** [batch, key heads, tokens + rows, channels] */
  readonly values: tf.Tensor4D;
}

/** What a policy may look at: the cache of one layer. Read what may be absent by {@link needInCache}. */
export interface CacheView extends CachePlace {
  /** [batch, key heads, tokens, channels], turned by their positions, as cached. */
  readonly keys: tf.Tensor4D;
  /** [batch, key heads, tokens, channels] */
  readonly values: tf.Tensor4D;
  /** [batch, key heads, tokens]: where each stood in the text; ascending. */
  readonly positions: tf.Tensor3D;
  /**
   * [batch, rows, width]: what queries, keys and values are projected from (after the norm), of the last `rows` tokens:
   * after the prompt of all; later of those that the policy asked to be remembered.
   */
  readonly hidden?: tf.Tensor3D;
  /** [batch, heads, rows, channels], turned by their positions. */
  readonly queries?: tf.Tensor4D;
  /** [batch, heads, rows, channels] */
  readonly queriesBeforeRotary?: tf.Tensor4D;
  /** [batch, key heads, tokens, channels] */
  readonly keysBeforeRotary?: tf.Tensor4D;
  /** [batch, key heads, tokens], or of more dimensions: what the policy's last answer asked to be kept beside each slot. */
  readonly memory?: tf.Tensor;
  readonly weights?: CacheWeights;
  /**
   * The attention of the last `rows` queries to all slots, causal, after the softmax: [batch, heads, rows, tokens].
   * Computed at each call. Default: all rows that there are.
   *
   * @throws {NeedsMissing} Where there are fewer queries than rows asked for.
   */
  readonly attention?: (rows?: number) => tf.Tensor4D;
  /** One for each text that the policy's `replay` asked to be read. */
  readonly replays?: readonly ReplayView[];
  /** Base of the rotary frequencies. */
  readonly ropeBase: number;
  /** Key of this layer's random numbers (see `randomKey`); absent where the caller gave no seed. */
  readonly key?: tf.Tensor1D;
}

/** What a policy may ask for beyond keys, values and positions. */
export type CacheNeed =
  | "hidden"
  | "queries"
  | "queriesBeforeRotary"
  | "keysBeforeRotary"
  | "attention"
  | "weights"
  | "replays"
  | "memory"
  | "key";

/** A policy's answer for one layer. Empty: everything stays as it is, bit for bit. */
export interface CacheChange {
  /**
   * int32, [batch, key heads, n]: the slots that stay, in the order in which they are to lie; ascending unless a
   * reference has it otherwise.
   */
  readonly keep?: tf.Tensor3D;
  /** [batch, key heads, tokens]: 1 where a slot stays. In place of `keep`, where heads keep different numbers (AdaKV). */
  readonly stays?: tf.Tensor3D;
  /** [batch, key heads, tokens, channels] in place of the view's, before anything is dropped. */
  readonly keys?: tf.Tensor4D;
  /** [batch, key heads, tokens, channels] */
  readonly values?: tf.Tensor4D;
  /** [batch, key heads, tokens, ...]: kept beside each slot for later questions (the attention that H2O has summed up). */
  readonly memory?: tf.Tensor;
  /**
   * Whether the kept keys are turned to the positions 0, 1, ..., n - 1, and later tokens go on from n. Default: they keep
   * their positions, and later tokens go on from the prompt's end. Needs `keep`: where heads keep different numbers, the
   * next position would differ between heads.
   */
  readonly rerotate?: boolean;
  /** Bytes that `slots` slots of one key head take, keys and values together. Default: 2 x channels x 4 each. */
  readonly bytes?: (slots: number) => number;
}

/** The cache of one layer inside the step that makes a token; traced. */
export interface StepView extends CachePlace {
  /** [batch, key heads, slots, channels], the new token's included. */
  readonly keys: tf.Tensor4D;
  /** [batch, key heads, slots, channels] */
  readonly values: tf.Tensor4D;
  /** [batch, key heads, slots]: where each stood in the text, -1 where a slot is empty. In no order. */
  readonly positions: tf.Tensor3D;
  /** [batch, heads, slots]: how the new token looked at each; 0 where empty. */
  readonly attention: tf.Tensor3D;
  /** Position of the new token; no rank. */
  readonly position: tf.Scalar;
  /** [batch, key heads, slots], or of more dimensions; 0 for the new token. */
  readonly memory?: tf.Tensor;
}

/** The answer inside a step. */
export interface StepChange {
  /** [batch, key heads, slots]: 1 where a slot stays. What it says of empty slots does not matter. */
  readonly stays: tf.Tensor3D;
  /** [batch, key heads, slots, ...] as the view's. */
  readonly memory?: tf.Tensor;
}

/**
 * Where tokens stand, after some were dropped. "original": where they stood. "cache": keys are stored as they were before
 * the rotation and turned, at each step, to their rank among those that are there, so that no distance ever exceeds the
 * number of slots (StreamingLLM's own form).
 */
export type CachePositions = "original" | "cache";

/** A policy with its options, ready to be used. */
export interface CachePolicy {
  readonly name: string;
  /** What it reads of a view; the model gives at least that, or says by `NeedsMissing` that it cannot. */
  readonly needs: readonly CacheNeed[];
  /** Default: "original". */
  readonly positions?: CachePositions;
  /** The answers after the prompt, one for each layer; may read values back. */
  afterPrompt?(views: readonly CacheView[]): readonly (CacheChange | undefined)[];
  /** Texts that are to be read after the prompt (each against the prompt alone) before `afterPrompt` is asked. */
  replay?(prompt: readonly number[]): readonly (readonly number[])[];
  /** Asked within each step. */
  readonly everyStep?: {
    /** Most slots that stay in a layer; absent: there is no bound. */
    slots?(place: CachePlace): number;
    of(view: StepView): StepChange;
  };
  /** Asked after each so many tokens. */
  readonly everySteps?: {
    /** After how many tokens. */
    readonly tokens: number;
    /** Hidden states of how many last tokens a view then has. Default: 1. */
    readonly remember?: number;
    of(views: readonly CacheView[]): readonly (CacheChange | undefined)[];
  };
}

/**
 * An `afterPrompt` that decides layer by layer.
 *
 * @example
 * ```ts
 * import type { CachePolicy } from "tessera/nn/mod.ts";
 * const policy: CachePolicy = { name: "all", needs: [], afterPrompt: eachLayer(() => undefined) };
 * ```
 */
export function eachLayer(
  of: (view: CacheView) => CacheChange | undefined,
): (views: readonly CacheView[]) => (CacheChange | undefined)[] {
  return (views) => views.map(of);
}

/**
 * A field of the view, or the error that says who needs it.
 *
 * @param method Who asks, for the message.
 * @throws {NeedsMissing} Where the layer does not give it.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const one = tf.ones<tf.Rank.R4>([1, 1, 1, 2]);
 * const view = cacheView({ keys: one, values: one });
 * assert.throws(() => needInCache(view, "attention", "h2o"), /^NeedsMissing: h2o needs attention, but layer 0 gives none/);
 * ```
 */
export function needInCache<Field extends CacheNeed>(
  view: CacheView,
  field: Field,
  method: string,
): NonNullable<CacheView[Field]> {
  const value = view[field];
  if (value === undefined) throw new NeedsMissing(field, method, `layer ${view.layer}`);
  return value as NonNullable<CacheView[Field]>;
}

/** What a {@link cacheView} is made of. */
export interface CacheParts extends Partial<CachePlace> {
  readonly keys: tf.Tensor4D;
  readonly values: tf.Tensor4D;
  /** Default: 0, 1, ... */
  readonly positions?: tf.Tensor3D;
  readonly hidden?: tf.Tensor3D;
  readonly weights?: Partial<CacheWeights>;
  /** [batch, heads, rows, channels], where they are not to be made of `hidden` and `weights.q`. */
  readonly queries?: tf.Tensor4D;
  readonly queriesBeforeRotary?: tf.Tensor4D;
  readonly keysBeforeRotary?: tf.Tensor4D;
  /** [batch, heads, tokens, tokens], where the whole map is known already. */
  readonly map?: tf.Tensor4D;
  readonly memory?: tf.Tensor;
  readonly replays?: readonly ReplayView[];
  /** Default: 10000. */
  readonly ropeBase?: number;
  readonly key?: tf.Tensor1D;
}

/**
 * A view of the given parts: what follows from them is made when it is first read. Queries follow from `hidden` and
 * `weights.q`, keys before the rotation from `weights.k`, or from the keys, turned back; attention from the queries.
 *
 * Not in a `tidy` of its own: what it makes is freed by the caller's.
 *
 * @param parts `heads` is needed for queries, unless they are given.
 *
 * @example The attention of the last of two queries
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const keys = tf.zeros<tf.Rank.R4>([1, 1, 2, 2]);
 * const view = cacheView({ keys, values: keys, queries: tf.ones([1, 1, 2, 2]) });
 * assert.deepEqual(view.attention!(1).arraySync(), [[[[0.5, 0.5]]]]);
 * ```
 */
export function cacheView(parts: CacheParts): CacheView {
  const { keys, values, hidden, weights, ropeBase = 10000 } = parts;
  const [batch, keyHeads, tokens, channels] = keys.shape;
  const heads = parts.heads ?? parts.queries?.shape[1] ?? parts.queriesBeforeRotary?.shape[1] ?? parts.map?.shape[1] ??
    keyHeads;
  const positions = parts.positions ??
    tf.range(0, tokens, 1, "float32").reshape([1, 1, tokens]).tile<tf.Tensor3D>([batch, keyHeads, 1]);
  /** [batch, rows]: the last ones; the same in every head, for queries are. */
  const lastPositions = (rows: number) =>
    positions.slice([0, 0, tokens - rows], [-1, 1, rows]).reshape<tf.Tensor2D>([batch, rows]);
  const project = (weight: tf.Tensor2D, of: number) => {
    const [, rows, width] = hidden!.shape;
    return tidy(() =>
      tf.matMul(hidden!.reshape<tf.Tensor2D>([batch * rows, width]), weight, false, true)
        .reshape<tf.Tensor4D>([batch, rows, of, -1]).transpose<tf.Tensor4D>([0, 2, 1, 3])
    );
  };
  const queriesBeforeRotary = once(() =>
    parts.queriesBeforeRotary ?? (hidden && weights?.q ? project(weights.q, heads) : undefined)
  );
  const queries = once(() => {
    const before = parts.queries ? undefined : queriesBeforeRotary();
    return parts.queries ?? (before && rotary(before, lastPositions(before.shape[2]), ropeBase));
  });
  const keysBeforeRotary = once(() => {
    if (parts.keysBeforeRotary) return parts.keysBeforeRotary;
    if (hidden && weights?.k && hidden.shape[1] === tokens) return project(weights.k, keyHeads);
    return turnKeys(keys, positions.neg(), ropeBase);
  });
  const attention = (rows?: number): tf.Tensor4D => {
    if (parts.map) {
      const [, , all] = parts.map.shape;
      return parts.map.slice([0, 0, all - (rows ?? all), 0], [-1, -1, -1, -1]);
    }
    const known = queries()!;
    const count = rows ?? known.shape[2];
    if (count > known.shape[2]) {
      throw new NeedsMissing(
        "attention",
        `a window of ${count} queries`,
        `layer ${parts.layer ?? 0}`,
        `this moment has the last ${known.shape[2]} of them; ask for that many, or for more to be remembered`,
      );
    }
    return lastRows(known, keys, count);
  };
  return {
    layer: parts.layer ?? 0,
    layers: parts.layers ?? 1,
    heads,
    keyHeads,
    channels,
    tokens,
    ropeBase,
    keys,
    values,
    positions,
    ...given({ hidden, memory: parts.memory, replays: parts.replays, key: parts.key }),
    ...(weights ? { weights: weights as CacheWeights } : {}),
    get queriesBeforeRotary() {
      return queriesBeforeRotary() as tf.Tensor4D;
    },
    get queries() {
      return queries() as tf.Tensor4D;
    },
    get keysBeforeRotary() {
      return keysBeforeRotary();
    },
    get attention() {
      return (parts.map || queries() ? attention : undefined) as (rows?: number) => tf.Tensor4D;
    },
  };
}

/** The fields that are not undefined. */
function given<Fields extends object>(fields: Fields): { [Key in keyof Fields]?: NonNullable<Fields[Key]> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Fields;
}

/** Makes it when it is first asked for, and again where a `tidy` has freed it since. */
function once<T extends tf.Tensor | undefined>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    if (!made || made.value?.isDisposed) made = { value: make() };
    return made.value;
  };
}

/**
 * The attention of the last `rows` tokens: the token `rows - 1 - i` from the end looks at all keys but the last i.
 *
 * @param queries [batch, heads, at least rows, channels]
 * @param keys [batch, key heads, tokens, channels]
 * @returns [batch, heads, rows, tokens]
 */
function lastRows(queries: tf.Tensor4D, keys: tf.Tensor4D, rows: number): tf.Tensor4D {
  return tidy(() => {
    const [batch, heads, known, channels] = queries.shape;
    const [, keyHeads, tokens] = keys.shape;
    // queries are scaled, not logits, and what is not seen is told by one sum: a cache of thousands has many logits
    const last = queries.slice([0, 0, known - rows, 0], [-1, -1, rows, -1]).mul(channels ** -0.5)
      .reshape<tf.Tensor4D>([batch, keyHeads, (heads / keyHeads) * rows, channels]);
    const logits = tf.matMul(last, keys, false, true).reshape([batch, heads, rows, tokens]);
    const place = tf.range(tokens - rows, tokens, 1, "int32").expandDims(1);
    const unseen = tf.greater(tf.range(0, tokens, 1, "int32").expandDims(0), place).cast("float32");
    return tf.softmax(logits.add(unseen.mul(-1e9)), 3) as tf.Tensor4D;
  });
}

/**
 * Keys turned by angles that belong to `by` positions: from position p to p + by.
 *
 * @param keys [batch, key heads, tokens, channels]
 * @param by [batch, key heads, tokens]
 *
 * @example There and back
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const keys = tf.tensor4d([[[[1, 0]]]]);
 * const back = turnKeys(turnKeys(keys, tf.tensor3d([[[5]]])), tf.tensor3d([[[-5]]]));
 * assert.ok(Math.abs(back.dataSync()[0] - 1) < 1e-6);
 * ```
 */
export function turnKeys(keys: tf.Tensor4D, by: tf.Tensor, ropeBase = 10000): tf.Tensor4D {
  const [batch, keyHeads, tokens, channels] = keys.shape;
  return tidy(() => {
    const rows = keys.reshape<tf.Tensor4D>([batch * keyHeads, 1, tokens, channels]);
    const turned = rotary(rows, by.reshape<tf.Tensor2D>([batch * keyHeads, tokens]), ropeBase);
    return turned.reshape<tf.Tensor4D>(keys.shape);
  });
}
