/** Cache policies: laws over all of them, in a real model, the specification's vectors, compiled, and bad input. */
import assert from "node:assert/strict";
import { type CachePolicy, type CacheView, cacheView, generate, Llama, readPrompt } from "../../lib/nn/mod.ts";
import { rotary } from "../../lib/nn/rotary.ts";
import { mulberry32 } from "../../lib/random.ts";
import { applyChange } from "../../lib/nn/kv_cache.ts";
import { backend, compile, randomKey, tf, tidy } from "../../lib/tensor/mod.ts";
import { bestTokens, takeTokens } from "../../lib/reduction/cache/heads.ts";
import { expectedAttentionScore } from "../../lib/reduction/cache/expected_attention.ts";
import { attentionBeyond } from "../../lib/reduction/cache/duo_attention.ts";
import { channelScore } from "../../lib/reduction/cache/think.ts";
import { codesOf } from "../../lib/reduction/cache/quantise.ts";
import { nearestKept } from "../../lib/reduction/cache/merge.ts";
import {
  adaKV,
  byScore,
  cacheCatalogue,
  type CacheMethodName,
  checkCacheLaws,
  criticalKV,
  dms,
  duoAttention,
  expectedAttention,
  h2o,
  inBlocks,
  inTurn,
  keyDiff,
  knorm,
  knormScore,
  kvZip,
  lagKV,
  merged,
  observedAttention,
  packBits,
  pyramidBudgets,
  pyramidKV,
  qFilter,
  quantised,
  queryFilters,
  randomEviction,
  recencyScore,
  refuseMergesIntoPast,
  rerotated,
  roundToBits,
  type ScoredPolicy,
  snapKV,
  streamingLLM,
  think,
  tova,
  unpackBits,
  whileDecoding,
} from "../../lib/reduction/cache/mod.ts";

const full = Deno.env.get("TESSERA_FULL") === "1";
const names = cacheCatalogue.names as CacheMethodName[];

/** What is warned, instead of shown. */
function warnings(work: () => void): string[] {
  const told: string[] = [], { warn } = console;
  console.warn = (text: string) => told.push(text);
  try {
    work();
  } finally {
    console.warn = warn;
  }
  return told;
}

Deno.test("every cache method obeys the laws, except those that it must break", () => {
  warnings(() => {
    for (const name of full ? names : names.filter((name) => cacheCatalogue.methods[name].tier === 1)) {
      const { breaks } = cacheCatalogue.methods[name];
      for (const { law, says, holds, why } of cacheCatalogue.laws(name, full ? 200 : 8)) {
        const reason: string | undefined = breaks[law];
        if (reason === undefined) assert.ok(holds, `${name}: ${law}, ${says}: ${why}`);
        else assert.ok(!holds, `${name}: ${law} (${says}) holds, but is said not to, because ${reason}`);
      }
    }
  });
});

Deno.test("a cache policy that breaks a law is found, with the seed and the numbers", () => {
  const found = checkCacheLaws({
    create: (options) => {
      const { afterPrompt, ...rest } = knorm(options);
      // one token of the first layer more than the budget says
      const more = (view: CacheView) => bestTokens(knorm(options).score.of(view, 1), Math.min(view.tokens, 9));
      return { ...rest, afterPrompt: (views) => [{ keep: more(views[0]) }, ...afterPrompt!(views).slice(1)] };
    },
  }, 4);
  const { holds, why } = found.find(({ law }) => law === "K2")!;
  assert.ok(!holds);
  assert.match(why!, /^seed \d: \d+ stay, not \d+$/);
});

Deno.test("the catalogue of cache methods names its golden families, and shows a row for each method", async () => {
  const { families } = await import("../golden/families.ts");
  for (const name of names) {
    for (const family of cacheCatalogue.methods[name].golden) assert.ok(family in families, `${name}: ${family}`);
  }
  const rows = cacheCatalogue.rows({ seeds: 0 });
  assert.equal(rows.length, names.length);
  assert.equal(rows.find(({ method }) => method === "snapKV")!.needs, "attention");
  assert.throws(() => cacheCatalogue.with("knorm", cacheCatalogue.methods.knorm), /has a method knorm already/);
});

// ---------------------------------------------------------------------------------------- in stories260k

const story = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park.";
const model = await Llama.load("stories260k");
const prompt = [model.tokenizer!.begin!, ...model.tokenizer!.encode(story)];
const going = model.tokenizer!.encode(" One day, she saw a big, red ball.");
const sizes = {
  layers: model.config.depth,
  heads: model.config.heads,
  keyHeads: model.keyHeads,
  channels: model.channels,
};

/** Logits [1, tokens, vocabulary] of a text that goes on as it is told. */
async function logitsOf(
  tokens: readonly number[],
  forced: readonly number[],
  cache?: CachePolicy,
): Promise<tf.Tensor3D> {
  const { logits } = await generate(model, tokens, {
    forced: [[...forced]],
    keepLogits: true,
    ...(cache ? { cache } : {}),
  });
  return logits!;
}

function farthest(a: tf.Tensor, b: tf.Tensor): number {
  return tidy(() => a.sub(b).abs().max().dataSync()[0]);
}

Deno.test("every policy that keeps everything changes nothing in a Llama, bit for bit", async () => {
  const whole = await logitsOf(prompt, going.slice(0, 4));
  for (const name of names) {
    if (cacheCatalogue.methods[name].breaks.K1) continue; // a threshold is no budget
    const policy = cacheCatalogue.methods[name].create({ keepRate: 1 }, sizes);
    const logits = await logitsOf(prompt, going.slice(0, 4), policy);
    assert.equal(farthest(logits, whole), 0, name);
    logits.dispose();
  }
  whole.dispose();
});

Deno.test("every policy lets a Llama go on, with a smaller cache and finite logits", async () => {
  const told: string[] = [], { warn } = console;
  console.warn = (text: string) => told.push(text);
  try {
    const whole = await logitsOf(prompt, going.slice(0, 3));
    for (const name of full ? names : ["snapKV", "adaKV", "rerotated", "merged"] as const) {
      const policy = cacheCatalogue.methods[name].create({ keepRate: 0.5 }, sizes);
      const { logits, afterPrompt } = await generate(model, prompt, {
        forced: [going.slice(0, 3)],
        keepLogits: true,
        cache: policy,
      });
      assert.ok(tf.isFinite(logits!).all().dataSync()[0], name);
      assert.equal(farthest(logits!.slice([0, 0, 0], [1, 1, -1]), whole.slice([0, 0, 0], [1, 1, -1])), 0, name);
      const acts = (policy.everySteps?.tokens ?? 0) <= 3; // one that waits for more tokens has done nothing yet
      assert.ok(farthest(logits!, whole) > 1e-4 || !acts, `${name} evicts something, but nothing changes`);
      assert.ok(afterPrompt.bytes > 0);
      logits!.dispose();
    }
    whole.dispose();
  } finally {
    console.warn = warn;
  }
});

Deno.test("with re-rotation, keeping a prefix equals a shorter prompt", async () => {
  const n = prompt.length, k = Math.floor(n / 2);
  const prefix = byScore({
    name: "prefix",
    needs: [],
    of: ({ keys, tokens }) =>
      tf.range(0, tokens).neg().reshape([1, 1, tokens]).tile<tf.Tensor3D>([1, keys.shape[1], 1]),
  }, { keep: k });
  const kept = await logitsOf(prompt, going, rerotated(prefix));
  const shorter = await logitsOf(prompt.slice(0, k), going);
  // the first logits come from the prompt itself
  const rest = (x: tf.Tensor3D) => x.slice([0, 1, 0]);
  assert.ok(farthest(rest(kept), rest(shorter)) < 1e-5, `${farthest(rest(kept), rest(shorter))}`);
  // keeping the suffix does not: its hidden states have seen what came before
  const suffix = await logitsOf(
    prompt,
    going,
    rerotated(byScore({ ...prefix.score, of: (view, keep) => prefix.score.of(view, keep).neg() }, { keep: k })),
  );
  assert.ok(farthest(rest(suffix), rest(shorter)) > 1e-2);
  tf.dispose([kept, shorter, suffix]);
});

Deno.test("while text is made, the cache does not grow, and sinks or the heaviest stay", async () => {
  for (
    const [policy, slots] of [
      [streamingLLM({ keep: 12 }), 12],
      [h2o({ keep: 12 }), 12],
      [tova({ keepRate: 0.25 }), Math.floor(prompt.length * 0.25)],
    ] as const
  ) {
    const held: number[][][] = [];
    await generate(model, prompt, {
      forced: [going],
      cache: policy,
      watch: ({ layers }) =>
        held.push(layers[0].positions.squeeze<tf.Tensor2D>([0]).arraySync().map((row) => row.filter((at) => at >= 0))),
    });
    for (const heads of held) for (const places of heads) assert.equal(places.length, slots, policy.name);
    const last = held.at(-1)!;
    assert.ok(
      last.every((places) => places.includes(prompt.length + going.length - 2)),
      `${policy.name}: the new token stays`,
    );
    if (policy.name === "streaming_llm") {
      for (const places of last) {
        const end = prompt.length + going.length - 1;
        assert.deepEqual(places.toSorted((a, b) => a - b), [
          0,
          1,
          2,
          3,
          ...Array.from({ length: 8 }, (_, i) => end - 8 + i),
        ]);
      }
    }
  }
});

Deno.test({ name: "decoding policies act every so many tokens, and by a threshold", ignore: !full, fn: decoding });

async function decoding() {
  const { atEnd } = await generate(model, prompt, {
    forced: [going],
    cache: whileDecoding(knorm({ keep: 10 }), { every: 4 }),
  });
  assert.ok(Math.max(...atEnd.slots.flat(2)) < 10 + 4, `${atEnd.slots}`);
  const threshold = await generate(model, prompt, {
    forced: [going],
    cache: dms(knormScore(), { threshold: 0, window: 6 }),
  });
  assert.equal(Math.max(...threshold.atEnd.slots.flat(2)), 6); // no norm is below 0: the window alone is left
}

Deno.test("KVzip reads the prompt again, and its budget is shared among layers and heads", async () => {
  const zip = kvZip({ keepRate: 0.5, chunk: 16 });
  const { afterPrompt, logits } = await generate(model, prompt, {
    forced: [going.slice(0, 3)],
    cache: zip,
    keepLogits: true,
  });
  const total = afterPrompt.slots.flat(2).reduce((a, b) => a + b, 0);
  assert.equal(total, sizes.layers * sizes.keyHeads * Math.floor(prompt.length / 2 + 1e-9));
  assert.ok(new Set(afterPrompt.slots.flat(2)).size > 1, "all heads keep the same number");
  logits!.dispose();
});

Deno.test("a quantised cache takes a part of the bytes, and with 8 bits says almost the same", async () => {
  const whole = await logitsOf(prompt, going), { afterPrompt: all } = await generate(model, prompt, { maxTokens: 1 });
  const distances: number[] = [];
  for (const bits of full ? [8, 4, 2] as const : [8] as const) {
    const { logits, afterPrompt } = await generate(model, prompt, {
      forced: [going],
      keepLogits: true,
      cache: quantised({ bits, group: 8, recent: 4 }),
    });
    distances.push(farthest(logits!, whole));
    assert.ok(afterPrompt.bytes < all.bytes, `${bits} bits: ${afterPrompt.bytes} of ${all.bytes} bytes`);
    logits!.dispose();
  }
  whole.dispose();
  assert.ok(distances.every((distance, i) => i === 0 || distance > distances[i - 1]), `${distances}`);
  assert.ok(distances[0] < 0.5, `${distances}`);
});

// ---------------------------------------------------------------------------------------- specification, appendix A

/** U(seed; shape) of the appendix. */
function uniform(seed: number, ...shape: [number, number, number, number]): tf.Tensor4D {
  const next = mulberry32(seed);
  return tf.tensor4d(Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => 2 * next() - 1), shape);
}

Deno.test("the specification's vectors A.12 and A.13 come out", () => {
  const keys = uniform(21, 1, 2, 16, 4), values = uniform(22, 1, 2, 16, 4), queries = uniform(23, 1, 4, 16, 4);
  const view = cacheView({ keys, values, queries, queriesBeforeRotary: queries, heads: 4 });
  const kept = (policy: ScoredPolicy) => policy.choose(view)!.arraySync()[0];
  assert.deepEqual(kept(knorm({ keep: 8 })), [[0, 2, 5, 7, 8, 9, 12, 13], [2, 3, 4, 6, 10, 11, 13, 14]]);
  assert.deepEqual(kept(keyDiff({ keep: 8 })), [[1, 2, 3, 5, 7, 8, 11, 15], [0, 1, 2, 6, 7, 11, 14, 15]]);
  const ends = [0, 1, 10, 11, 12, 13, 14, 15];
  assert.deepEqual(kept(streamingLLM({ keep: 8, sinks: 2 })), [ends, ends]);
  assert.deepEqual(kept(observedAttention({ keep: 8 })), [[0, 1, 2, 3, 4, 5, 6, 14], [0, 1, 2, 3, 4, 5, 7, 9]]);
  const last = [2, 4, 7, 8, 11, 13, 14, 15];
  assert.deepEqual(kept(tova({ keep: 8 })), [last, last]);
  assert.deepEqual(kept(snapKV({ keep: 8, window: 4, kernel: 3 })), [[3, 4, 5, 6, 12, 13, 14, 15], [
    1,
    2,
    7,
    8,
    12,
    13,
    14,
    15,
  ]]);
  const still = expectedAttentionScore(queries, keys, values, { sinks: 2, rotation: tf.eye(4) });
  assert.deepEqual(bestTokens(still, 8).arraySync()[0], [[0, 1, 2, 6, 7, 9, 10, 11], [0, 1, 2, 4, 8, 9, 11, 14]]);
  const ones = [1, 1, 1, 1, 1, 1];
  const lag = lagKV({ keep: 8, sinks: 2, lag: 4 }).score.of(view, 8).arraySync()[0];
  assert.deepEqual(lag[0], [1, 1, .75, .25, 0, .5, .25, .75, 0, .5, ...ones]);
  assert.deepEqual(lag[1], [1, 1, 0, .25, .5, .75, .5, .75, 0, .25, ...ones]);
  const channels = channelScore(queries.slice([0, 0, 12, 0]), keys).arraySync()[0];
  assert.deepEqual(channels.map((row) => row.map((value) => value.toFixed(4))), [
    ["0.0920", "0.1328", "0.0690", "0.1827"],
    ["0.0506", "0.1260", "0.1287", "0.0802"],
  ]);

  const places = knorm({ keep: 8 }).choose(view)!;
  const gone = tf.tensor3d([[[1, 3, 4, 6, 10, 11, 14, 15], [0, 1, 5, 7, 8, 9, 12, 15]]], undefined, "int32");
  const near = nearestKept(keys, places, gone);
  assert.deepEqual(takeTokens(places, near.slot).arraySync()[0], [[9, 13, 8, 12, 9, 5, 0, 9], [
    10,
    4,
    3,
    14,
    4,
    4,
    4,
    4,
  ]]);
  assert.ok(Math.abs(near.cosine.arraySync()[0][1][3] - 0.9765) < 1e-4);
  const mixed = merged(knorm({ keep: 8 })).afterPrompt!([view])[0]!.values!.arraySync()[0];
  const near4 = (row: number[], expected: number[]) => row.every((value, i) => Math.abs(value - expected[i]) < 1e-4);
  assert.ok(near4(mixed[0][0], [.0071, -.5060, -.4371, -.3041]), `${mixed[0][0]}`);
  assert.ok(near4(mixed[0][5], [.4651, -.8309, .0321, -.0983]), `${mixed[0][5]}`);
  assert.ok(near4(mixed[1][4], [-.3221, .3265, -.4285, .1813]), `${mixed[1][4]}`);
});

Deno.test("the specification's pyramids A.14 come out, and where theirs gives up ours goes on", () => {
  const sum = (list: number[]) => list.reduce((a, b) => a + b);
  const long = { tokens: 4096, layers: 32, window: 64 };
  const half = pyramidBudgets({ ...long, keep: 2048, parity: true });
  assert.deepEqual([half[0], half[1], half[31], sum(half)], [3994, 3868, 102, 65536]);
  for (const keep of [1024, 410]) {
    assert.deepEqual(pyramidBudgets({ ...long, keep, parity: true }), Array(32).fill(keep));
    const ours = pyramidBudgets({ ...long, keep });
    assert.equal(sum(ours), 32 * keep);
    assert.ok(ours[0] > ours[31] && ours[31] >= 64 && ours.every((budget, i) => i === 0 || budget <= ours[i - 1]));
  }
});

Deno.test("attention over a cache is unchanged where nothing of weight is evicted", () => {
  const keys = uniform(1, 2, 2, 9, 4), values = uniform(2, 2, 2, 9, 4), queries = uniform(3, 2, 6, 1, 4);
  // a query that looks away from the keys of places 2 and 5: they get no weight
  const far = tf.tensor1d(Array.from({ length: 9 }, (_, place) => [2, 5].includes(place) ? -1e4 : 0)).reshape([
    1,
    1,
    9,
    1,
  ]);
  const marked = tf.concat([keys, far.tile([2, 2, 1, 1])], 3) as tf.Tensor4D;
  const looking = tf.concat([queries, tf.ones([2, 6, 1, 1])], 3) as tf.Tensor4D;
  const score = { name: "seen", needs: [], of: () => far.squeeze<tf.Tensor3D>([3]).tile<tf.Tensor3D>([2, 2, 1]) };
  const view = cacheView({ keys: marked, values, queries: looking });
  const { layer } = applyChange(view, byScore(score, { remove: 2 }).afterPrompt!([view])[0]!);
  const after = cacheView({ keys: layer.keys, values: layer.values, queries: looking });
  const out = (one: CacheView) =>
    tf.matMul(one.attention!(1), one.values.tile([1, 3, 1, 1]).gather(tf.tensor1d([0, 2, 4, 1, 3, 5], "int32"), 1));
  assert.ok(farthest(out(view), out(after)) < 1e-6);
});

Deno.test("re-rotation equals turning only what stays, from position 0 on", () => {
  const plain = uniform(24, 2, 2, 12, 4), values = uniform(25, 2, 2, 12, 4);
  const at = (n: number) => tf.range(0, n).expandDims<tf.Tensor2D>(0);
  const view = cacheView({ keys: rotary(plain, at(12)), values });
  const policy = knorm({ keep: 5 }), places = policy.choose(view)!;
  const { layer, next } = applyChange(view, rerotated(policy).afterPrompt!([view])[0]!);
  assert.ok(farthest(layer.keys, rotary(takeTokens(plain, places), at(5))) < 1e-5);
  assert.equal(next, 5);
});

Deno.test("shares of policies in turn multiply, and layers may have their own", () => {
  const keys = uniform(26, 1, 2, 13, 4), view = cacheView({ keys, values: keys, queries: keys });
  const both = inTurn(snapKV({ keepRate: 0.5, window: 2 }), knorm({ keepRate: 0.5 })).afterPrompt!([view])[0]!;
  assert.equal(both.keep!.shape[2], 3); // 13, 6, 3
  const fewBits = inTurn(knorm({ keep: 8 }), quantised({ bits: 2, group: 4, recent: 4 }));
  const change = fewBits.afterPrompt!([view])[0]!, { layer } = applyChange(view, change);
  const rounded = roundToBits(takeTokens(keys, change.keep!).slice([0, 0, 0, 0], [-1, -1, 4, -1]), {
    bits: 2,
    axis: 2,
    group: 4,
  });
  assert.ok(farthest(layer.keys.slice([0, 0, 0, 0], [-1, -1, 4, -1]), rounded) < 1e-6);
  assert.equal(fewBits.everySteps?.tokens, 4);
  const layers = [0, 1].map((layer) => cacheView({ keys, values: keys, layer, layers: 2 }));
  const each = knorm({ keep: [4, 9] }).afterPrompt!(layers);
  assert.deepEqual(each.map((change) => change!.keep!.shape[2]), [4, 9]);
});

Deno.test("ThinK leaves the channels that stay, and the values", () => {
  const keys = uniform(27, 1, 2, 9, 8), view = cacheView({ keys, values: keys, queries: keys });
  const change = think({ removeChannels: 0.25 }).afterPrompt!([view])[0]!;
  const isZero = change.keys!.abs().sum(2).equal(0).cast("float32");
  assert.deepEqual(isZero.sum(2).arraySync(), [[2, 2]]);
  assert.equal(farthest(change.keys!, keys.mul(tf.sub(1, isZero.expandDims(2)))), 0);
  assert.equal(change.values, undefined);
  assert.equal(change.bytes!(10), 10 * (6 + 8) * 4 + 1);
});

Deno.test("heads that are repeated score as the group's mean", () => {
  const keys = uniform(1, 2, 2, 12, 4), values = uniform(2, 2, 2, 12, 4), queries = uniform(3, 2, 6, 12, 4);
  const grouped = cacheView({ keys, values, queries });
  const each = (x: tf.Tensor4D) => x.expandDims(2).tile([1, 1, 3, 1, 1]).reshape<tf.Tensor4D>([2, 6, 12, 4]);
  const repeated = cacheView({ keys: each(keys), values: each(values), queries });
  const options = { window: 3, kernel: 3, keep: 6 };
  const votes = snapKV(options).score.of(repeated, 6).reshape([2, 2, 3, 12]).mean(2).slice([0, 0, 0], [-1, -1, 9]);
  const ours = snapKV(options).score.of(grouped, 6).slice([0, 0, 0], [-1, -1, 9]);
  assert.ok(farthest(votes, ours) < 1e-6);
});

Deno.test("block by block is the policy itself where a score does not depend on the others, or blocks are long", () => {
  const keys = uniform(5, 2, 2, 33, 4), view = cacheView({ keys, values: keys });
  for (const block of [1, 4, 33]) {
    assert.deepEqual(
      inBlocks(knorm({ keep: 9 }), { block }).choose(view)!.arraySync(),
      knorm({ keep: 9 }).choose(view)!.arraySync(),
    );
  }
  assert.deepEqual(
    inBlocks(keyDiff({ keep: 9 }), { block: 33 }).choose(view)!.arraySync(),
    keyDiff({ keep: 9 }).choose(view)!.arraySync(),
  );
});

Deno.test("AdaKV keeps its total, and of each head its own share", () => {
  const keys = uniform(6, 2, 3, 20, 4), view = cacheView({ keys, values: keys });
  for (const alpha of [0, 0.2, 1]) {
    const { stays } = adaKV(keyDiff({ keep: 7 }), { alpha }).afterPrompt!([view])[0]!;
    const counts = stays!.sum<tf.Tensor2D>(2).arraySync();
    for (const heads of counts) {
      assert.equal(heads.reduce((a, b) => a + b), 3 * 7);
      assert.ok(heads.every((count) => count >= Math.trunc(alpha * 7)));
    }
  }
});

Deno.test("merging loses less than eviction where keys come twice, and nothing is merged where they are opposed", () => {
  const half = uniform(7, 1, 2, 8, 4), keys = tf.concat([half, half], 2), values = uniform(8, 1, 2, 16, 4);
  const queries = uniform(9, 1, 2, 1, 4),
    view = cacheView({ keys, values, queries: tf.concat([tf.zeros([1, 2, 15, 4]), queries], 2) });
  const first = byScore({ name: "first", needs: [], of: () => recencyScore(16, 8).tile<tf.Tensor3D>([1, 2, 1]) }, {
    keep: 8,
  });
  const output = (policy?: CachePolicy) => {
    const { layer } = applyChange(view, policy?.afterPrompt?.([view])[0] ?? {});
    const cut = cacheView({ keys: layer.keys, values: layer.values, queries });
    return tf.matMul(cut.attention!(1), cut.values);
  };
  const distance = (policy: CachePolicy) => output(policy).sub(output()).norm().dataSync()[0];
  assert.ok(distance(merged(first)) < distance(first));
  const opposed = cacheView({
    keys: tf.concat([half, half.neg()], 2).abs().mul(
      tf.tensor1d([...Array(8).fill(1), ...Array(8).fill(-1)]).reshape([1, 1, 16, 1]),
    ) as tf.Tensor4D,
    values,
  });
  assert.equal(farthest(merged(first).afterPrompt!([opposed])[0]!.values!, values), 0);
});

Deno.test("expected attention is the mean of exp(q k) over a normal query", () => {
  const queries = uniform(11, 1, 1, 40, 4), keys = uniform(12, 1, 1, 6, 4);
  const still = { sinks: 0, rotation: tf.eye(4) as tf.Tensor2D, valueNorm: false };
  const score = expectedAttentionScore(queries, keys, keys, still).squeeze();
  const rows = queries.reshape<tf.Tensor2D>([40, 4]), mean = rows.mean<tf.Tensor2D>(0, true), centred = rows.sub(mean);
  // draws of the queries' own distribution: random mixtures of the centred rows have their covariance
  const next = mulberry32(13), count = 100_000;
  const normal = Float32Array.from(
    { length: count * 40 },
    () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()),
  );
  const drawn = tf.matMul(tf.tensor2d(normal, [count, 40]), centred.div(Math.sqrt(40)) as tf.Tensor2D).add(mean);
  const simulated = tf.matMul(drawn as tf.Tensor2D, keys.reshape<tf.Tensor2D>([6, 4]), false, true).div(2).exp().mean(
    0,
  );
  assert.ok(farthest(simulated.div(simulated.sum()).div(score), tf.ones([6])) < 0.02);
});

Deno.test("rounding is off by half a step at most, codes fit their bits, and a pool stays as it is", () => {
  const x = uniform(14, 2, 2, 19, 10);
  for (const bits of [8, 4, 3, 2] as const) {
    for (const axis of [2, 3] as const) {
      const { codes, step } = codesOf(x, { bits, axis, group: 8 });
      const off = roundToBits(x, { bits, axis, group: 8 }).sub(x).abs().sub(step.div(2)).max().dataSync()[0];
      assert.ok(off < 1e-6, `${bits} bits: ${off}`);
      const list = [...codes.dataSync()];
      assert.deepEqual(unpackBits(packBits(list, bits), bits, list.length), list);
    }
  }
  // one token with small keys: without the pool its group's range is the same, with it the token is exact
  const keys = tf.concat([uniform(15, 1, 1, 7, 4).add(5), tf.fill([1, 1, 1, 4], 0.01)], 2) as tf.Tensor4D;
  const view = cacheView({ keys, values: keys });
  const error = (outliers: number) => {
    const change = quantised({ bits: 2, group: 8, recent: 0, outliers }).afterPrompt!([view])[0]!;
    return change.keys!.sub(keys).abs().mean().dataSync()[0];
  };
  assert.ok(error(1) < error(0) / 2);
});

Deno.test("filters are found along the queries, and heads that look far are told from those that do not", () => {
  const along = tf.tensor4d([[[[3, 0], [2, 0.1]], [[2, -0.1], [1, 0]], [[0, -2], [0, -1]], [[0.1, -3], [0, -1]]]]);
  const filters = queryFilters(along, 2).arraySync();
  assert.ok(filters[0][0] > 0.99 && filters[1][1] < -0.99);
  const eye = tf.eye(6).expandDims(0).expandDims<tf.Tensor4D>(0);
  const second = tf.oneHot(tf.fill([6], 1, "int32"), 6).cast("float32").expandDims(0).expandDims<tf.Tensor4D>(0);
  const [near, far] = attentionBeyond(tf.concat([eye, second], 1), 2, { sinks: 1, recent: 2 }).arraySync()[0];
  assert.ok(near === 0 && far > 0.4);
});

// ---------------------------------------------------------------------------------------- compiled

const inTrace: Readonly<Record<string, ScoredPolicy>> = {
  streamingLLM: streamingLLM({ keep: 9 }),
  h2o: h2o({ keep: 9 }),
  observedAttention: observedAttention({ keep: 9 }),
  tova: tova({ keep: 9 }),
  snapKV: snapKV({ keep: 9, window: 4 }),
  pyramidKV: pyramidKV({ keep: 9, window: 4 }),
  knorm: knorm({ keep: 9 }),
  keyDiff: keyDiff({ keep: 9 }),
  expectedAttention: expectedAttention({ keep: 9 }),
  lagKV: lagKV({ keep: 9, lag: 4 }),
  criticalKV: criticalKV(snapKV({ keep: 9, window: 4 })),
  chunked: inBlocks(keyDiff({ keep: 9 }), { block: 7 }),
};

Deno.test({
  name: "first-tier choices are the same eagerly, as a graph and by XLA",
  ignore: backend.name !== "tensorflow",
  fn: () => {
    const keys = uniform(16, 2, 2, 20, 4), values = uniform(17, 2, 2, 20, 4), queries = uniform(18, 2, 4, 20, 4);
    const output = uniform(19, 1, 1, 6, 16).reshape<tf.Tensor2D>([6, 16]);
    const viewOf = (k: tf.Tensor4D, v: tf.Tensor4D, q: tf.Tensor4D, o: tf.Tensor2D) =>
      cacheView({ keys: k, values: v, queries: q, queriesBeforeRotary: q, weights: { o } });
    const all = (k: tf.Tensor4D, v: tf.Tensor4D, q: tf.Tensor4D, o: tf.Tensor2D) => {
      const view = viewOf(k, v, q, o);
      const places = Object.fromEntries(Object.entries(inTrace).map(([name, policy]) => [name, policy.choose(view)!]));
      const change = (policy: CachePolicy) => policy.afterPrompt!([view])[0]!;
      return {
        ...places,
        adaKV: change(adaKV(snapKV({ keep: 9, window: 4 }))).stays!,
        merged: change(merged(knorm({ keep: 9 }))).values!,
        think: change(think({ removeChannels: 0.5, window: 4 })).keys!,
        quantised: change(quantised({ bits: 4, group: 4, recent: 4 })).keys!,
      } as Record<string, tf.Tensor>;
    };
    const eager = all(keys, values, queries, output);
    for (const xla of full ? [false, true] : [true]) {
      const compiled = compile(all, { xla })(keys, values, queries, output);
      for (const [name, expected] of Object.entries(eager)) {
        assert.ok(farthest(compiled[name].cast("float32"), expected.cast("float32")) < 1e-5, `${name}, xla ${xla}`);
      }
    }
  },
});

// ---------------------------------------------------------------------------------------- bad input

Deno.test("bad input gets one sentence", () => {
  const keys = uniform(20, 1, 2, 8, 4), view = cacheView({ keys, values: keys });
  const refuses = (work: () => unknown, sentence: RegExp) => assert.throws(work, sentence);
  refuses(
    () => knorm({ keepRate: 0 }),
    /^BudgetOutOfRange: keepRate must lie in \(0, 1\], but it is 0; to evict nothing, pass 1$/,
  );
  refuses(() => knorm({ keep: 1.5 }), /keep is a number of tokens from 1, but it is 1.5; pass a whole number/);
  refuses(
    () => knorm({ keep: 1, keepRate: 1 } as never),
    /^BudgetConflict: .* keepRate and keep were given; leave one/,
  );
  refuses(() => knorm({} as never), /^BudgetConflict: a cache's budget is needed, but none was given/);
  refuses(
    () => knorm({ keepRate: [0.5, 0.5] }).afterPrompt!([view]),
    /keepRate has 2 entries, but the model has 1 layers/,
  );
  refuses(
    () => snapKV({ keep: 4 }).afterPrompt!([view]),
    /^NeedsMissing: snapkv needs attention, but layer 0 gives none/,
  );
  refuses(() => randomEviction({ keep: 4 }).afterPrompt!([view]), /^NeedsMissing: random needs key/);
  refuses(() => qFilter({ keep: 4, filters: [] }).afterPrompt!([view]), /filters for 0 layers, but the model has 1/);
  refuses(
    () => qFilter({ keep: 4, filters: [tf.ones([2, 3])] }).afterPrompt!([view]),
    /the filters are \[2,3\], but the cache has 2 key heads of 4 channels/,
  );
  refuses(
    () => duoAttention({ gates: [[1]], streamingShare: 1 }).afterPrompt!([view]),
    /gates for 1 layers of 1 heads, but the model has 1 of 2/,
  );
  refuses(() => quantised({ bits: 5 as never }), /bits must be 8, 4, 3 or 2, but it is 5/);
  refuses(() => adaKV(knorm({ keep: 4 }), { alpha: 2 }), /alpha must lie in \[0, 1\], but it is 2/);
  refuses(() => h2o({ keep: 4, recentShare: 2 }), /recentShare must lie in \[0, 1\], but it is 2/);
  refuses(
    () => merged(adaKV(knorm({ keep: 4 }))).afterPrompt!([view]),
    /keeps different numbers of tokens in its heads, but merging/,
  );
  refuses(() => inTurn(adaKV(knorm({ keep: 4 })), knorm({ keep: 2 })).afterPrompt!([view]), /put it last/);
  refuses(
    () => inTurn(tova({ keep: 4 }), knorm({ keep: 2 })),
    /tova acts while text is made, but of policies in turn only/,
  );
  refuses(() => whileDecoding(knorm({ keep: 4 }), { every: 0 }), /every is a number of tokens from 1, but it is 0/);
  refuses(
    () => readPrompt(model, [[1, 2, 3, 4]], { cache: rerotated(adaKV(knorm({ keep: 2 }))) }),
    /keys are turned to new positions where all heads keep/,
  );
  const broken = cacheView({ keys: tf.fill([1, 1, 3, 2], NaN), values: tf.zeros([1, 1, 3, 2]) });
  refuses(() => knorm({ keep: 2 }).afterPrompt!([broken]), /^NaNScore: the score of knorm in block 0 holds NaN/);
  refuses(
    () => refuseMergesIntoPast([3, 5], [4, 2], "mine"),
    /^CausalityViolation: mine: token 5 would be merged into token 2, so that those between them see what comes later/,
  );
  refuseMergesIntoPast([3], [3], "mine");
});

Deno.test("a window above the budget is warned of, once, and shrunk", () => {
  const keys = uniform(20, 1, 2, 8, 4), view = cacheView({ keys, values: keys, queries: keys });
  const policy = snapKV({ keep: 6, window: 7 });
  const told = warnings(() => {
    policy.choose(view);
    policy.choose(view);
  });
  assert.deepEqual(told, [
    "snapkv protects a window of the last 7 tokens, but its budget is 6, which leaves nothing to choose; 3 are protected: " +
    "pass window below the budget",
  ]);
  for (const places of policy.choose(view)!.arraySync()[0]) assert.deepEqual(places.slice(-3), [5, 6, 7]);
});

Deno.test("protected tokens stay in half precision", () => {
  const keys = uniform(21, 2, 2, 40, 4).mul<tf.Tensor4D>(30),
    view = cacheView({ keys, values: keys.mul(100), queries: keys, queriesBeforeRotary: keys });
  for (
    const [policy, places] of [
      [snapKV({ keep: 12, window: 6 }), [34, 39]],
      [tova({ keep: 12 }), [39]],
      [expectedAttention({ keep: 12 }), [0, 3]],
    ] as const
  ) {
    // eleven bits, as a half float has
    const half = policy.score.of(view, 12).arraySync().map((heads) =>
      heads.map((row) =>
        row.map((value) => {
          const unit = 2 ** (Math.floor(Math.log2(Math.abs(value) || 1)) - 10);
          return Math.round(value / unit) * unit;
        })
      )
    );
    const kept = bestTokens(tf.tensor3d(half), 12).arraySync();
    for (const row of kept.flat()) for (const place of places) assert.ok(row.includes(place), policy.name);
  }
});

Deno.test("random eviction follows from the key", () => {
  const keys = uniform(22, 1, 2, 20, 4);
  const kept = (seed: number) =>
    randomEviction({ keep: 5 }).choose(cacheView({ keys, values: keys, key: randomKey(seed) }))!.arraySync();
  assert.deepEqual(kept(1), kept(1));
  assert.notDeepEqual(kept(1), kept(2));
});
