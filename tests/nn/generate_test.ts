import assert from "node:assert/strict";
import { stories260k } from "../../lib/data/mod.ts";
import {
  type CacheChange,
  type CachePolicy,
  type CacheView,
  cacheView,
  continueFrom,
  divergence,
  eachLayer,
  generate,
  type KVCache,
  Llama,
  needInCache,
  perplexity,
  predict,
  readPrompt,
} from "../../lib/nn/mod.ts";
import { random } from "../../lib/random.ts";
import { tf, tidy } from "../../lib/tensor/mod.ts";

const sizes = { vocabulary: 17, width: 24, depth: 2, mlpWidth: 20, context: 96 };
const prompt = Array.from({ length: 23 }, (_, i) => (5 * i * i + 3 * i) % 17);
const more = Array.from({ length: 9 }, (_, i) => (7 * i + 2) % 17);

/** Weights as large as a trained model's, so that attention is not the same everywhere. */
function make(keyHeads: number, seed = 1): Llama {
  const lively = (_: string, shape: readonly number[]) =>
    shape.length === 2 ? (s: readonly number[]) => random(seed).stream(_).normals(s[0] * s[1], 0, 0.3) : undefined;
  return Llama.create({ ...sizes, heads: 6, keyHeads }, random(seed), lively);
}

/** The same model each time, so that its steps are compiled once. */
const known = new Map<number, Llama>();
function small(keyHeads = 2): Llama {
  if (!known.has(keyHeads)) known.set(keyHeads, make(keyHeads));
  return known.get(keyHeads)!;
}

const difference = (a: tf.Tensor, b: tf.Tensor) => tidy(() => tf.sub(a, b).abs().max().dataSync()[0]);

/** The same slots in every head and layer, by a rule on their places. */
const keeping = (
  stays: (place: number, tokens: number, head: number) => boolean,
  more: CacheChange = {},
): CachePolicy => ({
  name: "chosen",
  needs: [],
  afterPrompt: eachLayer(({ tokens, keyHeads, keys }) => {
    const heads = Array.from(
      { length: keyHeads },
      (_, head) => Array.from({ length: tokens }, (_, place) => place).filter((place) => stays(place, tokens, head)),
    );
    return { keep: tf.tensor3d(Array.from({ length: keys.shape[0] }, () => heads), undefined, "int32"), ...more };
  }),
});

/** Keeps what another does, but says so by a mask. */
const masking = (stays: (place: number, head: number) => boolean): CachePolicy => ({
  name: "masked",
  needs: [],
  afterPrompt: eachLayer(({ tokens, keyHeads, keys }) => {
    const heads = Array.from(
      { length: keyHeads },
      (_, head) => Array.from({ length: tokens }, (_, place) => stays(place, head) ? 1 : 0),
    );
    return { stays: tf.tensor3d(Array.from({ length: keys.shape[0] }, () => heads)) };
  }),
});

Deno.test("the likeliest tokens after the beginning of a text are llama2.c's story, letter by letter", async () => {
  const model = await Llama.load("stories260k");
  const { expected } = await stories260k.load();
  const { text, tokens, atEnd } = await generate(model, [1], { maxTokens: expected.greedyTokens.length });
  assert.equal(text, expected.greedyText);
  assert.deepEqual(tokens, expected.greedyTokens);
  assert.equal(atEnd.bytes, 2 * 5 * 256 * 32 * 4);
});

Deno.test("a cache gives what the whole text gives, for every number of key heads and for a batch", async () => {
  for (const keyHeads of [1, 3, 6]) {
    const model = small(keyHeads);
    const rows = [prompt, prompt.toReversed()], rest = [more, more.toReversed()];
    const whole = tf.tensor2d(rows.map((row, i) => [...row, ...rest[i]]), undefined, "int32");
    const expected = model.forward(whole).logits.slice([0, prompt.length - 1, 0], [-1, more.length, -1]);
    const { logits } = await generate(model, rows, { forced: rest, keepLogits: true });
    assert.ok(difference(logits!, expected) < 1e-5, `${keyHeads} key heads, token by token`);
    const atOnce = await predict(model, rows[1], rest[1]);
    assert.ok(difference(atOnce, expected.slice([1, 0, 0], [1, -1, -1]).squeeze()) < 1e-5, `${keyHeads}, at once`);
  }
});

Deno.test("a policy that keeps everything changes nothing, bit for bit", async () => {
  const model = small();
  const without = await generate(model, prompt, { maxTokens: 12, keepLogits: true });
  for (const cache of [keeping(() => true), masking(() => true), { name: "silent", needs: [] }]) {
    const { tokens, logits, afterPrompt } = await generate(model, prompt, { maxTokens: 12, keepLogits: true, cache });
    assert.deepEqual(tokens, without.tokens);
    assert.deepEqual(logits!.dataSync(), without.logits!.dataSync());
    assert.deepEqual(afterPrompt, without.afterPrompt);
  }
});

Deno.test("a slot that was dropped is as if no token had ever looked at it: as a mask on the whole text", async () => {
  const model = small();
  const stays = (place: number) => place % 3 !== 1;
  const predicted = await predict(model, prompt, more, { cache: keeping(stays) });
  // later tokens look at what is kept; those of the prompt at everything before them
  const count = prompt.length + more.length;
  const mask = tf.tensor2d(
    Array.from(
      { length: count },
      (_, row) =>
        Array.from(
          { length: count },
          (_, column) => column <= row && (row < prompt.length || column >= prompt.length || stays(column)) ? 1 : 0,
        ),
    ),
  );
  const rows = mask.tile([3, 1]).reshape([1, 1, 3 * count, count]);
  let x = model.embed(tf.tensor2d([[...prompt, ...more]], undefined, "int32"));
  const positions = tf.range(0, count, 1, "float32").expandDims<tf.Tensor2D>(0);
  for (let layer = 0; layer < sizes.depth; layer++) {
    x = model.block(layer, x, positions, ({ keys, values }) => ({ keys, values, mask: rows })).x;
  }
  const expected = model.head(x).slice([0, prompt.length - 1, 0], [1, more.length, -1]).squeeze();
  assert.ok(difference(predicted, expected) < 1e-5);
  const stepped = await generate(model, prompt, { forced: [more], keepLogits: true, cache: keeping(stays) });
  assert.ok(difference(stepped.logits!.squeeze(), expected) < 1e-5);
});

Deno.test("heads that keep different numbers are masked, and cost what they keep", async () => {
  const model = small();
  const stays = (place: number, head: number) => place % (head + 2) === 0;
  const { afterPrompt } = await generate(model, prompt, { maxTokens: 2, cache: masking(stays) });
  assert.deepEqual(afterPrompt.slots[0], [[12, 8]]);
  assert.equal(afterPrompt.bytes, sizes.depth * 20 * 2 * 4 * 4);
  const equal = (place: number) => place % 2 === 0;
  const masked = await predict(model, prompt, more, { cache: masking(equal) });
  const kept = await predict(model, prompt, more, { cache: keeping(equal) });
  assert.ok(difference(masked, kept) < 1e-5);
});

Deno.test("with keys turned to new positions, keeping a beginning equals a shorter prompt", async () => {
  const model = small();
  const cache = keeping((place) => place < 14, { rerotate: true });
  const { cache: kept } = readPrompt(model, [prompt], { cache });
  const { cache: short } = readPrompt(model, [prompt.slice(0, 14)]);
  assert.ok(difference(kept.layers[1].keys, short.layers[1].keys) < 1e-5);
  const rest = tf.tensor2d([more], undefined, "int32");
  assert.ok(difference(continueFrom(model, kept, rest), continueFrom(model, short, rest)) < 1e-5);
  const later = await generate(model, prompt, { forced: [more], keepLogits: true, cache });
  const alone = await generate(model, prompt.slice(0, 14), { forced: [more], keepLogits: true });
  const behindFirst = (of: tf.Tensor3D) => of.slice([0, 1, 0]); // the first was chosen with the whole prompt in sight
  assert.ok(difference(behindFirst(later.logits!), behindFirst(alone.logits!)) < 1e-5);
});

Deno.test("a policy may drop slots in every step; a freed slot takes the next token", async () => {
  const model = small();
  const recent: CachePolicy = {
    name: "recent",
    needs: [],
    afterPrompt: keeping((place, tokens) => place >= tokens - 8).afterPrompt!,
    everyStep: {
      slots: () => 8,
      of: ({ positions, position }) => ({
        stays: tf.greater(positions, position.sub(8)).cast("float32") as tf.Tensor3D,
      }),
    },
  };
  const seen: number[][] = [];
  const { atEnd, logits } = await generate(model, prompt, {
    forced: [more],
    keepLogits: true,
    cache: recent,
    watch: ({ layers }) => seen.push([...layers[1].positions.dataSync()].filter((at) => at >= 0).sort((a, b) => a - b)),
  });
  assert.deepEqual(atEnd.slots.flat(2), Array(4).fill(8));
  assert.deepEqual(seen[0].slice(0, 4), [15, 15, 16, 16]);
  assert.deepEqual([...new Set(seen.at(-1))], [23, 24, 25, 26, 27, 28, 29, 30]);
  assert.ok(logits!.isFinite().all().dataSync()[0]);
});

Deno.test("with positions from the cache, no distance exceeds the number of slots", async () => {
  // one layer, so that what is dropped has left no trace in what stays
  const deep = small();
  const model = new Llama({ ...deep.config, depth: 1 }, { ...deep.weights, layers: [deep.weights.layers[0]] });
  const cache: CachePolicy = { ...keeping((place) => place >= 15), positions: "cache" };
  const streamed = await generate(model, prompt, { forced: [more], keepLogits: true, cache });
  const alone = await generate(model, prompt.slice(15), { forced: [more], keepLogits: true });
  const behindFirst = (of: tf.Tensor3D) => of.slice([0, 1, 0]); // the first was chosen with the whole prompt in sight
  assert.ok(difference(behindFirst(streamed.logits!), behindFirst(alone.logits!)) < 1e-5);
});

Deno.test("a policy is asked again after some steps, with the hidden states it wanted", async () => {
  const model = small();
  const sawRows: number[] = [];
  const cache: CachePolicy = {
    name: "every four",
    needs: ["attention"],
    everySteps: {
      tokens: 4,
      remember: 5,
      of: eachLayer((view) => {
        const attention = needInCache(view, "attention", "every four")(5);
        sawRows.push(attention.shape[2]);
        assert.throws(() => view.attention!(6), /a window of 6 queries needs attention, .* the last 5 of them/);
        const n = 20;
        const keep = tf.range(view.tokens - n, view.tokens, 1, "int32").reshape([1, 1, n]).tile<tf.Tensor3D>([1, 2, 1]);
        return { keep };
      }),
    },
  };
  const { atEnd } = await generate(model, prompt, { maxTokens: 9, cache });
  assert.deepEqual(sawRows, Array(4).fill(5));
  assert.deepEqual(atEnd.slots[0], [[20, 20]]);
});

Deno.test("a policy sees queries, keys before the rotation and attention as the model computes them", () => {
  const model = small();
  const { attention } = model.forward(tf.tensor2d([prompt], undefined, "int32"), { attention: true });
  const views: CacheView[] = [];
  const look: CachePolicy = {
    name: "look",
    needs: [],
    replay: (tokens) => [tokens.slice(0, 7), tokens.slice(7, 12)],
    afterPrompt: (all) => {
      views.push(...all);
      for (const [layer, view] of all.entries()) {
        assert.ok(difference(view.attention!(), attention[layer]) < 1e-5);
        assert.ok(difference(view.attention!(4), attention[layer].slice([0, 0, prompt.length - 4, 0])) < 1e-5);
        const { hidden, weights, keys } = view;
        const again = cacheView({ keys, values: view.values, hidden: hidden!, weights: weights!, heads: 6 });
        assert.ok(difference(again.queries!, view.queries!) < 1e-5);
        assert.ok(difference(again.keysBeforeRotary!, cacheView({ keys, values: keys }).keysBeforeRotary!) < 1e-4);
        assert.deepEqual(view.replays!.map((replay) => replay.keys.shape[2]), [30, 28]);
      }
      return [];
    },
  };
  readPrompt(model, [prompt], { cache: look });
  assert.equal(views.length, 2);
});

Deno.test("each prompt of a batch is read again with its own text", () => {
  const model = small();
  const rows = [prompt, prompt.toReversed()];
  const queries = (of: number[][]) => {
    let seen: tf.Tensor4D | undefined;
    const cache: CachePolicy = {
      name: "look",
      needs: ["replays"],
      replay: (tokens) => [tokens.slice(3, 9)],
      afterPrompt: (views) => {
        seen = tf.keep(views[1].replays![0].queries.clone());
        return [];
      },
    };
    readPrompt(model, of, { cache });
    return seen!;
  };
  assert.ok(difference(queries(rows).slice([1, 0, 0, 0]), queries([rows[1]])) < 1e-5);
});

Deno.test("the cache grows with a long text, up to the model's context", async () => {
  const model = await Llama.load("stories260k");
  const capacities = new Set<number>();
  const watch = ({ layers }: KVCache) => void capacities.add(layers[0].keys.shape[2]);
  const { tokens, atEnd } = await generate(model, [1], { stopAtEnd: false, xla: false, watch });
  assert.equal(tokens.length, 511);
  assert.deepEqual([...capacities], [1, 384, 512]);
  assert.deepEqual(atEnd.slots[4], [[511, 511, 511, 511]]);
  const text = tf.tensor2d([[1, ...tokens.slice(0, -1)]], undefined, "int32");
  const expected = model.forward(text).logits.argMax(2).dataSync();
  assert.deepEqual(tokens.slice(380), [...expected.slice(380)]);
});

Deno.test("a step as a graph and by XLA choose the same tokens, and say the same to the last digits", async () => {
  const model = small();
  const graph = await generate(model, prompt, { maxTokens: 12, keepLogits: true, xla: false });
  const byXLA = await generate(model, prompt, { maxTokens: 12, keepLogits: true, xla: true });
  assert.deepEqual(byXLA.tokens, graph.tokens);
  assert.ok(difference(byXLA.logits!, graph.logits!) < 1e-5);
});

Deno.test("making text shows the text so far, token by token", async () => {
  const model = await Llama.load("stories260k");
  const texts: string[] = [];
  await generate(model, "Once upon a time", { maxTokens: 6, onToken: (_, text) => void texts.push(text) });
  assert.deepEqual(texts.slice(0, 4), [",", ", there", ", there was", ", there was a"]);
});

Deno.test(
  { name: "Stop ends a text after a token, and leaves no tensors behind", ignore: Deno.build.os === "windows" },
  async () => {
    const module = new URL("../../lib/", import.meta.url).href;
    const code = `
    import { generate, Llama } from "${module}nn/mod.ts";
    import { tf } from "${module}tensor/mod.ts";
    const model = await Llama.load("stories260k");
    await generate(model, [1, 403], { maxTokens: 50 });
    const before = tf.memory().numTensors;
    let made = 0;
    const press = async () => {
      if (++made < 3) return;
      Deno.kill(Deno.pid, "SIGINT");
      await new Promise((resolve) => setTimeout(resolve, 100)); // until it has arrived
    };
    try {
      await generate(model, [1, 403], { maxTokens: 50, onToken: press });
    } catch (error) {
      console.log(made, error.message, tf.memory().numTensors - before);
    }`;
    const child = new Deno.Command(Deno.execPath(), { args: ["eval", code], cwd: new URL("../../", import.meta.url) });
    assert.match(new TextDecoder().decode((await child.output()).stdout), /^3 stopped by the user 0$/m);
  },
);

Deno.test("perplexity() and divergence() see what a policy takes away", async () => {
  const model = await Llama.load("stories260k");
  const { samples } = await stories260k.load();
  const [prompt, rest] = [[1, ...samples[0].tokens.slice(0, 99)], samples[0].tokens.slice(99, 199)];
  const full = await predict(model, prompt, rest);
  const few = await predict(model, prompt, rest, {
    cache: keeping((place, tokens) => place < 4 || place >= tokens - 8),
  });
  assert.equal(divergence(full, full), 0);
  assert.ok(divergence(full, few) > 0.01);
  assert.ok(perplexity(full, rest) > 1.5 && perplexity(full, rest) < 6, `${perplexity(full, rest)}`);
  assert.ok(perplexity(few, rest) > perplexity(full, rest));
  assert.throws(() => perplexity(full, [1]), /there are 1 tokens and 100 rows/);
  assert.throws(() => divergence(full, full.slice([0, 0], [2, -1])), /\[100,512\] and \[2,512\]/);
});

Deno.test("making text leaves no tensors behind, whether it ends well or not", async () => {
  const model = small();
  const cache = keeping((place) => place > 10);
  await generate(model, prompt, { maxTokens: 4, cache });
  const before = tf.memory().numTensors;
  await generate(model, prompt, { maxTokens: 4, cache });
  assert.equal(tf.memory().numTensors, before);
  const fails = () => {
    throw new Error("enough");
  };
  await assert.rejects(generate(model, prompt, { maxTokens: 4, onToken: fails }), /enough/);
  assert.equal(tf.memory().numTensors, before);
});

Deno.test("sampling: a seed gives the same text twice, a small topP the likeliest, and draws follow the probabilities", async () => {
  const model = small();
  const draw = async (options: object) => (await generate(model, prompt, { maxTokens: 20, ...options })).tokens;
  assert.deepEqual(await draw({ temperature: 1, seed: 5 }), await draw({ temperature: 1, seed: 5 }));
  assert.notDeepEqual(await draw({ temperature: 1, seed: 5 }), await draw({ temperature: 1, seed: 6 }));
  assert.deepEqual(await draw({ temperature: 1, topP: 1e-6 }), await draw({}));
  const rows = Array.from({ length: 4000 }, () => prompt.slice(0, 2));
  const { rows: drawn, logits } = await generate(model, rows, { maxTokens: 1, temperature: 1, keepLogits: true });
  const expected = logits!.slice([0, 0, 0], [1, 1, -1]).reshape([-1]).softmax().arraySync() as number[];
  for (const [token, probability] of expected.entries()) {
    const share = drawn.filter(([first]) => first === token).length / rows.length;
    const error = Math.sqrt(probability * (1 - probability) / rows.length);
    assert.ok(Math.abs(share - probability) < 4 * error + 1e-3, `token ${token}: ${share} of ${probability}`);
  }
});

Deno.test("a prompt or policy that cannot be is refused in one sentence", async () => {
  const model = small();
  const refused = (prompt: Parameters<typeof generate>[1], options: object, message: RegExp) =>
    assert.rejects(generate(model, prompt, options), message);
  await refused([], {}, /the prompt has no tokens; begin with at least one/);
  await refused(
    Array(100).fill(1),
    {},
    /the prompt has 100 tokens, but the model was trained on 96 positions; .* by 4/,
  );
  await refused(prompt, { maxTokens: 80 }, /maxTokens must be a whole number from 1 to 73, .* but it is 80/);
  await refused("text", {}, /a prompt as text needs a model with a tokenizer/);
  await refused([[1, 2], [3]], {}, /prompts of one batch must have one length, but they have 2 and 1 tokens/);
  await refused([1, 17], {}, /a token must lie in 0 to 16, but one is 17/);
  await refused(prompt, { temperature: -1 }, /temperature must be at least 0, but it is -1/);
  await refused(prompt, { topP: 0 }, /topP must lie in \(0, 1\], but it is 0/);
  const both = { keep: tf.zeros<tf.Rank.R3>([1, 2, 1], "int32"), stays: tf.ones<tf.Rank.R3>([1, 2, 23]) };
  const saying = (change: CacheChange) => ({ cache: { name: "odd", needs: [], afterPrompt: eachLayer(() => change) } });
  await refused(prompt, saying(both), /says either keep or stays, but it says both/);
  await refused(prompt, saying({ stays: both.stays, rerotate: true }), /all heads keep the same number of slots/);
  const view = cacheView({ layer: 4, keys: tf.ones([1, 1, 2, 2]), values: tf.ones([1, 1, 2, 2]) });
  assert.throws(() => needInCache(view, "attention", "h2o"), /h2o needs attention, but layer 4 gives none; /);
});
