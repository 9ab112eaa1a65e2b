/**
 * Making text: a prompt is read, then one token after the other is chosen and given back to the model, with a cache of
 * keys and values that a policy may keep small ({@link "./cache_policy.ts"}).
 *
 * One step is one compiled function; it returns the cache, and the token alone is read back. Sampling with temperature
 * and nucleus: Holtzman et al., "The Curious Case of Neural Text Degeneration", ICLR 2020, arXiv:1904.09751, section 3.1;
 * a draw is the place of the highest logit with Gumbel noise (Maddison, Tarlow and Minka, NeurIPS 2014).
 *
 * @module
 */
import { outputInPlace, tick } from "../stop.ts";
import { compile, type Compiled, foldIn, randomKey, randomUniform, tf, tidy } from "../tensor/mod.ts";
import { type CachePolicy, cacheView, turnKeys } from "./cache_policy.ts";
import {
  applyChange,
  cachePlace,
  type CacheSize,
  cacheSize,
  capacityFor,
  continueFrom,
  disposeCache,
  type KVCache,
  type LayerCache,
  type Prompted,
  readPrompt,
  withCapacity,
} from "./kv_cache.ts";
import type { Llama } from "./llama.ts";

/** How the next token is chosen. */
export interface SamplingOptions {
  /** What logits are divided by; 0 takes the likeliest token. Default: 0. */
  readonly temperature?: number;
  /** Draw from the fewest tokens whose probabilities sum to this, (0, 1]. Default: 1, from all. */
  readonly topP?: number;
  /** Seed of the draws, and of what a policy draws. Default: 1. */
  readonly seed?: number;
}

/** Options of {@link generate}. */
export interface GenerateOptions extends SamplingOptions {
  /** What the cache keeps. Default: everything. */
  readonly cache?: CachePolicy | undefined;
  /** Most tokens to make. Default: what is left of the model's context. */
  readonly maxTokens?: number;
  /**
   * Whether XLA compiles the step: a second or two before the first token, then less than half of a graph's time for
   * each; the last digits differ. Default: from 192 tokens on.
   */
  readonly xla?: boolean;
  /** Whether the tokenizer's last token ends the text. Default: true. */
  readonly stopAtEnd?: boolean;
  /** Whether the text shows in the running cell of a notebook while it is made. Default: false. */
  readonly stream?: boolean;
  /** Is called with each row's new token, and the text so far of the first row. */
  readonly onToken?: (tokens: readonly number[], text: string) => void | Promise<void>;
  /** Is called after the prompt and after each step with the cache as it is then; what it makes of it is its own. */
  readonly watch?: (cache: KVCache, made: number) => void;
  /** Tokens to be taken instead of those chosen, [batch][tokens]: what the model would have said is in `logits`. */
  readonly forced?: readonly (readonly number[])[];
  /** Whether to keep the logits of all steps; in the result's `logits`, to be disposed of. Default: false. */
  readonly keepLogits?: boolean;
}

/** A text that was made. */
export interface Generation {
  /** The new tokens of the first prompt. */
  readonly tokens: number[];
  /** Their text; empty without a tokenizer. */
  readonly text: string;
  /** The new tokens of each prompt. */
  readonly rows: number[][];
  /** "end": the tokenizer's last token came; "length": `maxTokens` are made. */
  readonly stopped: "end" | "length";
  /** What the cache held right after the policy had seen the prompt, and at the end. */
  readonly afterPrompt: CacheSize;
  readonly atEnd: CacheSize;
  /** Seconds for reading the prompt (with the policy's decision) and for all steps. */
  readonly seconds: { readonly prompt: number; readonly steps: number };
  /** [batch, tokens, vocabulary]: what each token was chosen from, where it was asked for. */
  readonly logits?: tf.Tensor3D;
}

/**
 * Makes text from a prompt.
 *
 * @param prompt A text, where the model has a tokenizer; tokens; or rows of tokens, a batch of prompts of one length.
 * @throws {RangeError} If the prompt is empty or longer than the model's context, or `maxTokens` would lead beyond it.
 * @throws {NeedsMissing} If the policy needs what the model does not give.
 * @throws The stop reason, where Stop is pressed.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { Llama } from "tessera/nn/mod.ts";
 * const model = await Llama.load("stories260k");
 * const { text } = await generate(model, "Once upon a time", { maxTokens: 8 });
 * assert.equal(text, ", there was a little girl");
 * ```
 */
export async function generate(
  model: Llama,
  prompt: string | readonly number[] | readonly (readonly number[])[],
  options: GenerateOptions = {},
): Promise<Generation> {
  const { cache: policy, stopAtEnd = true, stream = false, onToken, watch, forced, keepLogits = false } = options;
  const rows = promptRows(model, prompt);
  const length = rows[0]?.length ?? 0;
  model.refuseLength(length, "the prompt");
  const room = policy?.positions === "cache" ? Infinity : model.config.context - length;
  const maxTokens = forced?.[0].length ?? options.maxTokens ?? Math.min(room, model.config.context - length);
  if (!Number.isInteger(maxTokens) || maxTokens < 1 || maxTokens > room) {
    throw new RangeError(
      `maxTokens must be a whole number from 1 to ${room}, what is left of ${model.config.context} positions after ` +
        `a prompt of ${length}, but it is ${maxTokens}; shorten the prompt or ask for fewer`,
    );
  }
  const choice = choiceOf(options);
  const key = randomKey(options.seed ?? 1);
  const show = stream ? outputInPlace() : undefined;
  const end = stopAtEnd && !forced ? model.tokenizer?.end : undefined;
  const made: number[][] = rows.map(() => []);
  const logits: tf.Tensor2D[] = [];
  const begin = performance.now();
  const { logits: first, cache } = readPrompt(model, rows, { cache: policy, key });
  const afterPrompt = cacheSize(cache);
  const begun = performance.now();
  const decoder = decoderOf(model, policy, choice, options.xla ?? maxTokens >= XLA_FROM);
  let state: StepState | undefined;
  try {
    watch?.(cache, 0);
    state = startOf(model, policy, cache, maxTokens, decoder.choose, first, key, choice);
    if (keepLogits) logits.push(first.clone());
    first.dispose();
    let stopped: Generation["stopped"] = "length";
    for (let step = 0;; step++) {
      const chosen = forced ? forced.map((row) => row[step]) : [...state.token.dataSync()];
      made.forEach((row, i) => row.push(chosen[i]));
      if (onToken || show) {
        const text = model.tokenizer?.decode(made[0]) ?? made[0].join(" ");
        await onToken?.(chosen, text);
        void show?.({ "text/plain": text });
      }
      await tick();
      if (end !== undefined && rows.length === 1 && chosen[0] === end) {
        stopped = "end";
        break;
      }
      if (step + 1 === maxTokens) break;
      if (forced) state = withToken(state, chosen);
      state = decoder.step(state);
      if (keepLogits) logits.push(state.logits!.clone());
      const every = policy?.everySteps;
      if (every && (step + 1) % every.tokens === 0) state = askAgain(model, policy!, state);
      watch?.(state.cache, step + 1);
    }
    const atEnd = cacheSize(state.cache);
    const steps = (performance.now() - begun) / 1000;
    const text = model.tokenizer?.decode(made[0]) ?? "";
    if (show) await show({ "text/plain": text });
    return {
      tokens: made[0],
      text,
      rows: made,
      stopped,
      afterPrompt,
      atEnd,
      seconds: { prompt: (begun - begin) / 1000, steps },
      ...(keepLogits ? { logits: tf.stack(logits, 1) as tf.Tensor3D } : {}),
    };
  } finally {
    key.dispose();
    tf.dispose(logits);
    if (state) disposeState(state);
    else disposeCache(cache);
    if (!first.isDisposed) first.dispose();
  }
}

function promptRows(model: Llama, prompt: Parameters<typeof generate>[1]): readonly (readonly number[])[] {
  if (typeof prompt !== "string") {
    const [first] = prompt;
    return typeof first === "number" ? [prompt as readonly number[]] : prompt as readonly (readonly number[])[];
  }
  if (!model.tokenizer) {
    throw new TypeError("a prompt as text needs a model with a tokenizer; pass tokens, or a tokenizer to the model");
  }
  const { begin } = model.tokenizer;
  return [[...(begin === undefined ? [] : [begin]), ...model.tokenizer.encode(prompt)]];
}

/** What of the sampling is fixed in a trace. */
interface Choice {
  readonly draw: boolean;
  readonly nucleus: boolean;
  readonly temperature: number;
  readonly topP: number;
}

function choiceOf({ temperature = 0, topP = 1 }: SamplingOptions): Choice {
  if (!(temperature >= 0 && temperature < Infinity)) {
    throw new RangeError(`temperature must be at least 0, but it is ${temperature}; 0 takes the likeliest token`);
  }
  if (!(topP > 0 && topP <= 1)) {
    throw new RangeError(`topP must lie in (0, 1], but it is ${topP}; to draw from all tokens, pass 1`);
  }
  return { draw: temperature > 0, nucleus: temperature > 0 && topP < 1, temperature, topP };
}

/** What goes from step to step; all of it on the device, but what says how many slots are in use. */
interface StepState {
  /** int32, [batch] */
  readonly token: tf.Tensor1D;
  readonly cache: KVCache;
  readonly key: tf.Tensor1D;
  /** Temperature and top-p. */
  readonly sampling: tf.Tensor1D;
  readonly logits?: tf.Tensor2D;
}

type Choose = (logits: tf.Tensor2D, key: tf.Tensor1D, sampling: tf.Tensor1D) => tf.Tensor1D;

/** The next token of each row. */
function chooser({ draw, nucleus }: Choice): Choose {
  return (logits, key, sampling) =>
    tidy(() => {
      if (!draw) return logits.argMax<tf.Tensor1D>(1);
      const scaled = logits.div<tf.Tensor2D>(sampling.slice(0, 1));
      const noise = randomUniform(key, logits.shape).clipByValue(1e-20, 1).log().neg().clipByValue(1e-20, 1e20).log()
        .neg();
      return (nucleus ? withinNucleus(scaled, sampling.slice(1, 1)) : scaled).add(noise).argMax<tf.Tensor1D>(1);
    });
}

/** Logits with -1e9 for all but the fewest tokens whose probabilities sum to `topP`. */
function withinNucleus(logits: tf.Tensor2D, topP: tf.Tensor1D): tf.Tensor2D {
  const [, vocabulary] = logits.shape;
  const probability = tf.softmax(logits, 1);
  const sorted = tf.topk(probability, vocabulary).values;
  const before = tf.cumsum(sorted, 1, true); // of those that are likelier
  const least = tf.where(tf.less(before, topP), sorted, 2).min(1, true); // the least likely one that is taken
  return tf.where(tf.greaterEqual(probability, least), logits, -1e9);
}

type Step = Compiled<
  [tf.Tensor1D, readonly LayerCache[], tf.Tensor1D, tf.Tensor1D, tf.Tensor1D],
  { token: tf.Tensor1D; logits: tf.Tensor2D; layers: LayerCache[]; next: tf.Tensor1D; key: tf.Tensor1D }
>;

/** Compiled steps by model, by what a policy does inside of them, and by the kind of choice. */
const steps = new WeakMap<Llama, Map<string, Step>>();
const policySteps = new WeakMap<CachePolicy, WeakMap<Llama, Map<string, Step>>>();

/** Tokens from which on compiling by XLA is worth its time, where the same step will be used again. */
const XLA_FROM = 192;

function decoderOf(model: Llama, policy: CachePolicy | undefined, choice: Choice, xla: boolean) {
  const own = policy?.everyStep || policy?.positions === "cache" || policy?.everySteps;
  const byModel = own ? entry(policySteps, policy!, () => new WeakMap<Llama, Map<string, Step>>()) : steps;
  const byChoice = entry(byModel, model, () => new Map<string, Step>());
  const name = `${choice.draw}/${choice.nucleus}/${xla}`;
  const choose = chooser(choice);
  let compiled = byChoice.get(name);
  if (!compiled) {
    compiled = compile(stepOf(model, own ? policy : undefined, choose, choice.draw), { xla, maxTraces: 16 });
    byChoice.set(name, compiled);
  }
  const run = compiled;
  return {
    choose,
    step: (state: StepState): StepState => {
      const { cache } = roomForOne(state);
      const { layers, next, ...rest } = run(state.token, cache.layers, cache.next, state.key, state.sampling);
      const bound = (layer: number) => policy?.everyStep?.slots?.(cachePlace(model, layer, 0)) ?? Infinity;
      const used = cache.used.map((slots, layer) => Math.min(slots + 1, Math.max(bound(layer), cache.used[layer])));
      disposeCache(cache);
      tf.dispose([state.token, state.key, ...(state.logits ? [state.logits] : [])]);
      return { ...rest, cache: { layers, next, used, bytes: cache.bytes }, sampling: state.sampling };
    },
  };
}

function entry<Key extends object, Value>(map: WeakMap<Key, Value>, key: Key, make: () => Value): Value {
  const known = map.get(key);
  if (known) return known;
  const made = make();
  map.set(key, made);
  return made;
}

/** One step, to be traced. */
function stepOf(model: Llama, policy: CachePolicy | undefined, choose: Choose, draws: boolean) {
  const group = model.config.heads / model.keyHeads;
  return function decodeStep(
    token: tf.Tensor1D,
    layers: readonly LayerCache[],
    next: tf.Tensor1D,
    key: tf.Tensor1D,
    sampling: tf.Tensor1D,
  ) {
    const [batch] = token.shape;
    const byRank = policy?.positions === "cache";
    const after: LayerCache[] = [];
    let x = model.embed(token.reshape([batch, 1]));
    for (const [layer, cached] of layers.entries()) {
      const position = next.slice(layer, 1);
      const at = byRank ? tf.zeros<tf.Rank.R2>([1, 1]) : position.reshape<tf.Tensor2D>([1, 1]);
      const slots = cached.keys.shape[2];
      const done = model.block(layer, x, at, (own) => {
        const place = tf.range(0, slots, 1, "float32").reshape([1, 1, slots]);
        const free = tf.less(cached.positions, 0);
        const here = tf.equal(place, tf.where(free, place, slots).min(2, true)); // the first empty slot of each head
        const hereWide = here.expandDims(3);
        const written: LayerCache = {
          ...cached,
          keys: tf.where(hereWide, own.keys, cached.keys),
          values: tf.where(hereWide, own.values, cached.values),
          positions: tf.where(here, position.reshape([1, 1, 1]), cached.positions),
          ...(cached.memory ? { memory: emptied(cached.memory, here) } : {}),
          ...(cached.recent
            ? { recent: tf.concat([cached.recent.slice([0, 1, 0]), own.hidden], 1) as tf.Tensor3D }
            : {}),
        };
        const alive = tf.greaterEqual(written.positions, 0).cast("float32");
        const seen = { values: written.values, mask: alive.expandDims(2), written, alive };
        if (!byRank) return { ...seen, keys: written.keys };
        const count = alive.sum(2, true);
        const earlier = tf.less(written.positions.expandDims(2), written.positions.expandDims(3)).cast("float32");
        const ranks = earlier.mul(alive.expandDims(2)).sum(3);
        const queries = own.queries.reshape<tf.Tensor4D>([batch, model.keyHeads, group, model.channels]);
        const turned = turnKeys(queries, count.sub(1).tile([1, 1, group]), model.config.ropeBase);
        return {
          ...seen,
          keys: turnKeys(written.keys, ranks, model.config.ropeBase),
          queries: turned.reshape<tf.Tensor4D>(own.queries.shape),
        };
      });
      x = done.x;
      const { written, alive } = done.looked;
      after.push(policy?.everyStep ? evicted(model, policy, layer, written, alive, done.attention, position) : written);
    }
    const logits = model.head(x).squeeze<tf.Tensor2D>([1]);
    return {
      token: choose(logits, key, sampling),
      logits,
      layers: after,
      next: next.add<tf.Tensor1D>(1),
      key: draws ? foldIn(key, 0) : key,
    };
  };
}

/** The memory with 0 in the slot of the new token. */
function emptied(memory: tf.Tensor, here: tf.Tensor): tf.Tensor {
  const wide = here.reshape([...here.shape, ...memory.shape.slice(3).map(() => 1)]);
  return tf.where(wide, 0, memory);
}

/** The layer after its policy has said which slots stay. */
function evicted(
  model: Llama,
  policy: CachePolicy,
  layer: number,
  written: LayerCache,
  alive: tf.Tensor,
  attention: tf.Tensor4D,
  position: tf.Tensor1D,
): LayerCache {
  const { keys, values, positions, memory } = written;
  const { stays, memory: kept } = policy.everyStep!.of({
    ...cachePlace(model, layer, keys.shape[2]),
    keys,
    values,
    positions,
    attention: attention.squeeze<tf.Tensor3D>([2]),
    position: position.reshape<tf.Scalar>([]),
    ...(memory ? { memory } : {}),
  });
  const left = tf.where(stays.cast("float32").mul(alive).greater(0), positions, -1);
  return { ...written, positions: left, ...(kept ? { memory: kept } : {}) };
}

/** The first state: the cache with room, and the token that the prompt leads to. */
function startOf(
  model: Llama,
  policy: CachePolicy | undefined,
  cache: KVCache,
  maxTokens: number,
  choose: Choose,
  logits: tf.Tensor2D,
  key: tf.Tensor1D,
  { temperature, topP }: Choice,
): StepState {
  return tidy(() => {
    const layers = cache.layers.map((layer, index) => {
      const slots = layer.keys.shape[2];
      const bound = policy?.everyStep?.slots?.(cachePlace(model, index, slots));
      const most = bound === undefined ? slots + Math.min(maxTokens, Math.max(256, slots)) : Math.max(bound, slots) + 1;
      return own(withCapacity(layer, capacityFor(most)));
    });
    const sampling = tf.tensor1d([temperature, topP]);
    const next = cache.next.clone();
    disposeCache(cache);
    return { token: choose(logits, key, sampling), cache: { ...cache, layers, next }, key: foldIn(key, 1), sampling };
  });
}

/** The layer with tensors of its own. */
function own(layer: LayerCache): LayerCache {
  return Object.fromEntries(
    Object.entries(layer).map(([name, tensor]) => [name, tensor.clone()]),
  ) as unknown as LayerCache;
}

/** Makes room for one more token where all slots may be in use; the old cache is freed then. */
function roomForOne({ cache }: StepState): { cache: KVCache } {
  if (cache.layers.every(({ keys }, layer) => cache.used[layer] < keys.shape[2])) return { cache };
  const layers = tidy(() =>
    cache.layers.map((layer, index) => own(withCapacity(layer, capacityFor(Math.ceil((cache.used[index] + 1) * 1.25)))))
  );
  const next = cache.next.clone();
  disposeCache(cache);
  return { cache: { ...cache, layers, next } };
}

function withToken(state: StepState, chosen: readonly number[]): StepState {
  state.token.dispose();
  return { ...state, token: tf.tensor1d([...chosen], "int32") };
}

/** Asks the policy again, about the cache as it is after some steps. */
function askAgain(model: Llama, policy: CachePolicy, state: StepState): StepState {
  const { cache } = state;
  const done = tidy(() => {
    const views = cache.layers.map((layer, index) => {
      const full = cache.used[index];
      const first = <T extends tf.Tensor>(x: T) =>
        x.slice(x.shape.map(() => 0), x.shape.map((side, axis) => axis === 2 ? full : side)) as T;
      const { q_proj, k_proj, v_proj, o_proj } = model.weights.layers[index].self_attn;
      const positions = first(layer.positions);
      if (positions.min().dataSync()[0] < 0) {
        throw new RangeError(
          `${policy.name} is asked again after some steps, but the heads of layer ${index} hold different numbers of ` +
            "slots then; use a policy that keeps the same number in each head",
        );
      }
      return cacheView({
        ...cachePlace(model, index, full),
        ropeBase: model.config.ropeBase ?? 10000,
        keys: first(layer.keys),
        values: first(layer.values),
        positions,
        ...(layer.memory ? { memory: first(layer.memory) } : {}),
        ...(layer.recent ? { hidden: layer.recent } : {}),
        weights: { q: q_proj.weight, k: k_proj.weight, v: v_proj.weight, o: o_proj.weight },
      });
    });
    const changes = policy.everySteps!.of(views);
    const changed = views.map((view, index) => applyChange(view, changes[index]));
    const layers = changed.map(({ layer }, index) => {
      const { recent, keys } = cache.layers[index];
      return own({ ...withCapacity(layer, keys.shape[2]), ...(recent ? { recent } : {}) });
    });
    const next = changed.some(({ next }) => next !== undefined)
      ? tf.tensor1d(changed.map(({ next }, index) => next ?? cache.next.dataSync()[index]))
      : cache.next.clone();
    return { layers, next, used: changed.map(({ layer }) => layer.keys.shape[2]), changed };
  });
  const bytes = done.changed.map(({ bytes }) => bytes);
  tf.dispose(done.changed.map(({ layer }) => layer) as unknown as tf.TensorContainer);
  disposeCache(cache);
  return { ...state, cache: { layers: done.layers, next: done.next, used: done.used, bytes } };
}

function disposeState({ token, cache, key, sampling, logits }: StepState): void {
  disposeCache(cache);
  tf.dispose([token, key, sampling, ...(logits ? [logits] : [])]);
}

/** Options of {@link predict}. */
export interface PredictOptions {
  /** What the cache keeps of the prompt. Default: everything. */
  readonly cache?: CachePolicy | undefined;
  /** Seed of what a policy draws. Default: 1. */
  readonly seed?: number;
}

/**
 * What a model says, under a policy, of a text that goes on after a prompt: the prompt is read, the policy asked, and the
 * rest is given token by token. All tokens at once, where the policy decides after the prompt only.
 *
 * @param rest Tokens that follow the prompt.
 * @returns [rest tokens, vocabulary]: logits of the token that stands there.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { random } from "tessera/random.ts";
 * import { Llama } from "tessera/nn/mod.ts";
 * const model = Llama.create({ vocabulary: 5, width: 4, depth: 1, heads: 2, mlpWidth: 4, context: 8 }, random(1));
 * const logits = await predict(model, [1, 2], [3, 4]);
 * assert.deepEqual(logits.shape, [2, 5]);
 * ```
 */
export async function predict(
  model: Llama,
  prompt: readonly number[],
  rest: readonly number[],
  { cache: policy, seed = 1 }: PredictOptions = {},
): Promise<tf.Tensor2D> {
  model.refuseLength(prompt.length, "the prompt");
  if (rest.length === 0) throw new RangeError("the text after the prompt has no tokens; begin with at least one");
  if (policy?.everyStep || policy?.everySteps || policy?.positions === "cache") {
    const { logits } = await generate(model, prompt, { cache: policy, forced: [rest], keepLogits: true, seed });
    const flat = logits!.squeeze<tf.Tensor2D>([0]);
    logits!.dispose();
    return flat;
  }
  model.refuseLength(prompt.length + rest.length);
  await tick();
  return tidy(() => {
    const { logits, cache }: Prompted = readPrompt(model, [prompt], { cache: policy, key: randomKey(seed) });
    if (rest.length === 1) return logits;
    const asked = tf.tensor2d([rest.slice(0, -1)], undefined, "int32");
    return tf.concat([logits, continueFrom(model, cache, asked).squeeze([0])], 0) as tf.Tensor2D;
  });
}
