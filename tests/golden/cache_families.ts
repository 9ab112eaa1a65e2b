/**
 * How the golden cases of cache methods are computed here; see `families.ts`. Sizes, heads and options come from the case.
 *
 * @module
 */
import assert from "node:assert/strict";
import { type CacheChange, type CachePolicy, type CacheView, cacheView } from "../../lib/nn/cache_policy.ts";
import { applyChange } from "../../lib/nn/kv_cache.ts";
import { tf } from "../../lib/tensor/mod.ts";
import { stayAcrossHeads } from "../../lib/reduction/cache/adakv.ts";
import { projectedValueNorm } from "../../lib/reduction/cache/criticalkv.ts";
import { curScore } from "../../lib/reduction/cache/cur.ts";
import { bestTokens, isAmong, takeTokens } from "../../lib/reduction/cache/heads.ts";
import { compactorScore, leverageScore, nonCausalScore } from "../../lib/reduction/cache/leverage.ts";
import { evictedPlaces, mergeAhead, mergePivot, mergeWeighted } from "../../lib/reduction/cache/merge.ts";
import { pyramidBudgetsOfAuthors } from "../../lib/reduction/cache/pyramidkv.ts";
import { reconstructionScore } from "../../lib/reduction/cache/kvzip.ts";
import { filterScore } from "../../lib/reduction/cache/qfilter.ts";
import { massAtEnds } from "../../lib/reduction/cache/simlayerkv.ts";
import { streamingMask } from "../../lib/reduction/cache/streaming_llm.ts";
import {
  attendedByWindow,
  attentionReceivedBy,
  byScore,
  type CacheOptions,
  type CacheScore,
  chunkKV,
  criticalKV,
  dms,
  duoAttention,
  expectedAttention,
  finch,
  heavyHitters,
  inBlocks,
  inChunks,
  inTurn,
  keyDiff,
  knorm,
  knormScore,
  lagKV,
  merged,
  observedAttention,
  pyramidBudgets,
  qFilter,
  rerotated,
  type ScoredPolicy,
  simLayerKV,
  snapKV,
  startImportantRecent,
  stayAcrossLayers,
  streamingHeads,
  think,
  tova,
  whileDecoding,
} from "../../lib/reduction/cache/mod.ts";
import { assertClose, type GoldenCase } from "./cases.ts";
import { type Family, number } from "./model_cases.ts";

/** Options of a case as ours: kvpress counts what goes. */
const budgetOf = ({ params }: GoldenCase) =>
  ({ keepRate: 1 - number(params.compression_ratio), parity: true }) as const;

/** What the case gives of a layer. */
function viewOf({ params, inputs }: GoldenCase, more: Partial<Parameters<typeof cacheView>[0]> = {}): CacheView {
  const weights = {
    ...(inputs.wq ? { q: tf.tensor2d(inputs.wq as number[][]) } : {}),
    ...(inputs.wk ? { k: tf.tensor2d(inputs.wk as number[][]) } : {}),
    ...(inputs.wo ? { o: tf.tensor2d(inputs.wo as number[][]) } : {}),
  };
  return cacheView({
    keys: tensor4(inputs.keys),
    values: tensor4(inputs.values ?? inputs.keys),
    weights,
    ...(params.num_heads === undefined ? {} : { heads: number(params.num_heads) }),
    ...(inputs.hidden_states ? { hidden: tf.tensor3d(inputs.hidden_states as number[][][]) } : {}),
    ...(inputs.attentions ? { map: tensor4(inputs.attentions) } : {}),
    ...more,
  });
}

/** Holds a policy by score against scores, kept places, and kept keys and values, whatever of these the case has. */
function assertPolicy(entry: GoldenCase, policy: ScoredPolicy, view = viewOf(entry), ties = false): void {
  const { outputs, note = "" } = entry, n = view.tokens;
  const keep = n - policy.plan(view).achieved;
  if (outputs.scores) assertClose(policy.score.of(view, keep).arraySync(), outputs.scores, "scores");
  const asSets = ties || note.includes("compare the SET");
  const kept = policy.choose(view)!.arraySync();
  if (outputs.kept_idx) {
    const sorted = (places: number[][][]) => asSets ? places.map((heads) => heads.map(ascendingOf)) : places;
    assertClose(sorted(kept), sorted(outputs.kept_idx as number[][][]), "kept_idx");
  }
  if (outputs.kept_idx_sorted) {
    assertClose(kept.map((heads) => heads.map(ascendingOf)), outputs.kept_idx_sorted, "kept_idx_sorted");
  }
  if (!asSets) return assertKept(entry, view, change(policy, view));
  const { layer } = applyChange(view, change(policy, view));
  if (outputs.kept_keys) assertSameRows(layer.keys, outputs.kept_keys, "kept_keys");
  if (outputs.kept_values) assertSameRows(layer.values, outputs.kept_values, "kept_values");
}

const ascendingOf = (places: number[]) => places.toSorted((a, b) => a - b);

/** A policy's answer for one layer. */
function change(policy: CachePolicy, view: CacheView): CacheChange {
  return policy.afterPrompt!([view])[0] ?? {};
}

function assertKept({ outputs }: GoldenCase, view: CacheView, answer: CacheChange): void {
  const { layer } = applyChange(view, answer);
  if (outputs.kept_keys) assertClose(layer.keys.arraySync(), outputs.kept_keys, "kept_keys");
  if (outputs.kept_values) assertClose(layer.values.arraySync(), outputs.kept_values, "kept_values");
}

/** [batch][heads][k] as a set, by rows of values. */
function assertSameRows(actual: tf.Tensor4D, expected: unknown, what: string): void {
  const sorted = (x: number[][][][]) =>
    x.map((heads) => heads.map((rows) => rows.toSorted((a, b) => a[0] - b[0] || a[1] - b[1])));
  assertClose(sorted(actual.arraySync()), sorted(expected as number[][][][]), what);
}

/** A score that is known already. */
const given = (name: string, score: tf.Tensor3D): CacheScore => ({ name, needs: [], of: () => score });

const bases: Readonly<Record<string, (options: CacheOptions) => ScoredPolicy>> = { knorm, keydiff: keyDiff };

/** The families of cache methods. */
export const cacheFamilies: Readonly<Record<string, Family>> = {
  knorm: (entry) => assertPolicy(entry, knorm(budgetOf(entry))),
  keydiff: (entry) => assertPolicy(entry, keyDiff(budgetOf(entry))),
  streaming_llm: (entry) => {
    const view = viewOf(entry), { tokens, keyHeads } = view, sinks = number(entry.params.n_sink);
    const keep = Math.trunc(tokens * budgetOf(entry).keepRate);
    const score = streamingMask(tokens, sinks, keep).tile<tf.Tensor3D>([view.keys.shape[0], keyHeads, 1]);
    assertPolicy(entry, byScore(given("streaming_llm", score), budgetOf(entry)), view);
  },
  tova: (entry) => assertPolicy(entry, tova(budgetOf(entry))),
  snapkv: (entry) => {
    const { window_size, kernel_size } = entry.params;
    assertPolicy(entry, snapKV({ ...budgetOf(entry), window: number(window_size), kernel: number(kernel_size) }));
  },
  snapkv_rope: (entry) => {
    const { params, outputs } = entry, view = viewOf(entry);
    const window = number(params.window_size), n = view.tokens;
    const seen = view.attention!(window).slice([0, 0, 0, 0], [-1, -1, -1, n - window]);
    assertClose(seen.arraySync(), outputs.window_attention, "window_attention");
    assertPolicy(entry, snapKV({ ...budgetOf(entry), window, kernel: number(params.kernel_size) }), view);
  },
  observed_attention_h2o: (entry) => assertPolicy(entry, observedAttention(budgetOf(entry))),
  lagkv: (entry) => {
    const { n_sink, lag_size } = entry.params;
    assertPolicy(entry, lagKV({ ...budgetOf(entry), sinks: number(n_sink), lag: number(lag_size) }));
  },
  "pyramidkv.layer_budget": ({ params, outputs }) => {
    const tokens = number(params.q_len), layers = number(params.num_layers);
    const keep = tokens * (1 - number(params.compression_ratio));
    const sizes = { tokens, keep, layers, window: number(params.window_size), beta: number(params.beta) };
    assertClose(pyramidBudgets({ ...sizes, parity: true }), outputs.budget_per_layer, "budget_per_layer");
  },
  expected_attention: (entry) => {
    const { params } = entry;
    assertPolicy(
      entry,
      expectedAttention({
        ...budgetOf(entry),
        future: number(params.n_future_positions),
        sinks: number(params.n_sink),
        covariance: params.use_covariance === true,
        valueNorm: params.use_vnorm === true,
        epsilon: number(params.epsilon),
      }),
      viewOf(entry),
      true, // sinks share one score
    );
  },
  think: (entry) => {
    const { params, outputs } = entry, view = viewOf(entry);
    const removeChannels = number(params.key_channel_compression_ratio);
    const answer = change(think({ removeChannels, window: number(params.window_size) }), view);
    assertClose(answer.keys!.arraySync(), outputs.keys, "keys");
    assert.equal(answer.values, undefined);
  },
  criticalkv: (entry) => {
    const { params, outputs } = entry, view = viewOf(entry);
    assertClose(
      projectedValueNorm(view.values, view.weights!.o, view.heads).arraySync(),
      outputs.value_norm,
      "value_norm",
    );
    const options = { firstShare: number(params.first_stage_ratio), epsilon: number(params.epsilon) };
    assertPolicy(entry, criticalKV(knorm(budgetOf(entry)), options), view);
  },
  adakv: (entry) => {
    const { params, outputs } = entry, view = viewOf(entry), policy = keyDiff(budgetOf(entry));
    const keep = view.tokens - policy.plan(view).achieved;
    const stays = stayAcrossHeads(policy.score.of(view, keep), keep, number(params.alpha_safeguard));
    assertClose(tf.logicalNot(stays).arraySync(), numbers(outputs.evicted), "evicted");
  },
  chunkkv: (entry) => {
    const view = viewOf(entry), policy = chunkKV(knorm(budgetOf(entry)), { chunk: number(entry.params.chunk_length) });
    assertKept(entry, view, change(policy, view));
  },
  kv_merging: (entry) => {
    const { params } = entry, view = viewOf(entry);
    const options = { threshold: number(params.similarity_threshold), fraction: number(params.merge_fraction) };
    assertKept(entry, view, change(merged(knorm(budgetOf(entry)), options), view));
  },
  key_rerotation: (entry) => {
    const view = viewOf(entry);
    // there the kept places are sorted first
    const inOrder = { keepRate: (entry.outputs.kept_keys as number[][][][])[0][0].length / view.tokens };
    assertKept(entry, view, change(rerotated(knorm(inOrder)), view));
  },
  qfilter: (entry) => {
    const { params, inputs } = entry, filters = (inputs.q_filters as number[][][]).map((rows) => tf.tensor2d(rows));
    const layer = number(params.layer_idx), view = viewOf(entry, { layer, layers: filters.length });
    assertClose(filterScore(view.keys, filters[layer]).arraySync(), entry.outputs.scores, "scores");
    assertPolicy(entry, qFilter({ ...budgetOf(entry), filters }), view);
  },
  simlayerkv: (entry) => {
    const { params, outputs } = entry, view = viewOf(entry);
    const options = {
      threshold: number(params.lazy_threshold),
      initial: number(params.n_initial),
      recent: number(params.n_recent),
      last: number(params.n_last),
      parity: true,
    };
    const mass = massAtEnds(view, options).mean().dataSync()[0];
    assertClose(mass, outputs.attention_mass, "attention_mass");
    assert.equal(mass > options.threshold, outputs.lazy);
    assertKept(entry, view, change(simLayerKV(options), view));
  },
  duo_attention: ({ params, inputs, outputs }) => {
    const gates = inputs.head_scores as number[][], share = number(params.head_compression_ratio);
    assert.deepEqual(streamingHeads(gates, share), outputs.streaming_mask);
    const keys = tf.zeros<tf.Rank.R4>([number(params.batch), gates[0].length, number(params.k_len), 2]);
    const policy = duoAttention({
      gates,
      streamingShare: share,
      sinks: number(params.sink_size),
      recent: number(params.recent_size),
    });
    const answers = gates.map((_, layer) =>
      change(policy, cacheView({ keys, values: keys, layer, layers: gates.length }))
    );
    const masked = answers.map(({ stays }) =>
      stays ? tf.sub(1, stays).squeeze([0]) : tf.zerosLike(keys.max(3)).squeeze([0])
    );
    assertClose(tf.stack(masked).arraySync(), numbers(outputs.masked), "masked");
    assertClose(tf.stack(masked).mean().dataSync()[0], outputs.compression_ratio, "compression_ratio");
  },
  "kvzip.score": (entry) => {
    const { params, inputs, outputs } = entry;
    const from = number(params.start_idx), to = number(params.end_idx), sinks = number(params.n_sink);
    const n = number(params.context_length), view = viewOf(entry);
    const scores = reconstructionScore({ queries: view.queries!, keys: tensor4(inputs.keys), from, to, sinks });
    const [batch, heads] = scores.shape;
    // there the rest of the context is scored by other chunks, of which the case has none; sinks are 1
    const before = Array.from({ length: from }, (_, place) => Number(place < sinks));
    const front = tf.tensor3d([[before]]).tile<tf.Tensor3D>([batch, heads, 1]);
    const all = tf.concat([front, scores, tf.zeros<tf.Rank.R3>([batch, heads, n - to])], 2);
    assertClose(all.arraySync(), outputs.scores, "scores");
  },
  "kvzip.evict": ({ params, inputs, outputs }) => {
    const scores = tensor4(inputs.scores), byLayer = params.layerwise === true;
    const count = byLayer ? scores.size / scores.shape[0] : scores.size;
    const gone = Math.trunc(count * number(params.compression_ratio));
    const stays = stayAcrossLayers(scores, gone, { byLayer });
    assertClose(tf.logicalNot(stays).squeeze([1]).arraySync(), numbers(outputs.evicted), "evicted");
  },
  leverage: (entry) => {
    const view = viewOf(entry), draws = tensor4(entry.inputs.gaussian_draw);
    const score = leverageScore(view.keysBeforeRotary!, draws, { parity: true });
    assertPolicy(entry, byScore(given("leverage", score), budgetOf(entry)), view);
  },
  non_causal_attention: (entry) => {
    const view = viewOf(entry), chunk = number(entry.params.chunk_size);
    const score = nonCausalScore(view.queries!, view.keys, view.values, { chunk, parity: true });
    assertPolicy(entry, byScore(given("non_causal_attention", score), budgetOf(entry)), view);
  },
  compactor: (entry) => {
    const { params, inputs } = entry, view = viewOf(entry), n = view.tokens;
    const front = number(params.sink_size_start), back = number(params.sink_size_end);
    const middle = (x: tf.Tensor4D) => x.slice<tf.Tensor4D>([0, 0, front, 0], [-1, -1, n - front - back, -1]);
    const leverages = leverageScore(middle(view.keysBeforeRotary!), tensor4(inputs.gaussian_draw), { parity: true });
    const options = { chunk: number(params.chunk_size), parity: true };
    const attention = nonCausalScore(middle(view.queries!), middle(view.keys), middle(view.values), options);
    const blending = (params.blending ?? params.compression_ratio) as number;
    const score = compactorScore(leverages, attention, { blending, front, back, parity: true });
    assertPolicy(entry, byScore(given("compactor", score), budgetOf(entry)), view);
  },
  block_press: (entry) => {
    const view = viewOf(entry), base = bases[entry.params.base as string](budgetOf(entry));
    assertKept(entry, view, change(inBlocks(base, { block: number(entry.params.block_size) }), view));
  },
  chunk_press: (entry) => {
    const view = viewOf(entry), base = bases[entry.params.base as string](budgetOf(entry));
    const kept = (entry.outputs.kept_keys as number[][][][])[0][0].length;
    const policy = inChunks(base, { chunk: number(entry.params.chunk_length) });
    assert.ok(kept <= view.tokens - base.plan(view).achieved); // truncated chunk by chunk
    assertKept(entry, view, change(policy, view));
  },
  per_layer_compression: ({ params, inputs, outputs }) => {
    const rates = (params.compression_ratios as number[]).map((ratio) => 1 - ratio), layers = rates.length;
    const policy = bases[params.base as string]({ keepRate: rates, parity: true });
    const keys = tensor4(inputs.keys), values = tensor4(inputs.values);
    const views = rates.map((_, layer) => cacheView({ keys, values, layer, layers }));
    const answers = policy.afterPrompt!(views);
    for (const [layer, view] of views.entries()) {
      const kept_keys = (outputs.kept_keys as unknown[])[layer],
        kept_values = (outputs.kept_values as unknown[])[layer];
      assertKept({ outputs: { kept_keys, kept_values } } as unknown as GoldenCase, view, answers[layer] ?? {});
    }
    const gone = views.reduce((sum, view) => sum + policy.plan(view).achieved, 0) / (layers * keys.shape[2]);
    assertClose(gone, outputs.compression_ratio, "compression_ratio", 0.05); // theirs is of the rates, not of the tokens
  },
  composed: (entry) => {
    const { params, outputs } = entry, view = viewOf(entry);
    const parts = params.presses as [string, number][];
    const policy = inTurn(...parts.map(([name, ratio]) => bases[name]({ keepRate: 1 - ratio, parity: true })));
    assertKept(entry, view, change(policy, view));
    const left = parts.reduce((product, [, ratio]) => product * (1 - ratio), 1);
    assertClose(1 - left, outputs.compression_ratio, "compression_ratio");
  },
  cur: (entry) => {
    const { params, inputs } = entry, view = viewOf(entry);
    const leverage = ({ kv_product: "product", kv_avg: "mean" } as const)[params.leverage_type as string] ??
      params.leverage_type as "key" | "value";
    const draws = inputs.gaussian_draw ? { draws: tf.tensor2d(inputs.gaussian_draw as number[][]) } : {};
    const score = curScore(view.keys, view.values, {
      sinks: number(params.num_sinks),
      leverage,
      window: params.use_local_approximation ? number(params.local_window_size) : 0,
      parity: true,
      ...draws,
    });
    assertPolicy(entry, byScore(given("cur", score), budgetOf(entry)), view);
  },
  finch: (entry) => {
    const { params, outputs } = entry, view = viewOf(entry);
    const question = number(params.window_size), normalised = params.normalize_scores === true;
    const policy = finch({ ...budgetOf(entry), question, normalised, rerotate: false }) as ScoredPolicy;
    const keep = view.tokens - policy.plan(view).achieved;
    assertClose(policy.score.of(view, keep).arraySync(), outputs.scores, "scores");
    const inOrder = {
      keepRate: budgetOf(entry).keepRate,
      question,
      normalised,
      rerotate: params.rerotate_keys === true,
    };
    assertKept(entry, view, change(finch(inOrder), view));
  },
  cam: (entry) => {
    const { params, inputs, outputs } = entry, view = viewOf(entry);
    const keep = number(params.target_size), received = tf.tensor3d(inputs.cumulative_attention as number[][][]);
    // there one choice for all heads, by the mean of their scores
    const mean = knorm({ keep }).score.of(view, keep).mean(1, true).tile<tf.Tensor3D>([1, view.keyHeads, 1]);
    const kept = bestTokens(mean, keep);
    // the best of the evicted are merged, and the cache keeps its order
    const gone = evictedPlaces(kept, view.tokens);
    const best = takeTokens(gone, bestTokens(takeTokens(mean, gone), number(params.new_tokens)));
    const { values, probability } = mergeAhead(view.values, {
      gone: best,
      stays: isAmong(kept, view.tokens),
      received,
      neighbours: number(params.merge_budget),
      draws: tf.tensor3d(inputs.uniform_draw as number[][][]),
    });
    assertClose(probability.arraySync(), outputs.merge_probability, "merge_probability");
    assertKept(entry, view, { keep: kept, values });
  },
  dms: (entry) => {
    const { params, inputs, outputs } = entry, threshold = number(params.threshold);
    const window = number(params.sliding_window_size), prefill = number(params.prefill);
    const policy = dms(knormScore(), { threshold, window, promptOnly: true });
    const whole = tensor4(inputs.keys), all = whole.shape[2];
    const evicted = (tokens: number) => {
      const keys = whole.slice<tf.Tensor4D>([0, 0, 0, 0], [-1, -1, tokens, -1]);
      const gone = tf.sub<tf.Tensor3D>(1, change(policy, cacheView({ keys, values: keys })).stays!);
      return tf.pad(gone, [[0, 0], [0, 0], [0, all - tokens]]);
    };
    assertClose(evicted(prefill).arraySync(), numbers(outputs.evicted_after_prefill), "evicted_after_prefill");
    assertClose(evicted(all).arraySync(), numbers(outputs.evicted_at_end), "evicted_at_end");
    assertClose(evicted(all).mean().dataSync()[0], outputs.compression_ratio, "compression_ratio");
  },
  decoding_press: ({ params, inputs, outputs }) => {
    const every = number(params.compression_interval), prefill = number(params.prefill);
    const base = bases[params.base as string]({ keep: number(params.target_size), parity: true });
    const { everySteps } = whileDecoding(base, { every });
    const whole = { keys: tensor4(inputs.keys), values: tensor4(inputs.values) };
    const part = (x: tf.Tensor4D, from: number, tokens: number) =>
      x.slice<tf.Tensor4D>([0, 0, from, 0], [-1, -1, tokens, -1]);
    let keys = part(whole.keys, 0, prefill), values = part(whole.values, 0, prefill);
    const lengths: number[] = [];
    for (let step = 1; prefill + step <= whole.keys.shape[2]; step++) {
      keys = tf.concat([keys, part(whole.keys, prefill + step - 1, 1)], 2);
      values = tf.concat([values, part(whole.values, prefill + step - 1, 1)], 2);
      if (step % everySteps!.tokens === 0) {
        const view = cacheView({ keys, values });
        ({ keys, values } = applyChange(view, everySteps!.of([view])[0] ?? {}).layer);
      }
      lengths.push(keys.shape[2]);
    }
    assert.deepEqual(lengths, outputs.cache_lengths);
    assertClose(keys.arraySync(), outputs.keys, "keys");
    assertClose(values.arraySync(), outputs.values, "values");
  },
  "h2o.layerwise_cache": ({ params, inputs, outputs }) => {
    const heavy = number(params.hh_size), recent = number(params.recent_size);
    const whole = { keys: tensor4(inputs.keys), values: tensor4(inputs.values) };
    const maps = (inputs.attentions as number[][][][][]).map(tensor4);
    const [batch, heads, all] = whole.keys.shape, first = all - (maps.length - 1);
    let places = tf.range(0, first, 1, "int32").reshape([1, 1, first]).tile<tf.Tensor3D>([batch, heads, 1]);
    let score = tf.zeros<tf.Rank.R3>([batch, heads, 0]);
    const lengths: number[] = [];
    for (const [call, map] of maps.entries()) {
      const seen = map.shape[3], known = score.shape[2];
      // what each call adds: all its rows for the prompt, then one
      const rows = call === 0 ? map : map.slice<tf.Tensor4D>([0, 0, map.shape[2] - 1, 0], [-1, -1, 1, -1]);
      const width = call === 0 ? seen : known + 1;
      const added = rows.slice<tf.Tensor4D>([0, 0, 0, 0], [-1, -1, -1, width]).sum<tf.Tensor3D>(2);
      score = added.add<tf.Tensor3D>(tf.pad(score, [[0, 0], [0, 0], [0, width - known]]));
      if (call > 0) {
        const next = tf.fill([batch, heads, 1], first + call - 1, "int32") as tf.Tensor3D;
        places = tf.concat([places, next], 2);
      }
      const kept = heavyHitters(score, heavy, recent);
      [score, places] = [takeTokens(score, kept), takeTokens(places, kept)];
      lengths.push(places.shape[2]);
    }
    assert.deepEqual(lengths, outputs.cache_lengths);
    assertClose(takeTokens(whole.keys, places).arraySync(), outputs.keys, "keys");
    assertClose(takeTokens(whole.values, places).arraySync(), outputs.values, "values");
    assertClose(score.squeeze([0]).arraySync(), outputs.scores, "scores");
  },
  "h2o.decode": ({ params, inputs, outputs }) => {
    const hidden = tf.tensor3d(inputs.hidden as number[][][]), [, all, width] = hidden.shape;
    const heads = number(params.num_heads), prompt = number(params.prompt);
    const heavy = Math.trunc(number(params.heavy_ratio) * prompt),
      recent = Math.trunc(number(params.recent_ratio) * prompt);
    assert.deepEqual([heavy, recent], [outputs.heavy_budget, outputs.recent_budget]);
    const project = (weight: unknown) =>
      tf.matMul(hidden.squeeze<tf.Tensor2D>([0]), tf.tensor2d(weight as number[][]), false, true)
        .reshape([1, all, heads, width / heads]).transpose<tf.Tensor4D>([0, 2, 1, 3]);
    const [q, k, v] = [project(inputs.wq), project(inputs.wk), project(inputs.wv)];
    let alive = tf.ones<tf.Rank.R3>([1, heads, prompt]), score = tf.zeros<tf.Rank.R3>([1, heads, 0]);
    const rows: tf.Tensor[] = [];
    for (let n = prompt; n <= all; n++) {
      const from = n === prompt ? 0 : n - 1,
        part = (x: tf.Tensor4D) => x.slice<tf.Tensor4D>([0, 0, 0, 0], [-1, -1, n, -1]);
      // what is evicted is masked there, not removed
      const logits = tf.matMul(part(q).slice<tf.Tensor4D>([0, 0, from, 0]), part(k), false, true).div(
        Math.sqrt(width / heads),
      );
      const causal = tf.linalg.bandPart(tf.ones([n, n]), -1, 0).slice([from, 0], [-1, -1]);
      const seen = causal.expandDims(0).expandDims(0).mul(alive.expandDims(2));
      const attention = tf.softmax(logits.add(tf.sub(1, seen).mul(-1e9)) as tf.Tensor4D, 3);
      rows.push(tf.matMul(attention, part(v)).transpose([0, 2, 1, 3]).reshape([-1, width]));
      const sum = attentionReceivedBy(attention, heads, { normalised: false });
      const summed = sum.add<tf.Tensor3D>(tf.pad(score, [[0, 0], [0, 0], [0, n - score.shape[2]]]));
      const stays = isAmong(heavyHitters(summed, heavy, recent), n).cast<tf.Tensor3D>("float32");
      score = summed.mul(stays);
      const older = heavyHitters(summed, heavy, recent).slice<tf.Tensor3D>([0, 0, 0], [-1, -1, heavy]);
      const last = tf.range(0, n + 1).greaterEqual(n + 1 - recent).cast("float32");
      alive = tf.maximum<tf.Tensor3D>(isAmong(older, n + 1).cast("float32"), last);
      const call = n - prompt;
      assertClose(
        score.squeeze([0]).arraySync(),
        (outputs.scores_after_each_call as unknown[])[call],
        `scores[${call}]`,
      );
      assertClose(
        alive.squeeze([0]).arraySync(),
        (outputs.next_mask_after_each_call as unknown[])[call],
        `mask[${call}]`,
      );
    }
    assertClose(tf.concat(rows).arraySync(), outputs.outputs, "outputs");
  },
  "kvcache_factory.merge_kv": ({ params, inputs, outputs }) => {
    const cache = { keys: tensor4(inputs.keys), values: tensor4(inputs.values) };
    const window = number(params.window_size), [batch, heads, n] = cache.keys.shape;
    const chosen = tf.tensor3d(inputs.kept_idx as number[][][], undefined, "int32");
    const last = tf.range(n - window, n, 1, "int32").reshape([1, 1, window]).tile<tf.Tensor3D>([batch, heads, 1]);
    const kept = tf.concat([chosen, last], 2);
    const both = params.merge === "pivot" ? mergePivot(cache, kept) : mergeWeighted(cache, kept);
    assertClose(takeTokens(both.keys, kept).arraySync(), outputs.keys, "keys");
    assertClose(takeTokens(both.values, kept).arraySync(), outputs.values, "values");
  },
  "snapkv.original": (entry) => {
    const { params, inputs, outputs } = entry, view = viewOf(entry, { queries: tensor4(inputs.queries) });
    const window = number(params.window_size), kernel = number(params.kernel_size);
    const pooling = params.pooling === "avgpool" ? "average" : "maximum";
    const policy = snapKV({ keep: number(params.max_capacity_prompt), window, kernel, pooling });
    const { layer } = applyChange(view, change(policy, view));
    assertSameRows(layer.keys, outputs.kept_keys, "kept_keys");
    assertSameRows(layer.values, outputs.kept_values, "kept_values");
  },
  "pyramidkv.original": (entry) => {
    const { params, inputs, outputs } = entry, view = viewOf(entry, { queries: tensor4(inputs.queries) });
    const window = number(params.window_size), kernel = number(params.kernel_size), layers = number(params.num_layers);
    const capacity = number(params.max_capacity_prompt), beta = number(params.beta);
    const budgets = pyramidBudgetsOfAuthors({ tokens: view.tokens, capacity, layers, window, beta });
    assert.deepEqual(budgets, outputs.cache_length_per_layer);
    const score = attendedByWindow(view.attention!(window), view.keyHeads, { kernel });
    for (const [layer, keep] of budgets.entries()) {
      const values = takeTokens(view.values, bestTokens(score, keep));
      assertSameRows(values, (outputs.kept_values_per_layer as unknown[])[layer], `kept_values_per_layer[${layer}]`);
    }
  },
  "spatten.kv_cache": ({ params, inputs, outputs }) => {
    const keys = tensor4(inputs.keys), values = tensor4(inputs.values), attention = tensor4(inputs.attn);
    const importance = attention.sum<tf.Tensor3D>(2);
    assertClose(importance.squeeze([0]).arraySync(), outputs.importance, "importance");
    const kept = startImportantRecent(importance, {
      start: number(params.start_size),
      important: number(params.important_size),
      recent: number(params.recent_size) - number(params.num_coming),
    });
    assertClose(takeTokens(keys, kept).arraySync(), outputs.kept_keys, "kept_keys");
    assertClose(takeTokens(values, kept).arraySync(), outputs.kept_values, "kept_values");
  },
};

function tensor4(values: unknown): tf.Tensor4D {
  return tf.tensor4d(values as number[][][][]);
}

/** Booleans as 0 and 1, however deep. */
function numbers(values: unknown): unknown {
  return Array.isArray(values) ? values.map(numbers) : Number(values);
}
